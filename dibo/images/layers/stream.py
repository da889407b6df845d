"""One layer as a stream of its tar, decompressed and verified by threads.

    read + hash as stored ──stored──► decompress ──plain──► hash the tar ──hashed──► parser (the caller's thread)
           ▲ credits                     ▲ free buffers ◄─────────────────────────────┘ when it is done with one

Reading, zstd, igzip and hashlib let go of the interpreter's lock while they work, so the stages overlap. What is
under way is bounded: so many pieces as stored, so many buffers of the tar, used again and again, since fresh memory
costs more than the bytes that go into it. Buffers are filled to the brim, so that each but the last is a whole number
of tar's blocks.

What is checked: the size and digest of the bytes as stored, the digest of the tar (`diff_id`), limits. Whatever a
thread raises ends up in the caller's thread, after the pieces before it. Where bytes turn out wrong in two ways, the
digest is the one that is told: it explains the other.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Final

from dibo.errors import DiboError, LayerError, VerificationFailed
from dibo.images.image import Layer, Reader
from dibo.images.layers import codec
from dibo.images.layers.limits import MIB, Limits
from dibo.system.profiling.trace import spanned
from dibo.units import human_size

PIECE: Final = MIB // 2
"""Read at once, as stored."""
CHUNK: Final = MIB
"""Of the tar, handed on at once."""
_PIECES = 4
_CHUNKS = 6


class _End:
    """What is put into a queue last."""


class _Stopped(Exception):
    """The caller stops."""


_END: Final = _End()
_STOP: Final = _End()
"""Put into all queues when the caller stops. Not an exception: raised again and again, it would keep frames."""


class Buffers:
    """Memory for what is under way, for one layer after the other; as much as the largest of them needs."""

    def __init__(self) -> None:
        self.all: list[memoryview] = []

    def another(self) -> memoryview | None:
        """None when there are enough."""
        if len(self.all) == _CHUNKS:
            return None
        self.all.append(memoryview(bytearray(CHUNK)))
        return self.all[-1]


class Stream:
    """The tar of `layer`, chunk by chunk. A context manager; threads have ended when it is left."""

    def __init__(
        self,
        layer: Layer,
        *,
        limits: Limits,
        limit: int | None = None,
        buffers: Buffers | None = None,
        before_reuse: Callable[[], None] = lambda: None,
    ) -> None:
        """`limit` is how many bytes the tar may have, where that is less than what the limits say.
        `before_reuse` is called before the memory of the last chunk is used again."""
        self.name = layer.digest or layer.diff_id or "the archive"
        self.warnings: list[str] = []
        self.stored_bytes = 0
        self.plain_bytes = 0
        self._layer = layer
        self._limits = limits
        self._limit = limits.layer_bytes if limit is None else min(limit, limits.layer_bytes)
        self._buffers = buffers or Buffers()
        self._before_reuse = before_reuse
        self._held: memoryview | None = None
        self._resources = contextlib.ExitStack()
        self._threads: list[Thread] = []
        self._credits: SimpleQueue[object] = SimpleQueue()
        self._stored: SimpleQueue[object] = SimpleQueue()
        self._free: SimpleQueue[object] = SimpleQueue()
        self._plain: SimpleQueue[object] = SimpleQueue()
        self._source = _Source(self._stored, self._credits)
        self._hashed: SimpleQueue[object] = self._plain

    def __enter__(self) -> Stream:
        layer = self._layer
        _refuse_what_nobody_can_read(layer)
        # Bytes as stored are the tar itself where both digests are one: hash them once.
        same = layer.digest is not None and layer.digest == layer.diff_id
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(layer.open())
            stored_digest = _Digest("as stored", layer.digest, self.name)
            plain_digest = _Digest("unpacked", None if same else layer.diff_id, self.name)
            for _ in range(_PIECES):
                self._credits.put(None)
            for buffer in self._buffers.all:
                self._free.put(buffer)
            self._start(self._read, reader, stored_digest)
            self._start(self._decompress)
            if plain_digest:
                self._hashed = SimpleQueue()
                self._start(self._hash, plain_digest)
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for queue in (self._credits, self._stored, self._free, self._plain):
            queue.put(_STOP)
        try:
            for thread in self._threads:
                thread.join()
        finally:
            self._resources.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        profiled = spanned(work, self.name)
        self._threads.append(Thread(target=profiled, args=arguments, name=work.__name__, daemon=True))
        self._threads[-1].start()

    def next(self) -> memoryview | None:
        """The next chunk of the tar, None at its end. The last one's memory is used again. Raises VerificationFailed,
        LayerError, and what the layer's reader raises."""
        self._give_back()
        item = self._hashed.get()
        if isinstance(item, tuple):
            self._held, size = item
            assert self._held is not None
            return self._held[:size]
        if isinstance(item, BaseException):
            self._hashed.put(item)
            if isinstance(item, DiboError):
                item.blob = self._layer.digest or ""
            raise item
        self._hashed.put(_END)
        return None

    def judge(self) -> None:
        """The caller cannot go on with what it read: raise VerificationFailed if that is because the bytes are wrong.
        Reads what is left of them as they are stored, and nothing else."""
        if self._layer.digest is None and self._layer.size is None:
            return
        self._before_reuse()
        self._free.put(_STOP)
        self._threads[1].join()
        with contextlib.suppress(_Stopped):
            self._source.drain()

    def _give_back(self) -> None:
        if self._held is not None:
            self._before_reuse()
            self._free.put(self._held)
            self._held = None

    # Each of these is a thread.

    def _read(self, reader: Reader, digest: _Digest) -> None:
        size = self._layer.size
        try:
            while True:
                if self._credits.get() is _STOP:
                    return
                data = reader.read(PIECE if size is None else min(PIECE, size - self.stored_bytes + 1))
                if not data:
                    break
                self.stored_bytes += len(data)
                if size is not None and self.stored_bytes > size:
                    raise VerificationFailed(
                        f"{self.name} is longer than the {size} bytes that its manifest says",
                        hint="it was changed after the manifest was made: get the image anew, from its maker",
                    )
                digest.update(data)
                self._stored.put(data)
            if size is not None and self.stored_bytes < size:
                raise VerificationFailed(
                    f"{self.name} ends after {self.stored_bytes} of {size} bytes",
                    hint="it was cut short: get it anew",
                )
            digest.verify()
        except BaseException as error:  # any: it is raised again in the caller's thread
            self._stored.put(error)
        else:
            self._stored.put(_END)

    def _decompress(self) -> None:
        source = self._source
        try:
            try:
                self._fill(source)
            except codec.Broken as error:
                source.drain()
                raise VerificationFailed(
                    f"{self.name} cannot be decompressed: {error}", hint="it is damaged: get it anew"
                ) from error
            source.drain()
        except _Stopped:
            return
        except BaseException as error:  # any: it is raised again in the caller's thread
            self._plain.put(error)
        else:
            self._plain.put(_END)

    def _fill(self, source: _Source) -> None:
        kind = codec.sniff(source.peek())
        if note := codec.contradiction(kind, self._layer.media_type):
            self.warnings.append(f"{self.name} {note}")
        readinto = codec.decompressor(kind, source, window_bytes=self._limits.window_bytes)
        while True:
            buffer = self._buffer()
            size = 0
            try:
                while size < CHUNK and (count := readinto(buffer[size:] if size else buffer)):
                    size += count
            except codec.Broken:
                self._hand_on(buffer, size)
                raise
            self._hand_on(buffer, size)
            if size < CHUNK:
                return

    def _buffer(self) -> memoryview:
        try:
            buffer = self._free.get_nowait()
        except Empty:
            buffer = self._buffers.another() or self._free.get()
        if not isinstance(buffer, memoryview):
            raise _Stopped
        return buffer

    def _hand_on(self, buffer: memoryview, size: int) -> None:
        if not size:
            return
        self.plain_bytes += size
        limits = self._limits
        if self.plain_bytes > self._limit:
            raise too_large(self.name, self._limit)
        if self.plain_bytes > limits.ratio_from and self.plain_bytes > limits.ratio * self.stored_bytes:
            raise LayerError(
                f"{self.name} unpacks to more than {limits.ratio} times its size",
                hint="it may be made to fill disks; if it is meant to be so, raise the limit: --max-ratio N",
            )
        self._plain.put((buffer, size))

    def _hash(self, digest: _Digest) -> None:
        try:
            while True:
                item = self._plain.get()
                if isinstance(item, tuple):
                    buffer, size = item
                    digest.update(buffer[:size])
                elif item is _STOP:
                    return
                elif isinstance(item, BaseException):
                    raise item
                else:
                    break
                self._hashed.put(item)
            digest.verify()
        except BaseException as error:  # any: it is raised again in the caller's thread
            self._hashed.put(error)
        else:
            self._hashed.put(_END)


def too_large(name: str, limit: int) -> LayerError:
    """Of a layer that has more bytes than the limit says."""
    return LayerError(
        f"{name} unpacks to more than {human_size(limit)}",
        hint="if the image is meant to be so large, raise the limit: --max-size GIB",
    )


class CountedStream:
    """A stream that tells how far it is."""

    def __init__(self, stream: Stream, before: int, progress: Callable[[int], None] | None) -> None:
        self._stream = stream
        self._before = before
        self._progress = progress

    def next(self) -> memoryview | None:
        chunk = self._stream.next()
        if self._progress is not None:
            self._progress(self._before + self._stream.stored_bytes)
        return chunk


class _Source:
    """The bytes as stored, as a file that a decompressor reads from."""

    def __init__(self, queue: SimpleQueue[object], credits: SimpleQueue[object]) -> None:
        self._queue = queue
        self._credits = credits
        self._rest = b""
        self._last: object = None
        """What ended it."""

    def _next(self) -> bytes:
        item = self._last or self._queue.get()
        if isinstance(item, bytes):
            self._credits.put(None)
            return item
        self._last = item
        if item is _STOP:
            raise _Stopped
        if isinstance(item, BaseException):
            raise item
        return b""

    def peek(self) -> bytes:
        """At least as many bytes as magic numbers have, unless there are fewer."""
        while len(self._rest) < codec.MAGIC_BYTES and (data := self._next()):
            self._rest += data
        return self._rest

    def read(self, size: int = -1, /) -> bytes:
        """Never more than `size`."""
        data = self._rest or self._next()
        if 0 <= size < len(data):
            data, self._rest = data[:size], data[size:]
        else:
            self._rest = b""
        return data

    def readinto(self, buffer: memoryview, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def drain(self) -> None:
        """Read to the end, for the sake of what the reader finds there."""
        self._rest = b""
        while self._next():
            pass


class _Digest:
    """One of the digests that OCI registers (image specification, descriptor.md): sha256 and sha512."""

    def __init__(self, description: str, expected: str | None, name: str) -> None:
        self._what = description
        self._wanted = expected
        self._name = name
        self._hash = None
        if expected is not None:
            algorithm, _, value = expected.partition(":")
            if (
                algorithm not in ("sha256", "sha512")
                or len(value) != {"sha256": 64, "sha512": 128}[algorithm]
            ):
                raise LayerError(
                    f"{name}: {expected!r} is not a digest that dibo can check: expected sha256 or sha512"
                )
            self._hash = hashlib.new(algorithm)

    def __bool__(self) -> bool:
        return self._hash is not None

    def update(self, data: bytes | memoryview) -> None:
        if self._hash is not None:
            self._hash.update(data)

    def verify(self) -> None:
        if self._hash is not None and f"{self._hash.name}:{self._hash.hexdigest()}" != self._wanted:
            raise VerificationFailed(
                f"{self._name} does not match its digest: {self._what} it is"
                f" {self._hash.name}:{self._hash.hexdigest()}, expected {self._wanted}",
                hint="it is damaged or was changed: get the image again from its maker",
            )


def _refuse_what_nobody_can_read(layer: Layer) -> None:
    if "foreign" in layer.media_type or "nondistributable" in layer.media_type:
        raise LayerError(
            f"{layer.digest} is a foreign layer ({layer.media_type}): it lies elsewhere,"
            " and dibo follows no such links",
            hint="rebuild the image on a base whose layers are in the registry",
        )
    if "encrypted" in layer.media_type:
        raise LayerError(
            f"{layer.digest} is encrypted ({layer.media_type})",
            hint="decrypt the image first, for example with skopeo copy --decryption-key",
        )
