"""Members of the tars that other programs take disks in: ustar, as DSP0243 asks for; GNU's numbers from 8 GiB on."""

from __future__ import annotations

import hashlib
import tarfile
from typing import Protocol

from dibo.formats.streams.disk_file import ByteSink
from dibo.units import GIB, SECTOR

END = bytes(2 * SECTOR)


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


def member_header(
    name: str, size: int, *, time: int, mode: int = 0o644, owner: int = 0, is_directory: bool = False
) -> bytes:
    """The header of a file or directory; 512 bytes."""
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, max(0, time), mode
    member.uid = member.gid = owner
    if is_directory:
        member.type = tarfile.DIRTYPE
    return member.tobuf(tarfile.USTAR_FORMAT if size < 8 * GIB else tarfile.GNU_FORMAT)


def member(name: str, data: bytes, *, time: int) -> bytes:
    """A small file with its header and padding."""
    return member_header(name, len(data), time=time) + data + padding(len(data))


def padding(size: int) -> bytes:
    """The zeros behind a file of so many bytes."""
    return bytes(-size % SECTOR)


class Hashing:
    """An ByteSink that counts and hashes what goes to another."""

    def __init__(self, out: ByteSink) -> None:
        self._out = out
        self._sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes, /) -> None:
        self._sha256.update(data)
        self.size += len(data)
        self._out.write(data)

    @property
    def digest(self) -> str:
        """Hexadecimal."""
        return self._sha256.hexdigest()


def copy(source: _Reader, out: ByteSink) -> None:
    while data := source.read(1 << 20):
        out.write(data)
