"""Where the members of a tar lie, so that each can be read without reading the others.

    header of 512 bytes | data, filled up to 512 | header | data | … | two blocks of zeros

POSIX.1-2017 pax(1), "ustar Interchange Format"; GNU tar manual, "Basic Tar Format" (types L and K: a long name or
link name for the member that follows). Only the few members of an image's archive come this way, blobs and layers,
not what is in the layers. Sparse members are not expected, and refused when asked for.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
from dataclasses import dataclass
from typing import Final

from dibo.errors import ImageError

_BLOCK: Final = 512
_MOST_MEMBERS: Final = 100_000
_LARGEST_EXTENSION: Final = 1 << 20  # bytes of a long name or of pax records
_MOST_LINKS: Final = 16
_FILES: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A plain file: so many bytes at `offset`. Or a link to another name."""

    offset: int
    size: int
    link: str = ""


class Index:
    def __init__(self, members: dict[str, Member], *, what: str) -> None:
        self._members = members
        self._what = what

    def find(self, name: str) -> Member | None:
        """The plain file of that name, links followed; None when there is none. Raises ImageError."""
        for _ in range(_MOST_LINKS):
            found = self._members.get(posixpath.normpath(name))
            if found is None or not found.link:
                return found
            name = found.link
        raise ImageError(f"{self._what}: the links at {name} lead nowhere")


def read_index(fd: int, *, what: str) -> Index:
    """The members of the tar that the file `fd` holds; of equal names the last. Raises ImageError."""
    size = os.fstat(fd).st_size
    members: dict[str, Member] = {}
    at, count = 0, 0
    extended: dict[str, str] = {}
    while True:
        block = os.pread(fd, _BLOCK, at)
        if not any(block):
            if len(block) < _BLOCK and (at == 0 or block):
                raise ImageError(f"{what} is no tar archive" if at == 0 else f"{what} is cut short")
            return Index(members, what=what)
        header = _header(block, at, what=what)
        length = int(extended.get("size") or header.size)
        data = at + _BLOCK
        if not 0 <= length <= size - data:
            raise ImageError(f"{what} is cut short, or damaged: {header.name!r} does not fit into it")
        at = data - -length // _BLOCK * _BLOCK
        count += 1
        if count > _MOST_MEMBERS:
            raise ImageError(f"{what} has more than {_MOST_MEMBERS} members: it is no archive of an image")
        if header.type in (b"L", b"K", b"x"):
            extended |= _extension(header, _read(fd, data, length, what=what), what=what)
            continue
        if header.type != b"g":
            _enter(members, header, data, length, extended)
            extended = {}


def _enter(
    members: dict[str, Member], header: tarfile.TarInfo, data: int, length: int, extended: dict[str, str]
) -> None:
    name = posixpath.normpath(extended.get("path", header.name))
    target = extended.get("linkpath", header.linkname)
    sparse = any(key.startswith("GNU.sparse") for key in extended)
    if header.type in _FILES and not sparse:
        members[name] = Member(offset=data, size=length)
    elif header.type == tarfile.SYMTYPE:
        members[name] = Member(offset=0, size=0, link=posixpath.join(posixpath.dirname(name), target))
    elif header.type == tarfile.LNKTYPE:
        members[name] = Member(offset=0, size=0, link=target)
    else:
        members.pop(name, None)


def _header(block: bytes, at: int, *, what: str) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        problem = "is no tar archive" if at == 0 else f"is damaged, or not a tar archive, at byte {at}"
        raise ImageError(f"{what} {problem}") from error


def _extension(header: tarfile.TarInfo, data: bytes, *, what: str) -> dict[str, str]:
    """What the member before a member says of it."""
    if header.type != b"x":
        text = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
        return {"path" if header.type == b"L" else "linkpath": text}
    found = {}
    while data:
        # "%d %s=%s\n": the length of the record, a keyword, its value
        digits, _, _ = data.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        key, equals, value = data[len(digits) + 1 : length].partition(b"=")
        if not equals or value[-1:] != b"\n" or length > len(data):
            raise ImageError(f"{what} is damaged: it has pax records that make no sense")
        found[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "surrogateescape")
        data = data[length:]
    if not found.get("size", "0").isdecimal() or len(found.get("size", "0")) > 19:
        raise ImageError(f"{what} is damaged: {found['size'][:40]!r} is no size")
    return found


def _read(fd: int, at: int, length: int, *, what: str) -> bytes:
    if length > _LARGEST_EXTENSION:
        raise ImageError(f"{what} is damaged: it has a name of {length} bytes")
    return os.pread(fd, length, at)
