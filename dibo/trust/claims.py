"""What a signature says: the payload "simple signing" of containers and cosign (containers-signature(5)).

    {"critical": {"type": "cosign container image signature",
                  "image": {"docker-manifest-digest": "sha256:…"},
                  "identity": {"docker-reference": "HOST/PATH[:TAG]"}},
     "optional": {NAME: VALUE, …}}

The digest binds the image, the reference binds where it may stand: an image that is signed for one repository does not
count in another, and one that is signed for a tag does not count for another tag. cosign leaves the tag out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dibo.errors import SignatureError, UsageError
from dibo.images.manifest import DIGEST
from dibo.images.reference import ImageName, parse_image_name

TYPE: Final = "cosign container image signature"
_OLD_TYPES: Final = (TYPE, "https://sigstore.dev/cosign/sign/v1", "atomic container signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What is signed: a manifest, where it may stand, and what else."""

    digest: str
    reference: str
    annotations: Mapping[str, str]


def compose(claims: Claims) -> bytes:
    """The bytes that are signed."""
    document = {
        "critical": {
            "identity": {"docker-reference": claims.reference},
            "image": {"docker-manifest-digest": claims.digest},
            "type": TYPE,
        },
        "optional": {"creator": "dibo", **claims.annotations},
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def parse(payload: bytes) -> Claims:
    """What signed bytes say. Raises SignatureError."""
    try:
        document = json.loads(payload)
        critical = document["critical"]
        digest = critical["image"]["docker-manifest-digest"]
        reference = critical["identity"]["docker-reference"]
        kind = critical["type"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SignatureError("the signature is of something else than an image") from error
    if kind not in _OLD_TYPES or not isinstance(digest, str) or DIGEST.fullmatch(digest) is None:
        raise SignatureError("the signature is of something else than an image")
    optional = document.get("optional")
    annotations = optional if isinstance(optional, dict) else {}
    return Claims(
        digest=digest,
        reference=str(reference),
        annotations={str(name): value for name, value in annotations.items() if isinstance(value, str)},
    )


def mismatch(claims: Claims, expected: Claims) -> str:
    """Why a signature does not count for the expected claims; empty when it does. The tag counts where both have
    one."""
    if claims.digest != expected.digest:
        return f"the signature is for the manifest {claims.digest[:19]}, expected {expected.digest[:19]}"
    wrong = _other_place(claims.reference, expected.reference)
    if wrong:
        return wrong
    for name, value in expected.annotations.items():
        if claims.annotations.get(name) != value:
            got = claims.annotations.get(name, "none")
            return f"the signature is for another {name}: expected {value[:12]}, got {got[:12]}"
    return ""


def _other_place(reference: str, accepted: str) -> str:
    try:
        signed, expected = parse_image_name(reference), parse_image_name(accepted)
    except UsageError:
        return f"the signature names no image: {reference!r}"
    if (signed.host, signed.repository) != (expected.host, expected.repository):
        return f"the signature is for {_repository(signed)}, expected {_repository(expected)}"
    tagged = ":" in reference.rpartition("/")[2] and ":" in accepted.rpartition("/")[2]
    if tagged and signed.tag != expected.tag:
        return f"the signature is for the tag {signed.tag}, expected {expected.tag}"
    return ""


def _repository(name: ImageName) -> str:
    return f"{name.host}/{name.repository}"
