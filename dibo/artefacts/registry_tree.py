"""What a registry holds at a name: an image or an index of images, and all that refers to it.

    index ─┬─ image linux/amd64 ─┬─ disk ── signature
           │                     ├─ sbom
           │                     └─ provenance
           └─ image linux/arm64 …

An edge is an entry of an index, a manifest's `subject` (dibo.images.registry.referrers), or one of the tags that cosign
makes of the digest: `sha256-HEX.sig`, `.att`, `.sbom`. Every manifest is checked by its digest, and a referrer by the
subject that it names; what does not hold stands in the tree with its problem, for others may have put it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from dibo.artefacts import oci_artefact
from dibo.artefacts.oci_artefact import TITLE
from dibo.errors import DiboError, RegistryError, Unreachable
from dibo.images import documents
from dibo.images.documents import CONFIG_TYPES, Descriptor
from dibo.images.manifest import OCI_INDEX, OCI_MANIFEST, checked, digest_of
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.images.registry.referrers import Referrer, list_referrers, read_referrer
from dibo.trust.attached import SIGNATURES_TYPE

INDEX: Final = "index"
IMAGE: Final = "image"
SIGNATURE: Final = "signature"
ATTESTATION: Final = "attestation"
PROVENANCE: Final = "provenance"
SBOM: Final = "sbom"
OTHER: Final = "other"
KINDS: Final = (INDEX, IMAGE, "disk", "ramdisk", SBOM, PROVENANCE, ATTESTATION, OTHER, SIGNATURE)
"""In the order of a tree."""
_KIND_BY_TYPE: Final = {
    oci_artefact.DISK: "disk",
    oci_artefact.RAMDISK: "ramdisk",
    oci_artefact.CYCLONEDX: SBOM,
    oci_artefact.SPDX: SBOM,
    "text/spdx+json": SBOM,
    oci_artefact.IN_TOTO: ATTESTATION,
    SIGNATURES_TYPE: SIGNATURE,
    "application/vnd.cncf.notary.signature": SIGNATURE,
}
_BUNDLES: Final = "application/vnd.dev.sigstore.bundle"
_PROVENANCE: Final = "https://slsa.dev/provenance/"
_TAGS: Final = {".sig": SIGNATURE, ".att": ATTESTATION, ".sbom": SBOM}
"""What cosign stores without a subject, by the end of the tag."""
_MOST_NODES: Final = 2000
_DEEPEST: Final = 6
"""A signature of a bill of a disk of an image of an index is the fifth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryNode:
    """A manifest or index. `size` is that of its own bytes."""

    kind: str
    digest: str
    size: int
    media_type: str
    artifact_type: str = ""
    title: str = ""
    """Names of its files, or its platform."""
    body: bytes = b""
    document: Mapping[str, Any]
    blobs: tuple[Descriptor, ...] = ()
    """The config and the layers."""
    images: tuple[RegistryNode, ...] = ()
    """Of an index."""
    referrers: tuple[RegistryNode, ...] = ()
    tag: str = ""
    """The tag of cosign that it is found under."""
    problem: str = ""
    """Why it cannot be used; empty where it can."""

    @property
    def stored(self) -> int:
        """Bytes of its blobs."""
        return sum(blob.size for blob in self.blobs)

    def walk(self) -> Iterator[RegistryNode]:
        """It, its images, and all that refers to them."""
        yield self
        for below in (*self.images, *self.referrers):
            yield from below.walk()


def read_tree(name: ImageName) -> RegistryNode:
    """All that is at `name`. Raises RegistryError, Unreachable, VerificationFailed, ImageError for what is no manifest,
    and for more than anybody puts there on purpose."""
    body = api.read_manifest(name)
    _, document = checked(body, description=str(name), expected=name.digest)
    repository = ImageName(host=name.host, repository=name.repository, scheme=name.scheme)
    return _Walk(repository).node(body, document, depth=0)


class _Walk:
    """Reads a tree, a node at a time."""

    def __init__(self, repository: ImageName) -> None:
        self._repository = repository
        self._nodes = 0

    def node(
        self, body: bytes, document: Mapping[str, Any], *, depth: int, referrer: Referrer | None = None
    ) -> RegistryNode:
        self._nodes += 1
        if self._nodes > _MOST_NODES or depth > _DEEPEST:
            raise RegistryError(
                f"more refers to what is in {self._repository.host}/{self._repository.repository} than is read: "
                f"{_MOST_NODES} manifests, {_DEEPEST} deep",
                hint="name the image of one architecture by its digest",
            )
        node = _described(body, document, referrer)
        if node.kind == SIGNATURE:
            return node
        images = tuple(self._image(entry, depth) for entry in _images(document, node.digest))
        below = sorted(
            self._referrers(node.digest, depth),
            key=lambda referrer: (KINDS.index(referrer.kind), referrer.title, referrer.digest),
        )
        return replace(node, images=images, referrers=tuple(below))

    def _image(self, entry: Descriptor, depth: int) -> RegistryNode:
        platform = str(entry.platform) if entry.platform is not None else ""
        name = self._repository.at(entry.digest)
        try:
            body = api.read_manifest(name)
            _, document = checked(body, description=str(name), expected=entry.digest)
            return replace(self.node(body, document, depth=depth + 1), title=platform)
        except Unreachable:
            raise
        except DiboError as error:
            return _unusable(IMAGE, entry.digest, entry.size, entry.media_type, error)

    def _referrers(self, digest: str, depth: int) -> Iterator[RegistryNode]:
        tagged = dict(self._tagged(digest))
        for referrer in list_referrers(self._repository, digest):
            try:
                body, document = read_referrer(self._repository, referrer, digest)
                node = self.node(body, document, depth=depth + 1, referrer=referrer)
            except Unreachable:
                raise
            except DiboError as error:
                kind = _kind(referrer.artifact_type, referrer.annotations)
                node = _unusable(kind, referrer.digest, referrer.size, referrer.media_type, error)
            yield replace(node, tag=tagged.pop(referrer.digest, ""))
        for tagged_digest, tag in tagged.items():
            yield self._of_tag(tagged_digest, tag)

    def _tagged(self, digest: str) -> Iterator[tuple[str, str]]:
        """Digests and tags of what cosign stored of a manifest."""
        for ending in _TAGS:
            tag = f"{digest.replace(':', '-')}{ending}"
            name = self._repository.tagged(tag)
            stored = api.head(name)
            if stored is not None:  # registries need not say which digest it is
                yield stored if documents.is_digest(stored) else digest_of(api.read_manifest(name)), tag

    def _of_tag(self, digest: str, tag: str) -> RegistryNode:
        name = self._repository.tagged(tag)
        kind = _TAGS[f".{tag.rpartition('.')[2]}"]
        try:
            body = api.read_manifest(name)
            _, document = checked(body, description=str(name), expected=digest)
            node = _described(body, document, None)
        except Unreachable:
            raise
        except DiboError as error:
            return replace(_unusable(kind, digest, 0, "", error), tag=tag)
        return replace(node, kind=kind, tag=tag)


def _described(body: bytes, document: Mapping[str, Any], referrer: Referrer | None) -> RegistryNode:
    """A node without what is around it. Raises ImageError, VerificationFailed."""
    digest, _ = checked(body, description="a manifest", expected=referrer.digest if referrer else None)
    listed = documents.index_entries(document, description=digest)
    config = document.get("config")
    config_type = config.get("mediaType") if isinstance(config, dict) else None
    artifact_type = str(document.get("artifactType") or "")
    annotations = document.get("annotations")
    kind = _kind(artifact_type, annotations if isinstance(annotations, dict) else {})
    if listed is not None:
        kind = INDEX
    elif not artifact_type and config_type in CONFIG_TYPES:
        kind = IMAGE
    blobs = () if listed is not None else _blobs(document, digest)
    if not artifact_type and kind == OTHER:
        artifact_type = str(config_type or "")
        kind = _kind(artifact_type, {})
    return RegistryNode(
        kind=kind,
        digest=digest,
        size=len(body),
        media_type=str(document.get("mediaType") or (OCI_MANIFEST if listed is None else OCI_INDEX)),
        artifact_type=artifact_type,
        title=", ".join(_titles(document)),
        body=body,
        document=document,
        blobs=blobs,
    )


def _kind(artifact_type: str, annotations: Mapping[str, Any]) -> str:
    predicate = str(
        annotations.get(oci_artefact.PREDICATE) or annotations.get(oci_artefact.IN_TOTO_PREDICATE) or ""
    )
    if predicate.startswith(_PROVENANCE):
        return PROVENANCE
    if artifact_type.startswith(_BUNDLES):
        return ATTESTATION
    return _KIND_BY_TYPE.get(artifact_type, OTHER)


def _images(document: Mapping[str, Any], digest: str) -> tuple[Descriptor, ...]:
    return documents.index_entries(document, description=digest) or ()


def _blobs(document: Mapping[str, Any], digest: str) -> tuple[Descriptor, ...]:
    layers = document.get("layers")
    values = [document.get("config"), *(layers if isinstance(layers, list) else ())]
    if len(values) > documents.MOST_LAYERS + 1:
        raise RegistryError(f"{digest} has more than {documents.MOST_LAYERS} layers")
    return tuple(documents.parse_descriptor(value, description=digest) for value in values)


def _titles(document: Mapping[str, Any]) -> Iterator[str]:
    """Names of the files of an artefact, without what a terminal would take for more than a name."""
    for layer in document.get("layers") or ():
        annotations = layer.get("annotations") if isinstance(layer, dict) else None
        title = annotations.get(TITLE) if isinstance(annotations, dict) else None
        if isinstance(title, str):
            yield "".join(character for character in title if character.isprintable())[:200]


def _unusable(kind: str, digest: str, size: int, media_type: str, error: DiboError) -> RegistryNode:
    return RegistryNode(
        kind=kind, digest=digest, size=size, media_type=media_type, document={}, problem=error.message
    )
