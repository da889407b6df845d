"""A tar as it streams by: one entry after the other, and the bytes of each.

Reads v7, ustar, GNU (long names, base-256, sparse), PAX (local and global records, sparse 0.0, 0.1 and 1.0) and star.
Not tarfile: that takes some 100 µs for an entry, unpacks numbers that are none, and loops on others. What it does with
types follows Go's archive/tar where standards leave room, since what made nearly every layer must read it: entries
other than files have no data, whatever their size says; an unknown type is a file (POSIX). An archive ends with two
blocks of zeros, or where the stream ends between entries; what comes after that is read for its digest, and ignored.

Memory is bounded: the headers of one entry have at most `Limits.header_bytes` together, and of global headers no more
is remembered than that, in `Limits.global_records` records.
"""

from __future__ import annotations

from typing import Final, Protocol

from dibo.images.layers import tar_sparse
from dibo.images.layers.limits import Limits
from dibo.images.layers.tar_entry import TarEntry
from dibo.images.layers.tar_header import (
    BLOCK,
    FIELDS,
    Malformed,
    checksum_fits,
    decimal,
    full_name,
    nanoseconds,
    number,
    records,
    text,
)
from dibo.tree.node import Contents

_ZEROS: Final = bytes(BLOCK)
_FILES: Final = b"0\x007S"
_NO_DATA: Final = b"123456"
_META: Final = b"xgXLKVNAD"
_REMEMBERED: Final = 8192
_LONG_NAME: Final = b"\0path"
_LONG_LINK: Final = b"\0linkpath"
"""GNU's, among the records of PAX, which count more. No keyword begins with a NUL."""
_MAX_ID: Final = 0xFFFFFFFE
_NOBODY: Final = 0xFFFFFFFF
"""(uid_t)-1, which chown(2) takes for "as it is": a program that unpacks such an entry as root leaves it to root."""
_MAX_TIME: Final = ((1 << 62) - 1) * 1_000_000_000
"""No file system has such times; those that a tree or a tar can have are kept."""
_USED: Final = (b"path", b"linkpath", b"mtime", b"size", b"uid", b"gid")
_USED_PREFIXES: Final = (b"SCHILY.", b"LIBARCHIVE.", b"GNU.sparse.")


class Chunks(Protocol):
    """Where the archive's bytes come from: whole numbers of blocks, but for the last."""

    def next(self) -> memoryview | None: ...


class Archive:
    """Reads entries from `chunks`. Raises Malformed, and what `chunks` raises."""

    def __init__(self, chunks: Chunks, limits: Limits) -> None:
        self.oddities: dict[str, None] = {}
        """Warnings about the layer, in words that follow its name, each once."""
        self.global_headers = 0
        self.name = b""
        """Of the entry at hand, for messages."""
        self._chunks = chunks
        self._limits = limits
        self._chunk = memoryview(b"")
        self._position = 0
        self._end = 0
        self._left = 0
        """Data of the entry at hand that is still to come, without padding."""
        self._padding = 0
        self._numbers: dict[bytes, int] = {}
        self._global: dict[bytes, bytes] = {}
        self._header_bytes = 0
        """Of the headers before the entry at hand."""

    def next(self) -> TarEntry | None:
        """The next entry, None at the end, when the stream has been read to its end, too."""
        if self._left or self._padding:
            self.skip()
        local: dict[bytes, bytes] = {}
        self._header_bytes = 0
        while True:
            block = self._block()
            if block is None:
                if local:
                    raise Malformed("the archive ends after a header that belongs to an entry")
                return None
            fields = FIELDS.unpack_from(block)
            if not checksum_fits(block, fields[6]):
                if block == _ZEROS:
                    if local:
                        raise Malformed("the archive ends after a header that belongs to an entry")
                    self._finish()
                    return None
                raise Malformed("after this entry comes no header: the checksum is wrong")
            kind = fields[7]
            if kind in _META:
                self._extend(kind, self._number(fields[4], "size"), local)
                continue
            return self._entry(kind, fields, block, local)

    # Headers

    def _block(self) -> memoryview | None:
        """The next block; None where the stream ends."""
        position = self._position
        if position == self._end:
            if not self._fill():
                return None
            position = 0
        after = position + BLOCK
        if after > self._end:
            raise Malformed("the archive ends in the middle of a header")
        self._position = after
        return self._chunk[position:after]

    def _fill(self) -> bool:
        chunk = self._chunks.next()
        self._position = 0
        if chunk is None:
            self._chunk = memoryview(b"")
            self._end = 0
            return False
        self._chunk = chunk
        self._end = len(chunk)
        return True

    def _number(self, field: bytes, description: str) -> int:
        """As header.number; archives repeat themselves."""
        value = self._numbers.get(field)
        if value is None:
            value = number(field, description)
            if len(self._numbers) >= _REMEMBERED:
                self._numbers.clear()
            self._numbers[field] = value
        return value

    def _extend(self, kind: bytes, size: int, local: dict[bytes, bytes]) -> None:
        """Take in a header that says something about the next entry, or about all that follow."""
        if size < 0:
            raise Malformed("a header has a negative size")
        if kind in b"VNAD":
            if kind == b"D":
                raise Malformed("the archive is an incremental backup of GNU tar, and no layer")
            self._begin(size)
            self.skip()
            return
        limit = self._limits.header_bytes
        if kind != b"g":
            self._header_bytes += size
        if max(size, self._header_bytes) > limit:
            raise Malformed(f"its headers have {max(size, self._header_bytes)} bytes; the limit is {limit}")
        data = self._take(size)
        if kind == b"L":
            local[_LONG_NAME] = text(data)  # of several the last counts, as for GNU tar and Go
        elif kind == b"K":
            local[_LONG_LINK] = text(data)
        elif kind == b"g":
            self._extend_globally(records(data))
        else:
            local.update(records(data))

    def _extend_globally(self, extended: dict[bytes, bytes]) -> None:
        """Remember what all entries that follow have, of what is used at all."""
        self.global_headers += 1
        remembered = self._global
        for keyword, value in extended.items():
            if not value:
                remembered.pop(keyword, None)
            elif keyword in _USED or keyword.startswith(_USED_PREFIXES):
                remembered[keyword] = value
        limits = self._limits
        if len(remembered) > limits.global_records:
            raise Malformed(f"global headers have more than {limits.global_records} records for all entries")
        if sum(map(len, remembered)) + sum(map(len, remembered.values())) > limits.header_bytes:
            raise Malformed(f"global headers have more than {limits.header_bytes} bytes for all entries")

    def _entry(
        self, kind: bytes, fields: tuple[bytes, ...], block: memoryview, local: dict[bytes, bytes]
    ) -> TarEntry:
        name, mode, uid, gid, size, mtime, _, _, link, _, major, minor, _ = fields
        number = self._number
        entry = TarEntry()
        entry.name = full_name(block, fields)
        self.name = entry.name
        if kind == b"\0":
            kind = b"5" if text(name).endswith(b"/") else b"0"
        entry.mode = number(mode, "mode") & 0o7777
        entry.uid = number(uid, "user id")
        entry.gid = number(gid, "group id")
        entry.mtime = number(mtime, "time") * 1_000_000_000
        stored = number(size, "size")
        if kind in b"12":
            entry.link = link.partition(b"\0")[0]
        elif kind in b"34":
            entry.device = (number(major, "major number"), number(minor, "minor number"))
        if local or self._global:
            overridden = self._override(entry, {**self._global, **local} if self._global else local)
            stored = stored if overridden is None else overridden
        if entry.uid == _NOBODY or entry.gid == _NOBODY:
            self.oddities[f"has entries of owner {_NOBODY}, which is no user: they become root's"] = None
            entry.uid, entry.gid = (0 if owner == _NOBODY else owner for owner in (entry.uid, entry.gid))
        if not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
            raise Malformed(f"its owner is {entry.uid}:{entry.gid}; ids go from 0 to {_MAX_ID}")
        if not -_MAX_TIME <= entry.mtime <= _MAX_TIME:
            entry.mtime = max(-_MAX_TIME, min(entry.mtime, _MAX_TIME))
        entry.kind = kind
        if kind not in _NO_DATA:
            self._data(entry, stored, block)
        return entry

    def _override(self, entry: TarEntry, records: dict[bytes, bytes]) -> int | None:
        """Put into `entry` what PAX records say, and return the size if they say one."""
        entry.name = self.name = records.pop(_LONG_NAME, b"") or entry.name
        entry.link = records.pop(_LONG_LINK, b"") or entry.link
        entry.records = records
        size = None
        for keyword, value in records.items():
            match keyword:
                case b"path":
                    entry.name = self.name = value or entry.name
                case b"linkpath":
                    entry.link = value or entry.link
                case b"mtime" if value:
                    entry.mtime = nanoseconds(value)
                case b"size" if value:
                    size = decimal(value, "size")
                case b"uid" if value:
                    entry.uid = decimal(value, "user id")
                case b"gid" if value:
                    entry.gid = decimal(value, "group id")
        if b"\0" in entry.name or b"\0" in entry.link:
            raise Malformed("its name or where it links to has a NUL")
        return size

    # Data

    def _data(self, entry: TarEntry, stored: int, block: memoryview) -> None:
        kind = entry.kind
        if stored < 0:
            raise Malformed(f"its size is {stored}")
        if kind == b"M":
            raise Malformed("it begins in another volume")
        if kind not in _FILES:
            self.oddities[f"has entries of the unknown type {kind!r}: they become files"] = None
        entry.kind = b"0"
        entry.size = stored
        if kind == b"S":
            self._old_sparse(entry, stored, bytes(block))
        elif entry.records and any(keyword.startswith(b"GNU.sparse.") for keyword in entry.records):
            self._pax_sparse(entry, stored, entry.records)
        else:
            self._begin(stored)
        if entry.size > self._limits.file_bytes:
            raise Malformed(f"it has {entry.size} bytes; the limit is {self._limits.file_bytes}")

    def _begin(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _old_sparse(self, entry: TarEntry, stored: int, block: bytes) -> None:
        entry.size = number(block[483:495], "real size")
        pieces = tar_sparse.old_pieces(block[386:482], 4)
        more = block[482]
        while more:
            extension = self._block()
            if extension is None:
                raise Malformed("the archive ends in the middle of a sparse map")
            pieces += tar_sparse.old_pieces(bytes(extension[:504]), 21)
            if len(pieces) * BLOCK > self._limits.header_bytes * 21:
                raise Malformed("its sparse map is longer than the limit of headers")
            more = extension[504]
        entry.map = tar_sparse.checked(pieces, size=entry.size, stored=stored)
        self._begin(stored)

    def _pax_sparse(self, entry: TarEntry, stored: int, records: dict[bytes, bytes]) -> None:
        entry.name = self.name = records.get(b"GNU.sparse.name") or entry.name
        real = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size")
        if b"\0" in entry.name:
            raise Malformed("its name has a NUL")
        if real is None:
            raise Malformed("it is sparse, and its real size is missing")
        entry.size = decimal(real, "real size")
        version = (records.get(b"GNU.sparse.major", b"0"), records.get(b"GNU.sparse.minor", b"0"))
        self._begin(stored)
        if version == (b"1", b"0"):
            lines = tar_sparse.Lines()
            taken = 0
            while True:
                if self._left < BLOCK or taken >= self._limits.header_bytes:
                    raise Malformed("its sparse map does not end")
                taken += BLOCK
                if lines.add(self._raw(BLOCK)):
                    break
            entry.map = tar_sparse.checked(lines.pieces(), size=entry.size, stored=self._left)
        elif version == (b"0", records.get(b"GNU.sparse.minor", b"0")):
            pieces = tar_sparse.from_record(records.get(b"GNU.sparse.map", b""))
            entry.map = tar_sparse.checked(pieces, size=entry.size, stored=stored)
        else:
            raise Malformed("its sparse format is newer than 1.0")

    def _raw(self, size: int) -> bytes:
        parts = []
        left = size
        while left:
            piece = self._piece(left)
            parts.append(bytes(piece))
            left -= len(piece)
        return b"".join(parts)

    def _take(self, size: int) -> bytes:
        self._begin(size)
        data = self._raw(size)
        self.skip()
        return data

    def _piece(self, most: int) -> memoryview:
        """Data of the entry at hand, as it lies in the chunk."""
        position = self._position
        if position == self._end:
            if not self._fill():
                raise Malformed(f"the archive ends {self._left} bytes before this entry does")
            position = 0
        after = min(position + most, self._end)
        self._position = after
        self._left -= after - position
        return self._chunk[position:after]

    def copy(self, entry: TarEntry, contents: Contents, kept: list[bytes] | None = None) -> object:
        """Hand the data of `entry` to `contents`, and return what stands for it. `kept` gets a copy, holes and all."""
        content = contents.begin(entry.size)
        position = 0
        for offset, length in ((0, entry.size),) if entry.map is None else entry.map:
            if offset > position:
                contents.skip(offset - position)
                if kept is not None:
                    kept.append(bytes(offset - position))
            position = offset + length
            while length:
                piece = self._piece(length)
                length -= len(piece)
                contents.write(piece)
                if kept is not None:
                    kept.append(bytes(piece))
        if entry.size > position:
            contents.skip(entry.size - position)
            if kept is not None:
                kept.append(bytes(entry.size - position))
        return content

    def skip(self) -> None:
        """To the end of the data at hand."""
        left = self._left + self._padding
        while left > self._end - self._position:
            left -= self._end - self._position
            if not self._fill():
                if left <= self._padding:  # umoci insert closes no archive: what counts is there
                    left = 0
                    break
                raise Malformed(f"the archive ends {left - self._padding} bytes before this entry does")
        self._position += left
        self._left = self._padding = 0

    def _finish(self) -> None:
        """After a block of zeros: another one, or the end; then zeros to the end of the stream."""
        block = self._block()
        if block is not None and block != _ZEROS:
            raise Malformed("a block of zeros is in the middle of the archive")
        while True:
            rest = bytes(self._chunk[self._position : self._end])
            if rest.count(0) != len(rest):
                self.oddities["goes on after the end of its archive: that is ignored"] = None
            if not self._fill():
                return
