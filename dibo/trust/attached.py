"""Signatures in a registry, stored as cosign does (specs/SIGNATURE_SPEC.md there): beside an image with the digest
sha256:HEX a tag `sha256-HEX.sig`, whose manifest has a layer for each signature.

    layer         the payload (dibo.trust.claims), application/vnd.dev.cosign.simplesigning.v1+json
    annotation    dev.cosignproject.cosign/signature: the signature, base64

The manifest names the image as its subject, too, and so it is among the image's referrers (dibo.images.registry).

Every user who may write to the repository may write such a tag, too: it counts by its signature alone.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dibo.errors import DiboError, RegistryError, SignatureError
from dibo.images.image import Reader
from dibo.images.manifest import OCI_CONFIG, OCI_MANIFEST, checked, digest_of
from dibo.images.reference import ImageName
from dibo.images.registry import api, referrers
from dibo.trust import claims
from dibo.trust.claims import Claims
from dibo.trust.keys import PrivateKey, PublicKey

SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE: Final = "dev.cosignproject.cosign/signature"
SIGNATURES_TYPE: Final = "application/vnd.dev.cosign.artifact.sig.v1+json"  # codespell:ignore artifact
"""What cosign calls a referrer that has signatures."""
_TAG: Final = re.compile(r"(sha256|sha512)-([0-9a-f]{64}|[0-9a-f]{128})\.sig")
_LARGEST_PAYLOAD: Final = 64 << 10
_MOST: Final = 50  # signatures of one image that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature as it is stored."""

    payload: bytes
    signature: bytes


def tag_of(digest: str) -> str:
    """The tag of the signatures of an image."""
    return f"{digest.replace(':', '-')}.sig"


def digest_in(tag: str) -> str | None:
    """The digest of the image whose signatures a tag has; None for a tag of something else."""
    match = _TAG.fullmatch(tag)
    return f"{match[1]}:{match[2]}" if match else None


def signatures(repository: ImageName, digest: str) -> tuple[Signature, ...]:
    """All signatures of an image, unchecked. Raises RegistryError, Unreachable, VerificationFailed."""
    return tuple(
        Signature(payload=_payload(repository, layer), signature=_signature(layer))
        for layer in _layers(repository, digest)
    )


def attach(
    repository: ImageName, signed: Claims, key: PrivateKey, *, subject: Mapping[str, Any] | None = None
) -> None:
    """Sign an image, beside the signatures that it has; not again where it has the same one. `subject` is the image's
    descriptor, by which the signatures are among its referrers; without it, they have their tag alone. Raises
    RegistryError, Unreachable."""
    layers: list[dict[str, Any]] = []
    with contextlib.suppress(DiboError):  # signatures that cannot be read give way
        layers = _layers(repository, signed.digest)
    payload = claims.compose(signed)
    public = key.public()
    descriptor = {"mediaType": SIMPLE_SIGNING, "digest": digest_of(payload), "size": len(payload)}
    if any(
        layer.get("digest") == descriptor["digest"] and public.signed(payload, _signature(layer))
        for layer in layers
    ):
        return
    signature = base64.b64encode(key.sign(payload)).decode()
    layers.append({**descriptor, "annotations": {SIGNATURE: signature}})
    _push(repository, payload)
    _store(repository, signed.digest, layers, subject)


def merge(repository: ImageName, digest: str, added: Mapping[str, Any]) -> bool:
    """Store the signatures that the manifest `added` has, whose payloads `repository` holds, beside those of the image
    with `digest` there; False where it has them all. Raises RegistryError, Unreachable, VerificationFailed."""
    layers = _layers(repository, digest)
    known = {(layer.get("digest"), _signature(layer)) for layer in layers}
    new = [layer for layer in _signatures_in(added) if (layer.get("digest"), _signature(layer)) not in known]
    if not new:
        return False
    subject = added.get("subject")
    _store(repository, digest, [*layers, *new], subject if isinstance(subject, dict) else None)
    return True


def _store(
    repository: ImageName, digest: str, layers: list[dict[str, Any]], subject: Mapping[str, Any] | None
) -> None:
    """Put the manifest of all signatures of an image."""
    layers = layers[-_MOST:]
    config = _json(_config(layers))
    _push(repository, config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": layers,
    }
    tag = tag_of(digest)
    if subject is None:
        api.push_manifest(repository.tagged(tag), _json(manifest), OCI_MANIFEST)
    else:
        body = _json({**manifest, "artifactType": SIGNATURES_TYPE, "subject": dict(subject)})
        former = api.head(repository.tagged(tag)) or None
        referrers.push_referrer(repository, body, tag=tag, replaces=former)


def verify(repository: ImageName, expected: Claims, keys: Sequence[PublicKey]) -> PublicKey:
    """The key, of `keys`, that signed the expected claims. Raises SignatureError with the nearest reason where none
    did, RegistryError, Unreachable."""
    try:
        stored = signatures(repository, expected.digest)
    except RegistryError as error:
        if error.status != 404:
            raise
        stored = ()
    if not stored:
        raise SignatureError(f"{expected.reference} is not signed", hint=_HINT)
    names = ", ".join(key.name for key in keys)
    reason = f"it is signed by no key of {names}"
    for signature in stored:
        signer = next((key for key in keys if key.signed(signature.payload, signature.signature)), None)
        if signer is None:
            continue
        wrong = claims.mismatch(claims.parse(signature.payload), expected)
        if not wrong:
            return signer
        reason = wrong
    raise SignatureError(f"the signature of {expected.reference} does not count: {reason}", hint=_HINT)


_HINT: Final = "have its publisher sign it (--sign-key), or name the key that signed it (--verify-key)"


def _layers(repository: ImageName, digest: str) -> list[dict[str, Any]]:
    name = repository.tagged(tag_of(digest))
    try:
        _, manifest = checked(api.read_manifest(name), description=str(name))
    except RegistryError as error:
        if error.status == 404:
            return []
        raise
    return _signatures_in(manifest)


def _signatures_in(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The layers of a manifest that have signatures."""
    layers = manifest.get("layers")
    if not isinstance(layers, list):
        return []
    return [
        dict(layer)
        for layer in layers[:_MOST]
        if isinstance(layer, dict) and layer.get("mediaType") == SIMPLE_SIGNING
    ]


def _payload(repository: ImageName, layer: dict[str, Any]) -> bytes:
    try:
        return api.read_small(repository, str(layer.get("digest")), limit=_LARGEST_PAYLOAD)
    except RegistryError as error:
        if error.status == 404:
            return b""
        raise


def _signature(layer: dict[str, Any]) -> bytes:
    annotations = layer.get("annotations")
    text = annotations.get(SIGNATURE) if isinstance(annotations, dict) else None
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _config(layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """As cosign has it: an image config with a diff_id for each signature."""
    return {
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }


def _push(repository: ImageName, blob: bytes) -> None:
    @contextlib.contextmanager
    def opened() -> Iterator[Reader]:
        yield io.BytesIO(blob)

    if not api.exists(repository, digest_of(blob)):
        api.push_blob(repository, digest_of(blob), len(blob), opened)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
