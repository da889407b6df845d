"""Disks by type: those that dibo writes itself, and how an existing one becomes another."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final

from dibo.errors import UsageError
from dibo.formats.qcow2.codec import Compression
from dibo.formats.qcow2.writer import Qcow2
from dibo.formats.raw import RawFile
from dibo.formats.target import Target
from dibo.formats.vm_disks.identity import ImageIdentity
from dibo.formats.vm_disks.vdi import Vdi
from dibo.formats.vm_disks.vhd import Vhd
from dibo.units import OnBytes

COMPRESSION: Final = "DIBO_QCOW2_COMPRESSION"
TYPES: Final = ("raw", "qcow2", "vhd", "vdi")
_CHUNK: Final = 1 << 20


def open_target(
    kind: str,
    path: Path,
    size: int,
    options: Mapping[str, str],
    *,
    name: Path | None = None,
    identity: ImageIdentity | None = None,
) -> AbstractContextManager[Target]:
    """A disk of `size` bytes and of one of TYPES at `path`, which is whole when the `with` ends well. `options` are
    the variables for converters; `name` is what messages call the file; `identity` is for formats that tell one.
    Raises UsageError, OutputError; so do all methods of the target."""
    match kind:
        case "qcow2":
            return Qcow2(path, size, compression=qcow2_compression(options), name=name)
        case "vhd":
            return Vhd(path, size, identity=identity, name=name)
        case "vdi":
            return Vdi(path, size, identity=identity, name=name)
    return RawFile(path, size, name=name)


def qcow2_compression(options: Mapping[str, str]) -> Compression:
    """The compression of qcow2 images. Raises UsageError for an unknown word."""
    word = options.get(COMPRESSION, "") or Compression.ZLIB
    try:
        return Compression(word)
    except ValueError:
        raise UsageError(
            f"{COMPRESSION} is {word!r}", hint=f"it is one of {', '.join(Compression)}"
        ) from None


def copy_raw(
    source: BinaryIO,
    target: Target,
    *,
    without: Sequence[tuple[int, int]] = (),
    on_bytes: OnBytes = lambda _done, _total: None,
) -> None:
    """Write the disk in the plain file `source` to a fresh `target` of at least its size. Holes are left out, and so
    are the ranges `without`, offset and size of each. `on_bytes` is told up to which byte the file was written, and
    its size."""
    fd = source.fileno()
    size = os.fstat(fd).st_size
    position = 0
    while (start := _data(fd, position)) is not None:
        position = os.lseek(fd, start, os.SEEK_HOLE)
        for at, end in _left(start, position, sorted(without)):
            _copy(fd, target, at, end, on_bytes=lambda done: on_bytes(done, size))
    on_bytes(size, size)


def _left(start: int, end: int, without: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What is left of a range, from the lowest on; `without` is sorted."""
    for offset, size in without:
        if start < min(offset, end):
            yield start, min(offset, end)
        start = max(start, offset + size)
    if start < end:
        yield start, end


def _copy(fd: int, target: Target, start: int, end: int, *, on_bytes: Callable[[int], None]) -> None:
    while start < end:
        data = os.pread(fd, min(_CHUNK - start % _CHUNK, end - start), start)
        if not data:  # it was cut while we read
            return
        target.write(start, [data])
        start += len(data)
        on_bytes(start)


def _data(fd: int, position: int) -> int | None:
    """Where the next data is; None where there is none any more (lseek(2))."""
    try:
        return os.lseek(fd, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
