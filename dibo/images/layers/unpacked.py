"""A layer that was read once, for several images that have it: its entries, and the bytes of its files in a plain file.

    files    those of the layer, in the order of its tar, each at a multiple of 4 KiB, zeros up to the next one
    index    what the tar says of each entry, and where its bytes are (marshal)
    place    where the index begins: u64, little-endian

Reading it gives what reading the tar gives, in the same order, without decompressing, hashing or parsing anything
again; digests and limits were checked when it was written. Bytes of files go on as ranges, which disks can
share (dibo.formats.file_range). A file with zeros that become holes, or that is sparse in the tar, goes as bytes.
"""

from __future__ import annotations

import marshal
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from dibo.errors import LayerError
from dibo.formats.ext4.data import HOLE
from dibo.formats.file_range import ALIGNMENT, FileRange
from dibo.images.image import Layer
from dibo.images.layers.change_digest import HashedContents
from dibo.images.layers.limits import Limits
from dibo.images.layers.stream import Buffers, CountedStream, Stream, too_large
from dibo.images.layers.tar_entry import TarEntry
from dibo.images.layers.tar_header import Malformed
from dibo.images.layers.tar_reader import Archive
from dibo.tree.node import Buffer, Contents, write_range

FORMAT: Final = 1
"""Another one wherever a file that was written before would be read in another way, or give something else."""
_NO_DATA: Final = bytes(HOLE)
_PLACE: Final = struct.Struct("<Q")
_MANY: Final = 512
_LARGE: Final = 8 << 20
_DESCRIBED: Final = (
    "name",
    "link",
    "kind",
    "mode",
    "uid",
    "gid",
    "mtime",
    "size",
    "device",
    "records",
    "map",
)


class TooMuch(Exception):
    """The layer has more bytes than there is room for."""


class UnpackedEntry(TarEntry):
    """An entry whose bytes are in the file."""

    __slots__ = ("place", "whole")

    def __init__(self) -> None:
        super().__init__()
        self.place = 0
        """Where the bytes of a file begin."""
        self.whole = False
        """Whether they may go on as a range: no hole is in them, and none will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackedContent:
    """What was read of a layer."""

    descriptor: int
    """Of the file with the bytes."""
    entries: tuple[UnpackedEntry, ...]
    name: str
    plain_bytes: int
    stored_bytes: int
    warnings: tuple[str, ...]
    oddities: tuple[str, ...]
    global_headers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackedLayer(Layer):
    """A layer, and what was read of it."""

    content: UnpackedContent


def with_content(layer: Layer, content: UnpackedContent) -> UnpackedLayer:
    """The same layer, which is not read again."""
    known: dict[str, Any] = {field.name: getattr(layer, field.name) for field in fields(Layer)}
    return UnpackedLayer(**known, content=content)


NOT_READ: Final = "not read"
"""In place of the digest of a file whose bytes were left out; its layer may be read for its tree alone."""


def unpack(
    layer: Layer, path: Path, *, limits: Limits, room: int, keep: Callable[[bytes], bool] | None = None
) -> None:
    """Read `layer` into the file at `path`, with at most `room` bytes of files. With `keep`, a function of names in the
    tar, bytes of other files are left out. Raises TooMuch, OSError, and what reading layers raises."""
    entries: list[tuple[object, ...]] = []
    with path.open("wb") as file:
        files = _Files(file.fileno(), room)
        with Stream(layer, limits=limits, before_reuse=files.flush) as stream:
            archive = Archive(stream, limits)
            try:
                while (entry := archive.next()) is not None:
                    if keep is None or entry.kind != b"0" or keep(entry.name):
                        entries.append(_read(entry, archive, files))
                    else:
                        entries.append((*_described(entry), NOT_READ if entry.size else "", 0, True))
                    if len(entries) + archive.global_headers > limits.entries:
                        raise Malformed(f"it has more than {limits.entries} entries")
            except Malformed as error:
                stream.judge()
                raise LayerError(f"layer {stream.name}: {error}") from error
            place = files.finish()
        about = (
            stream.name,
            stream.plain_bytes,
            stream.stored_bytes,
            tuple(stream.warnings),
            tuple(archive.oddities),
            archive.global_headers,
        )
        file.seek(place)
        file.write(marshal.dumps((about, entries)))
        file.write(_PLACE.pack(place))


def _read(entry: TarEntry, archive: Archive, files: _Files) -> tuple[object, ...]:
    fields_of_entry = _described(entry)
    if entry.kind != b"0" or not entry.size:
        return (*fields_of_entry, "", 0, False)
    hashing = HashedContents(files)
    place = archive.copy(entry, hashing)
    return (*fields_of_entry, hashing.digest, place, entry.map is None and not files.has_holes)


def _described(entry: TarEntry) -> tuple[object, ...]:
    return tuple(getattr(entry, name) for name in _DESCRIBED)


def open_unpacked(path: Path) -> UnpackedContent:
    """What `unpack` wrote. The caller closes the descriptor. Raises OSError."""
    with path.open("rb") as file:
        file.seek(-_PLACE.size, os.SEEK_END)
        file.seek(*_PLACE.unpack(file.read()))
        about, fields_of_entry = marshal.load(file)  # noqa: S302 (this user wrote it, in a directory of his alone)
        name, plain_bytes, stored_bytes, warnings, oddities, global_headers = about
        return UnpackedContent(
            descriptor=os.dup(file.fileno()),
            entries=tuple(map(_entry, fields_of_entry)),
            name=name,
            plain_bytes=plain_bytes,
            stored_bytes=stored_bytes,
            warnings=warnings,
            oddities=oddities,
            global_headers=global_headers,
        )


def _entry(fields_of_entry: tuple[Any, ...]) -> UnpackedEntry:
    entry = UnpackedEntry()
    (
        entry.name,
        entry.link,
        entry.kind,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.mtime,
        entry.size,
        entry.device,
        entry.records,
        entry.map,
        entry.digest,
        entry.place,
        entry.whole,
    ) = fields_of_entry
    return entry


class UnpackedStream:
    """What `dibo.images.layers.stream.Stream` is for other layers."""

    def __init__(self, layer: UnpackedLayer, *, limit: int, before_end: Callable[[], None]) -> None:
        self.content = layer.content
        self.name = layer.content.name
        self.warnings = layer.content.warnings
        self.plain_bytes = layer.content.plain_bytes
        self.stored_bytes = layer.content.stored_bytes
        self._limit = limit
        self._before_end = before_end

    def __enter__(self) -> Self:
        if self.plain_bytes > self._limit:
            raise too_large(self.name, self._limit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._before_end()

    def judge(self) -> None:
        """The bytes are right: they were checked when they were written."""


class UnpackedArchive:
    """What `dibo.images.layers.tar_reader.Archive` is for other layers."""

    def __init__(self, content: UnpackedContent, progress: Callable[[], None]) -> None:
        self.oddities = dict.fromkeys(content.oddities)
        self.global_headers = content.global_headers
        self.name = b""
        self._descriptor = content.descriptor
        self._entries = iter(content.entries)
        self._progress = progress

    def next(self) -> TarEntry | None:
        entry = next(self._entries, None)
        if entry is None:
            self._progress()
            return None
        self.name = entry.name
        return entry

    def copy(self, entry: TarEntry, contents: Contents, kept: list[bytes] | None = None) -> object:
        assert isinstance(entry, UnpackedEntry)
        content = contents.begin(entry.size)
        if entry.whole:
            source = self._range(entry.place, entry.size)
            write_range(contents, source)
            if kept is not None and entry.digest != NOT_READ:
                kept.extend(source.read())
            return content
        position, place = 0, entry.place
        for offset, length in ((0, entry.size),) if entry.map is None else entry.map:
            self._skip(contents, kept, offset - position)
            for data in self._range(place, length).read():
                contents.write(data)
                if kept is not None:
                    kept.append(data)
            position, place = offset + length, place + length
        self._skip(contents, kept, entry.size - position)
        return content

    def _range(self, offset: int, size: int) -> FileRange:
        return FileRange(descriptor=self._descriptor, offset=offset, size=size)

    def _skip(self, contents: Contents, kept: list[bytes] | None, size: int) -> None:
        if size:
            contents.skip(size)
            if kept is not None:
                kept.append(bytes(size))


LayerStream = Stream | UnpackedStream
LayerArchive = Archive | UnpackedArchive


def open_layer(
    layer: Layer, *, limits: Limits, limit: int, buffers: Buffers, before_reuse: Callable[[], None]
) -> LayerStream:
    """The bytes of a layer, of which there may be `limit`; the rest as of `Stream`."""
    if isinstance(layer, UnpackedLayer):
        return UnpackedStream(layer, limit=min(limit, limits.layer_bytes), before_end=before_reuse)
    return Stream(layer, limits=limits, limit=limit, buffers=buffers, before_reuse=before_reuse)


def archive_of(
    stream: LayerStream, limits: Limits, before: int, progress: Callable[[int], None] | None
) -> LayerArchive:
    """The entries of a layer. `progress` gets the bytes that were read, `before` of them of other layers."""
    if isinstance(stream, UnpackedStream):
        read = before + stream.stored_bytes
        return UnpackedArchive(stream.content, lambda: progress(read) if progress is not None else None)
    return Archive(CountedStream(stream, before, progress), limits)


class _Files:
    """Contents of the file with the bytes. What stands for a file is where it begins."""

    def __init__(self, descriptor: int, room: int) -> None:
        self.has_holes = False
        """Whether the file at hand has zeros that become a hole."""
        self._descriptor = descriptor
        self._room = room
        self._pending: list[Buffer] = []
        self._pending_at = 0
        self._end = 0
        self._position = 0
        """In the file at hand."""
        self._size = 0
        self._in_data = False
        """Whether the stretch of HOLE bytes at hand has other data than zeros."""

    def begin(self, size: int) -> object:
        aligned = -(-self._end // ALIGNMENT) * ALIGNMENT
        if aligned + size > self._room:
            raise TooMuch
        if aligned > self._end:
            self._pending.append(_NO_DATA[: aligned - self._end])
        self._end = aligned
        self._position, self._size = 0, size
        self.has_holes = self._in_data = False
        return aligned

    def write(self, data: Buffer) -> None:
        if self._size >= HOLE:
            self._look(memoryview(data))
        self._pending.append(data)
        self._end += len(data)
        self._position += len(data)
        if len(self._pending) >= _MANY or self._end - self._pending_at >= _LARGE:
            self.flush()

    def _look(self, data: memoryview) -> None:
        at = 0
        while at < len(data):
            place = self._position + at
            end = min(len(data), at + HOLE - place % HOLE)
            self._in_data = self._in_data or not _NO_DATA.startswith(data[at:end])
            place += end - at
            if place % HOLE == 0 or place == self._size:
                self.has_holes = self.has_holes or not self._in_data
                self._in_data = False
            at = end

    def skip(self, size: int) -> None:
        self._position += size

    def flush(self) -> None:
        while self._pending:
            count = os.pwritev(self._descriptor, self._pending, self._pending_at)
            self._pending_at += count
            while self._pending and count >= len(self._pending[0]):
                count -= len(self._pending.pop(0))
            if count:
                self._pending[0] = memoryview(self._pending[0])[count:]

    def release(self, content: object) -> None:
        pass

    def finish(self) -> int:
        """The last file ends with a whole block, as all others do; the end of that."""
        self.flush()
        end = -(-self._end // ALIGNMENT) * ALIGNMENT
        os.ftruncate(self._descriptor, end)
        return end
