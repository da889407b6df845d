"""The door to image files: raw and qcow2 as they are, others made raw by qemu-img in the run's directory.

The format is told by the file's first bytes, never by qemu-img, to which an image could say anything. An image may
name other files (backing files, extents), which would be read as well: those are refused.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dibo.errors import CommandFailed, DiskImageError
from dibo.formats.qcow2 import reader
from dibo.formats.source import Source, check
from dibo.system import process
from dibo.system.report import Report
from dibo.system.workspace import Run

_FOREIGN: Final = (
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
)
_PACKED: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
)
_HEAD: Final = 512


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
        check(offset, size, self.size)
        found = []
        try:
            while size:
                data = os.pread(self._fd, size, offset)
                if not data:
                    raise DiskImageError(f"{self.path} became shorter while it was read")
                found.append(data)
                offset += len(data)
                size -= len(data)
        except OSError as error:
            raise DiskImageError(f"cannot read {self.path}: {error.strerror}") from error
        return found[0] if len(found) == 1 else b"".join(found)

    def close(self) -> None:
        os.close(self._fd)


def _seekable(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)


@contextmanager
def opened(path: Path, *, run: Run, report: Report) -> Iterator[tuple[Source, Path, str]]:
    """The disk in an image file; and the file it is in, with its format in QEMU's words, for other programs. Raises
    DiskImageError, and ToolMissing where qemu-img is needed."""
    with _file(path) as file:
        head = file.read(0, min(_HEAD, file.size))
        if head.startswith(reader.MAGIC):
            yield reader.Qcow2Source(file, name=str(path)), path, "qcow2"
            return
        kind = next((kind for at, magic, kind in _FOREIGN if head[at:].startswith(magic)), None)
        if kind is None:
            _refuse(path, head)
            yield file, path, "raw"
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


def _refuse(path: Path, head: bytes) -> None:
    if head.startswith(b"# Disk DescriptorFile"):
        raise DiskImageError(
            f"{path} only says which files a disk is in",
            hint=f"if you trust it: qemu-img convert -O qcow2 {path} whole.qcow2, and take that",
        )
    for magic, program in _PACKED:
        if head.startswith(magic):
            raise DiskImageError(f"{path} is compressed by {program}", hint="unpack it first")


def _convert(path: Path, kind: str, raw: Path, *, report: Report) -> None:
    image = str(path.absolute())  # a name with a colon would be a protocol
    try:
        said = process.run(["qemu-img", "info", "--output=json", "-f", kind, image], capture=True)
        others = _others(json.loads(said.stdout), image)
        if others:
            raise DiskImageError(
                f"{path} refers to other files: {', '.join(others)}",
                hint=f"if you trust it: qemu-img convert -O qcow2 {path} whole.qcow2, and take that",
            )
        with report.task(f"{kind}: making it raw"):
            process.run(["qemu-img", "convert", "-f", kind, "-O", "raw", image, str(raw)])
    except (CommandFailed, ValueError) as error:
        raise DiskImageError(f"cannot read {path}, a {kind}: {error}") from error


def _others(info: dict[str, object], image: str) -> list[str]:
    """Files besides the image itself that QEMU would read."""
    named = [info.get("backing-filename")]
    details = info.get("format-specific")
    data = details.get("data") if isinstance(details, dict) else None
    extents = data.get("extents") if isinstance(data, dict) else None
    named += [extent.get("filename") for extent in extents or () if isinstance(extent, dict)]
    return [ascii(name) for name in named if name and name != image]
