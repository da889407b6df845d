"""Where the members of a tar lie, so that each can be read without reading the others.

    header of 512 bytes | data, filled up to 512 | header | data | … | two blocks of zeros

POSIX.1-2017 pax(1), "ustar Interchange Format"; GNU tar manual, "Basic Tar Format" (types L and K: a long name or
link name for the member that follows). Only the few members of an image's archive come this way, blobs and layers,
not what is in the layers. Sparse members are not expected, and refused when asked for.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from dibo.errors import ImageError
from dibo.formats.paths import MOST_LINKS
from dibo.images.layers.tar_header import (
    BLOCK,
    FIELDS,
    Malformed,
    checksum_fits,
    decimal,
    full_name,
    number,
    records,
    text,
)

_MOST_MEMBERS: Final = 100_000
_LARGEST_EXTENSION: Final = 1 << 20  # bytes of a long name or of pax records
_FILES: Final = (b"0", b"\0", b"7")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A plain file: so many bytes at `offset`. Or a link to another name."""

    offset: int
    size: int
    link: str = ""


class Index:
    def __init__(self, members: dict[str, Member], *, description: str) -> None:
        self._members = members
        self._what = description

    def find(self, name: str) -> Member | None:
        """The plain file of that name, links followed; None when there is none. Raises ImageError."""
        for _ in range(MOST_LINKS):
            member = self._members.get(posixpath.normpath(name))
            if member is None or not member.link:
                return member
            name = member.link
        raise ImageError(f"{self._what}: the links at {name} lead nowhere")


def read_index(fd: int, *, description: str, only: Collection[str] | None = None) -> Index:
    """The members of the tar that the file `fd` holds, of equal names the last. With `only`, just
    members of these names, of a tar that may have any number of members. Raises ImageError."""
    size = os.fstat(fd).st_size
    members: dict[str, Member] = {}
    at, count = 0, 0
    names: dict[bytes, bytes] = {}  # GNU's, which count less than the records of PAX
    pax: dict[bytes, bytes] = {}
    while True:
        block = os.pread(fd, BLOCK, at)
        if not any(block):
            if len(block) < BLOCK and (at == 0 or block):
                raise ImageError(
                    f"{description} is no tar archive" if at == 0 else f"{description} is cut short"
                )
            return Index(members, description=description)
        header = _header(block, at, description=description)
        try:
            length = decimal(pax[b"size"], "size") if pax.get(b"size") else header.size
        except Malformed as error:
            raise ImageError(f"{description} is damaged: {error}") from error
        data = at + BLOCK
        if not 0 <= length <= size - data:
            raise ImageError(f"{description} is cut short, or damaged: {header.name!r} does not fit into it")
        at = data - -length // BLOCK * BLOCK
        count += 1
        if only is None and count > _MOST_MEMBERS:
            raise ImageError(
                f"{description} has more than {_MOST_MEMBERS} members: it is no archive of an image"
            )
        if header.kind == b"x":
            pax |= _records(_read(fd, data, length, description=description), description=description)
        elif header.kind in (b"L", b"K"):
            key = b"path" if header.kind == b"L" else b"linkpath"
            names[key] = text(_read(fd, data, length, description=description))
        elif header.kind != b"g":
            extended = {**names, **pax}
            if only is None or _name(header, extended) in only:
                _enter(members, header, Member(offset=data, size=length), extended)
            names, pax = {}, {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    kind: bytes
    name: bytes
    link: bytes
    size: int


def _name(header: _Header, extended: dict[bytes, bytes]) -> str:
    return posixpath.normpath(_text(extended.get(b"path") or header.name))


def _enter(members: dict[str, Member], header: _Header, member: Member, extended: dict[bytes, bytes]) -> None:
    name = _name(header, extended)
    target = _text(extended.get(b"linkpath") or header.link)
    sparse = any(keyword.startswith(b"GNU.sparse") for keyword in extended)
    if header.kind in _FILES and not sparse:
        members[name] = member
    elif header.kind == b"2":
        members[name] = Member(offset=0, size=0, link=posixpath.join(posixpath.dirname(name), target))
    elif header.kind == b"1":
        members[name] = Member(offset=0, size=0, link=target)
    else:
        members.pop(name, None)


def _header(block: bytes, at: int, *, description: str) -> _Header:
    view = memoryview(block)
    problem = "is no tar archive" if at == 0 else f"is damaged, or not a tar archive, at byte {at}"
    if len(block) < BLOCK:
        raise ImageError(f"{description} {problem}")
    fields = FIELDS.unpack_from(block)
    try:
        size = number(fields[4], "size") if checksum_fits(view, fields[6]) else None
    except Malformed as error:
        raise ImageError(f"{description} {problem}: {error}") from error
    if size is None:
        raise ImageError(f"{description} {problem}")
    name, kind = full_name(view, fields), fields[7]
    if kind == b"\0" and name.endswith(b"/"):
        kind = b"5"
    return _Header(kind=kind, name=name, link=text(fields[8]), size=size)


def _records(data: bytes, *, description: str) -> dict[bytes, bytes]:
    try:
        return records(data)
    except Malformed as error:
        raise ImageError(f"{description} is damaged: {error}") from error


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _read(fd: int, at: int, length: int, *, description: str) -> bytes:
    if length > _LARGEST_EXTENSION:
        raise ImageError(f"{description} is damaged: it has a name of {length} bytes")
    return os.pread(fd, length, at)
