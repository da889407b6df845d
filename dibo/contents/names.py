"""What a name stands for: which form of image, and where.

oci:, docker-archive:, containers-storage:, …, HOST/PATH    a container image (dibo.images.sources)
NAME.manifest.json                                          an artefact that it names, beside it
a directory     an OCI layout or what `skopeo copy` wrote, by its index; else a root file system
a file          by its first bytes: a disk image; a tar, of an image or of a root; an initramfs
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from dibo.artefacts.manifest import SUFFIX
from dibo.errors import ImageError, ManifestError
from dibo.formats import magic
from dibo.formats.fat.reader import is_fat
from dibo.images.sources.archive import decompressing_opener, open_archive
from dibo.images.sources.table import SOURCES

_DISKS: Final = ("raw", "qcow2", "vhd", "vdi", "vmdk", "vhdx")
_OTHERS: Final = ("tar", "directory", "ramdisk", "initramfs")
READABLE: Final = (*_DISKS, *_OTHERS)
"""Types whose contents are read as they are, those with more of them first."""
_MOST_MANIFEST: Final = 64 << 20
_ON_DISKS: Final = ("ext", "xfs", "btrfs", "LVM", "LUKS")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedName:
    """`form` as in Inventory; `reference` is for dibo.images.sources, `path` for all other forms."""

    name: str
    form: str
    reference: str = ""
    path: Path | None = None
    manifest: dict[str, Any] | None = None


def resolve(name: str, *, scratch: Path) -> ResolvedName:
    """Raises ImageError for what is no image, ManifestError, OutputError."""
    if any(prefix and name.startswith(prefix) for prefix in SOURCES):
        return ResolvedName(name=name, form="image", reference=name)
    path = Path(name)
    try:
        exists = path.exists()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        exists = False
    if not exists:
        return ResolvedName(name=name, form="image", reference=name)
    if name.endswith(SUFFIX):
        return _named_by(path, scratch=scratch)
    if path.is_dir():
        for index, prefix in (("index.json", "oci:"), ("manifest.json", "dir:")):
            if (path / index).is_file():
                return ResolvedName(name=name, form="image", reference=f"{prefix}{name}")
        return ResolvedName(name=name, form="directory", path=path, manifest=manifest_beside(path))
    return _file(name, path, scratch=scratch)


def _file(name: str, path: Path, *, scratch: Path) -> ResolvedName:
    if path.is_fifo() or path.is_socket():  # opening a FIFO waits, and what is read of it is gone
        raise ImageError(
            f"{path} is no file", hint="images are read more than once: write it to a file first"
        )
    manifest = manifest_beside(path)
    try:
        with path.open("rb", buffering=0) as file:
            head = file.read(magic.HEAD)
            inner = _decompressed_head(file, head)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error
    kind = magic.archive(inner)
    if magic.disk_format(head) or _is_raw_disk(head):
        return ResolvedName(name=name, form="disk", path=path, manifest=manifest)
    if kind == "cpio":
        return ResolvedName(name=name, form="ramdisk", path=path, manifest=manifest)
    if kind == "tar":
        forms = {"index.json": "oci-archive:", "manifest.json": "docker-archive:"}
        with open_archive(path, scratch=scratch, only=forms) as files:
            for index, prefix in forms.items():
                if files.size(index) is not None:
                    return ResolvedName(
                        name=name, form="image", reference=f"{prefix}{name}", manifest=manifest
                    )
        return ResolvedName(name=name, form="tar", path=path, manifest=manifest)
    return ResolvedName(name=name, form="disk", path=path, manifest=manifest)  # its reader says what is wrong


def _is_raw_disk(head: bytes) -> bool:
    return magic.has_partition_table(head) or magic.file_system(head) in _ON_DISKS or is_fat(head[:512])


def _decompressed_head(file: IO[bytes], head: bytes) -> bytes:
    """What a compressed file begins with; of others, and of what is damaged, the head itself."""
    opener = decompressing_opener(head)
    if opener is None:
        return head
    file.seek(0)
    try:
        return bytes(opener(file).read(512))
    except Exception:  # whatever a library says of damaged bytes: the reader of the form says it again
        return head


def _named_by(path: Path, *, scratch: Path) -> ResolvedName:
    """The first artefact that is there and can be read, disks before others."""
    manifest = read_manifest(path)
    if manifest is None:
        raise ManifestError(
            f"{path} is no manifest of dibo", hint="name the one that dibo wrote beside an image"
        )
    artefacts = [artefact for artefact in _artefacts(manifest) if (path.parent / artefact[1]).exists()]
    known = sorted(
        (artefact for artefact in artefacts if artefact[0] in READABLE), key=lambda a: READABLE.index(a[0])
    )
    if not known:
        names = ", ".join(name for _, name in _artefacts(manifest)) or "none"
        raise ManifestError(
            f"no artefact of {path} that can be read is beside it; it names {names}",
            hint="keep an image and its manifest together",
        )
    named = resolve(str(path.parent / known[0][1]), scratch=scratch)
    return ResolvedName(
        name=named.name, form=named.form, reference=named.reference, path=named.path, manifest=manifest
    )


def manifest_beside(path: Path) -> dict[str, Any] | None:
    """The manifest that names the artefact at `path`, where one beside it does."""
    absolute = path.absolute()
    try:
        candidates = sorted(absolute.parent.glob(f"*{SUFFIX}"))
    except OSError:
        return None
    for candidate in candidates:
        if absolute.name.startswith(candidate.name.removesuffix(SUFFIX).split(".")[0]):
            manifest = read_manifest(candidate)
            if manifest is not None and any(name == absolute.name for _, name in _artefacts(manifest)):
                return manifest
    return None


def read_manifest(path: Path) -> dict[str, Any] | None:
    """None for what is no manifest."""
    try:
        if path.stat().st_size > _MOST_MANIFEST:
            return None
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    is_one = (
        isinstance(manifest, dict) and "format" in manifest and isinstance(manifest.get("artefacts"), list)
    )
    return manifest if is_one else None


def _artefacts(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """(type, name) of each; none whose name leads elsewhere."""
    listed = [(str(a.get("type")), str(a.get("name"))) for a in manifest["artefacts"] if isinstance(a, dict)]
    return [
        (kind, name)
        for kind, name in listed
        if name not in ("", ".", "..") and "/" not in name and "\0" not in name
    ]
