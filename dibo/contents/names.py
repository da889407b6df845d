"""What a name stands for: which form of image, and where.

oci:, docker-archive:, containers-storage:, …, HOST/PATH    a container image (dibo.images.sources)
NAME.manifest.json                                          an artefact that it names, beside it
a directory     an OCI layout or what `skopeo copy` wrote, by its index; else a root file system
a file          by its first bytes: a disk image; a tar, of an image or of a root; an initramfs
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from dibo.artefacts.recorded import SUFFIX, RecordedArtefact, RecordedImage, beside, misfit, read
from dibo.errors import ImageError, ManifestError
from dibo.formats import magic
from dibo.formats.fat.reader import is_fat
from dibo.images.sources.archive import decompressing_opener, open_archive
from dibo.images.sources.table import SOURCES

_DISKS: Final = ("raw", "qcow2", "vhd", "vdi", "vmdk", "vhdx")
_OTHERS: Final = ("tar", "directory", "ramdisk", "initramfs")
READABLE: Final = (*_DISKS, *_OTHERS)
"""Types whose contents are read as they are, those with more of them first."""
_ON_DISKS: Final = ("ext", "xfs", "btrfs", "LVM", "LUKS")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedName:
    """`form` as in Inventory; `reference` is for dibo.images.sources, `path` for all other forms."""

    name: str
    form: str
    reference: str = ""
    path: Path | None = None
    manifest: dict[str, Any] | None = None
    misfit: str = ""
    """Why the manifest is one of other bytes."""


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
        return _beside_manifest(ResolvedName(name=name, form="directory", path=path), path)
    return _beside_manifest(_file(name, path, scratch=scratch), path)


def _file(name: str, path: Path, *, scratch: Path) -> ResolvedName:
    if path.is_fifo() or path.is_socket():  # opening a FIFO waits, and what is read of it is gone
        raise ImageError(
            f"{path} is no file", hint="images are read more than once: write it to a file first"
        )
    try:
        with path.open("rb", buffering=0) as file:
            head = file.read(magic.HEAD)
            inner = _decompressed_head(file, head)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error
    kind = magic.archive(inner)
    if magic.disk_format(head) or _is_raw_disk(head):
        return ResolvedName(name=name, form="disk", path=path)
    if kind == "cpio":
        return ResolvedName(name=name, form="ramdisk", path=path)
    if kind == "tar":
        forms = {"index.json": "oci-archive:", "manifest.json": "docker-archive:"}
        with open_archive(path, scratch=scratch, only=forms) as files:
            for index, prefix in forms.items():
                if files.size(index) is not None:
                    return ResolvedName(name=name, form="image", reference=f"{prefix}{name}")
        return ResolvedName(name=name, form="tar", path=path)
    return ResolvedName(name=name, form="disk", path=path)  # its reader says what is wrong


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
    recorded = read(path)
    known = sorted(
        (a for a in recorded.artefacts if a.type in READABLE and recorded.file(a).exists()),
        key=lambda a: READABLE.index(a.type),
    )
    if not known:
        names = ", ".join(artefact.name for artefact in recorded.artefacts) or "none"
        raise ManifestError(
            f"no artefact of {path} that can be read is beside it; it names {names}",
            hint="keep an image and its manifest together",
        )
    return _recorded_as(resolve(str(recorded.file(known[0])), scratch=scratch), recorded, known[0])


def _beside_manifest(named: ResolvedName, path: Path) -> ResolvedName:
    recorded = beside(path)
    return named if recorded is None else _recorded_as(named, recorded, recorded.artefacts[0])


def _recorded_as(named: ResolvedName, recorded: RecordedImage, artefact: RecordedArtefact) -> ResolvedName:
    return replace(named, manifest=recorded.manifest, misfit=misfit(recorded, artefact))
