"""Artefacts as registries keep them: which kind of file it is, and the manifest that says so.

OCI image specification 1.1, manifest.md, "Guidelines for Artifact Usage": `artifactType`, an empty config, each file a
layer with its name as title. `oras pull` writes such files under their names; the ramdisk `deploy` writes a disk to a
disk.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from dibo.images.manifest import OCI_MANIFEST

DISK: Final = "application/vnd.dibo.disk.v1"
RAMDISK: Final = "application/vnd.dibo.ramdisk.v1"
EMPTY: Final = b"{}"
EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
TITLE: Final = "org.opencontainers.image.title"
HEAD: Final = 128 << 10
"""How much of a file `format_of` looks at."""
_FORMATS: Final = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"\x1f\x8b", "raw+gzip"),
    (0, b"\xfd7zXZ\0", "raw+xz"),
    (0, b"\x28\xb5\x2f\xfd", "raw+zstd"),
    (512, b"EFI PART", "raw"),
    (510, b"\x55\xaa", "raw"),
    (1080, b"\x53\xef", "raw"),  # ext2 to ext4
    (0, b"XFSB", "raw"),
    (0x10040, b"_BHRfS_M", "raw"),  # btrfs
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A file of an artefact. `digest` is `sha256:…`, `size` in bytes."""

    title: str
    media_type: str
    digest: str
    size: int


def format_of(head: bytes) -> str | None:
    """Of a disk that begins so: `raw`, `qcow2`, `vmdk`, `vhdx`, or `raw+gzip` and its like, which may be anything
    within. None for what is no disk."""
    return next((kind for at, magic, kind in _FORMATS if head[at:].startswith(magic)), None)


def compose(kind: str, contents: Sequence[Content], *, empty: str) -> bytes:
    """The manifest of an artefact of the type `kind`; `empty` is the digest of its config, EMPTY. The same for the same
    files, whoever composes it and when."""
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": EMPTY_TYPE, "digest": empty, "size": len(EMPTY)},
        "layers": [
            {
                "mediaType": each.media_type,
                "digest": each.digest,
                "size": each.size,
                "annotations": {TITLE: each.title},
            }
            for each in contents
        ],
    }
    return json.dumps(manifest, separators=(",", ":")).encode()
