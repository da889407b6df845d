"""The door to image files: raw and qcow2 as they are, others made raw by qemu-img in the run's directory.

The format is told by the file's first bytes, never by qemu-img, to which an image could say anything. An image may
name other files (backing files, extents), which would be read as well: those are refused.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

from dibo.errors import CommandFailed, DiskImageError
from dibo.formats import magic
from dibo.formats.qcow2 import reader
from dibo.formats.source import Source
from dibo.system import process
from dibo.system.report import Report
from dibo.system.workspace import Run

_CONVERTED: Final = ("vmdk", "vhdx", "vpc", "vdi")
"""What qemu-img makes raw."""
_SECONDS: Final = 60.0
_WHOLE: Final = "if you trust it: qemu-img convert -O qcow2 {} whole.qcow2, and take that"


class FileSource:
    """A file or block device, opened for reading. A context manager. Raises DiskImageError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            mode = os.fstat(self._fd).st_mode
            self.size = os.lseek(self._fd, 0, os.SEEK_END) if _seekable(mode) else 0
        except OSError as error:
            raise DiskImageError(f"cannot read {path}: {error.strerror}") from error
        if not _seekable(mode):
            os.close(self._fd)
            raise DiskImageError(f"{path} is no file", hint="name a file with a disk image in it")

    def read(self, offset: int, size: int) -> bytes:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise DiskImageError(
                f"{self.path} ends at byte {self.size}, and refers to bytes up to {offset + size}: is it whole?"
            )
        pieces = []
        try:
            while size:
                data = os.pread(self._fd, size, offset)
                if not data:
                    raise DiskImageError(f"{self.path} became shorter while it was read")
                pieces.append(data)
                offset += len(data)
                size -= len(data)
        except OSError as error:
            raise DiskImageError(f"cannot read {self.path}: {error.strerror}") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        os.close(self._fd)


def _seekable(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)


@contextmanager
def opened(path: Path, *, run: Run, report: Report) -> Iterator[tuple[Source, Path, str]]:
    """The disk in an image file; and the file it is in, with its format in QEMU's words, for other programs. Raises
    DiskImageError, and ToolMissing where qemu-img is needed."""
    with _file(path) as file:
        kind = image_format(file, name=str(path))
        if kind == "qcow2":
            yield reader.Qcow2Source(file, name=str(path)), path, kind
            return
        if kind == "raw":
            yield file, path, kind
            return
    raw = run.subdirectory("disk") / "disk.raw"
    _convert(path, kind, raw, report=report)
    try:
        with _file(raw) as file:
            yield file, raw, "raw"
    finally:
        raw.unlink(missing_ok=True)


@contextmanager
def _file(path: Path) -> Iterator[FileSource]:
    file = FileSource(path)
    try:
        yield file
    finally:
        file.close()


def image_format(file: Source, *, name: str) -> str:
    """The format of a disk image, in QEMU's words, by its own bytes. Raises DiskImageError for what is none that dibo
    reads: something compressed, an archive, a list of other files."""
    head = file.read(0, min(magic.HEAD, file.size))
    tail = file.read(max(0, file.size - magic.TAIL), min(magic.TAIL, file.size))
    kind = magic.disk_format(head, tail)
    if kind == "vmdk descriptor":
        raise DiskImageError(
            f"{name} only says which files a disk is in",
            hint=_WHOLE.format(name),
        )
    if kind and kind not in ("qcow2", *_CONVERTED):
        raise DiskImageError(f"{name} is a disk image of the format {kind}", hint=_WHOLE.format(name))
    if compressed := magic.compression(head):
        raise DiskImageError(f"{name} is compressed by {compressed}", hint="unpack it first")
    kept = magic.archive(head)
    if kept and kept != "iso9660" and not magic.has_partition_table(head):
        raise DiskImageError(f"{name} is a {kept}, no disk image")
    return kind or "raw"


def image_info(path: Path, kind: str) -> dict[str, Any]:
    """What `qemu-img info` says of an image of the format `kind` that needs no other file. An image may name any file
    of this machine, which QEMU would read: raises DiskImageError for one that does."""
    image = str(path.absolute())  # a name with a colon would be a protocol
    if kind == "qcow2":
        with _file(path) as file:
            reader.check_contained(file, name=str(path))
    try:
        answer = process.run(
            ["qemu-img", "info", "--output=json", "-f", kind, image],
            capture=True,
            options=process.ProcessOptions(timeout=_SECONDS),
        )
        info = json.loads(answer.stdout)
    except (CommandFailed, ValueError) as error:
        raise DiskImageError(f"cannot read {path}, a {kind}: {error}") from error
    if others := _others(info, image):
        raise DiskImageError(f"{path} refers to other files: {', '.join(others)}", hint=_WHOLE.format(path))
    return cast("dict[str, Any]", info)


def _convert(path: Path, kind: str, raw: Path, *, report: Report) -> None:
    image_info(path, kind)
    try:
        with report.task(f"{kind}: making it raw"):
            process.run(["qemu-img", "convert", "-f", kind, "-O", "raw", str(path.absolute()), str(raw)])
    except CommandFailed as error:
        raise DiskImageError(f"cannot read {path}, a {kind}: {error}") from error


def _others(info: Mapping[str, Any], image: str) -> list[str]:
    """Files besides the image itself that QEMU would read."""
    named = [info.get("backing-filename")]
    details = info.get("format-specific")
    data = details.get("data") if isinstance(details, dict) else None
    extents = data.get("extents") if isinstance(data, dict) else None
    named += [extent.get("filename") for extent in extents or () if isinstance(extent, dict)]
    return [ascii(name) for name in named if name and name != image]
