"""Artefacts as registries keep them: which kind of file it is, and the manifest that says so.

OCI image specification 1.1, manifest.md, "Guidelines for Artifact Usage": `artifactType`, an empty config, each file a
layer with its name as title. `oras pull` writes such files under their names; the ramdisk `deploy` writes a disk to a
disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dibo.formats import magic
from dibo.images.manifest import OCI_EMPTY, OCI_MANIFEST, digest_of

DISK: Final = "application/vnd.dibo.disk.v1"
RAMDISK: Final = "application/vnd.dibo.ramdisk.v1"
CYCLONEDX: Final = "application/vnd.cyclonedx+json"
SPDX: Final = "application/spdx+json"
IN_TOTO: Final = "application/vnd.in-toto+json"
"""A statement without a signature; BuildKit calls its own so, too."""
BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""A signed statement, as Sigstore's clients keep it."""
PREDICATE: Final = "dev.sigstore.bundle.predicateType"
IN_TOTO_PREDICATE: Final = "in-toto.io/predicate-type"
"""The annotations that say what a statement is about."""
EMPTY: Final = b"{}"
TITLE: Final = "org.opencontainers.image.title"
HEAD: Final = magic.HEAD
"""How much of a file `format_of` looks at."""
_TAKEN: Final = ("qcow2", "vmdk", "vhdx")
_COMPRESSIONS: Final = ("gzip", "xz", "zstd")
_BARE: Final = ("ext", "xfs", "btrfs")
"""File systems that a disk may be without a partition table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactFile:
    """A file of an artefact. `digest` is `sha256:…`, `size` in bytes."""

    title: str
    media_type: str
    digest: str
    size: int


def format_of(head: bytes) -> str | None:
    """Of a disk that begins so: `raw`, `qcow2`, `vmdk`, `vhdx`, or `raw+gzip` and its like, which may be anything
    within. None for what is no disk."""
    if kind := magic.disk_format(head):
        return kind if kind in _TAKEN else None
    if kind := magic.compression(head):
        return f"raw+{kind}" if kind in _COMPRESSIONS else None
    if magic.has_partition_table(head) or magic.file_system(head) in _BARE:
        return "raw"
    return None


def compose(
    kind: str,
    contents: Sequence[ArtefactFile],
    *,
    subject: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> bytes:
    """The manifest of an artefact of the type `kind`, whose config is EMPTY. With a `subject`, the descriptor of
    another manifest, it is a referrer of that. The same files always give the same manifest."""
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": OCI_EMPTY, "digest": digest_of(EMPTY), "size": len(EMPTY)},
        "layers": [
            {
                "mediaType": file.media_type,
                "digest": file.digest,
                "size": file.size,
                "annotations": {TITLE: file.title},
            }
            for file in contents
        ],
    }
    if subject is not None:
        manifest["subject"] = dict(subject)
    if annotations:
        manifest["annotations"] = dict(annotations)
    return json.dumps(manifest, separators=(",", ":")).encode()
