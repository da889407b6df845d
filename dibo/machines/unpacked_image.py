"""The disk image within what was packed: .gz, .xz, .zst, .bz2; an OVA, a Vagrant box, Google's tar of a disk, a
containerDisk in an archive (dibo.disk.built_in.boxes), whose layers are tars within the tar.

Packing is told by content, as the format of the image is. What comes out is written with holes for zeros.
"""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

from dibo.errors import DiskImageError, OutputError
from dibo.formats import magic
from dibo.formats.sparse import is_zero
from dibo.images.sources.archive import decompressing_opener
from dibo.system import disk_space
from dibo.system.report import Report
from dibo.system.workspace import Run

_DISKS: Final = (".raw", ".img", ".qcow2", ".vmdk", ".vdi", ".vhd", ".vhdx")
_PIECE: Final = 1 << 20
_MOST_MEMBERS: Final = 1000


def unpacked_image(path: Path, *, run: Run, report: Report) -> Path:
    """The file itself if it is not packed; else a file of the run. Raises DiskImageError, OutputError."""
    image = path
    for remove in ("compression", "archive"):
        head = _head(image, name=path)
        if remove == "compression" and (kind := magic.compression(head)):
            image = _unpack(image, kind, head, name=path, run=run, report=report)
        elif remove == "archive" and magic.archive(head) == "tar":
            image = _member(image, name=path, run=run, report=report)
    return image


def _head(path: Path, *, name: Path) -> bytes:
    if path.is_fifo() or path.is_socket():  # opening a FIFO waits, and what is read of it is gone
        raise DiskImageError(
            f"{name} is no file", hint="images are read more than once: write it to a file first"
        )
    try:
        with path.open("rb") as file:
            return file.read(magic.HEAD)
    except OSError as error:
        raise DiskImageError(f"cannot read {name}: {error.strerror}") from error


def _unpack(image: Path, kind: str, head: bytes, *, name: Path, run: Run, report: Report) -> Path:
    opener = decompressing_opener(head)
    if opener is None:
        raise DiskImageError(f"{name} is compressed by {kind}", hint="unpack it first")
    target = run.subdirectory("image") / "disk"
    with report.task(f"{name.name}: unpacking {kind}"), image.open("rb") as file, opener(file) as stream:
        _write(_pieces(stream, name=name), target, run=run)
    return target


def _member(image: Path, *, name: Path, run: Run, report: Report) -> Path:
    """The disk in a tar: the first file that is named like one."""
    target = run.subdirectory("image") / "disk"
    try:
        with tarfile.open(image) as archive:
            for _, member in zip(range(_MOST_MEMBERS), archive, strict=False):
                if (member.isreg() or member.issparse()) and _is_disk(member.name):
                    stream = archive.extractfile(member)
                    assert stream is not None
                    with report.task(f"{name.name}: unpacking {Path(member.name).name!a}"):
                        _write(_pieces(stream, name=name), target, run=run)
                    return target
            if "oci-layout" in archive.getnames() and _from_layers(
                archive, target, name=name, run=run, report=report
            ):
                return target
    except tarfile.TarError as error:
        raise DiskImageError(f"cannot read {name}: {error}") from error
    raise DiskImageError(
        f"{name} is a tar without a disk image",
        hint=f"expected in it a file whose name ends with {', '.join(_DISKS)} or is box.img",
    )


def _from_layers(archive: tarfile.TarFile, target: Path, *, name: Path, run: Run, report: Report) -> bool:
    """Write the disk that a layer of an image has. Whether there is one."""
    for _, blob in zip(range(_MOST_MEMBERS), archive, strict=False):
        stream = archive.extractfile(blob) if blob.isreg() and blob.name.startswith("blobs/") else None
        if stream is None:
            continue
        head = stream.read(magic.HEAD)
        stream.seek(0)
        opener = decompressing_opener(head)
        if opener is None and magic.archive(head) != "tar":
            continue
        layer = opener(stream) if opener is not None else stream
        with tarfile.open(fileobj=cast("IO[bytes]", _Readable(layer)), mode="r|") as inner:
            for _, member in zip(range(_MOST_MEMBERS), inner, strict=False):
                if member.isreg() and _is_disk(member.name):
                    content = inner.extractfile(member)
                    assert content is not None
                    with report.task(f"{name.name}: unpacking {Path(member.name).name!a}"):
                        _write(_pieces(content, name=name), target, run=run)
                    return True
    return False


class _Readable:
    """What a stream of layers has to tarfile: its read, whose errors are those of a tar."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        import lzma

        import zstandard

        try:
            return bytes(self._stream.read(size))
        except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
            raise tarfile.ReadError(str(error)) from error


def _is_disk(name: str) -> bool:
    return Path(name).suffix.lower() in _DISKS


def _pieces(stream: IO[Any], *, name: Path) -> Iterator[bytes]:
    import lzma

    import zstandard

    while True:
        try:
            data = stream.read(_PIECE)
        except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
            raise DiskImageError(
                f"cannot read {name}: {error}", hint="it is damaged, or was cut short"
            ) from error
        if not data:
            return
        yield data


def _write(pieces: Iterator[bytes], target: Path, *, run: Run) -> None:
    try:
        with target.open("wb") as file:
            for data in pieces:
                if is_zero(data):
                    file.seek(len(data), os.SEEK_CUR)
                else:
                    file.write(data)
            file.truncate(file.tell())
    except OSError as error:
        raise OutputError(
            f"cannot unpack the image: {disk_space.reason(error, run.directory)}",
            hint="set --cache-dir to a directory with more space",
        ) from error
