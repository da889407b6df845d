"""A qcow2 that is written once, in a stream: clusters are compressed by threads as they fill up.

    write ──► clusters that lack something wait, at most 16 MiB of them
                │ complete
                ▼
              batches of 16 ──► threads compress ──► the file, in the order in which clusters were completed
                                                       │
    finish ──► what still waits; L2 and L1 tables, refcounts, header last ◄── where everything went

Where data lies follows from the order of writes alone, not from the number of threads or who is faster: the same
writes give the same bytes. A cluster of zeros is not stored. One that is touched again after it was finished is read
back, and stored a second time in another place; what it took is lost, which is why disks are written once.

The format: dibo/formats/qcow2/format.py.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dibo.formats.qcow2.allocation import PENDING, ClusterMap, Space
from dibo.formats.qcow2.codec import Compression, compress, decompress
from dibo.formats.qcow2.format import CLUSTER, extent, is_compressed
from dibo.formats.raw import close_written, unwritable, write_all
from dibo.formats.sparse import is_zero
from dibo.formats.target import Buffer

_BATCH: Final = 16
"""Clusters that a thread is given at once."""
_WAITING: Final = 256
"""Clusters that may wait to be completed."""
_MOST_THREADS: Final = 8
"""By default: more than that compress faster than anybody writes, and each has some megabytes at hand."""


class _Part:
    """A cluster that lacks something; `left` bytes of it, or None when they are no longer counted."""

    __slots__ = ("data", "left")

    def __init__(self, data: bytearray, left: int | None) -> None:
        self.data = data
        self.left = left


class Qcow2:
    """A Target. The file at `path` is made or emptied, and is a qcow2 of a disk of `size` bytes after `finish`, which
    the end of a `with` that went well calls; otherwise it has no header and is nothing. Not for several threads.

    Raises OutputError, here and in every method, when the file cannot be written; it calls the file `name` then, if it
    has another one for the user. `threads` compress, by default as many as this process may use processors, up to 8.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        *,
        compression: Compression = Compression.ZLIB,
        threads: int | None = None,
        name: Path | None = None,
    ) -> None:
        self.size = size
        self._name = name or path
        self._compression = compression
        self._clusters = ClusterMap()
        self._space = Space()
        self._parts: dict[int, _Part] = {}
        self._batch: list[tuple[int, Buffer]] = []
        self._jobs: deque[tuple[list[tuple[int, Buffer]], Future[list[bytes | None]]]] = deque()
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise unwritable(self._name, error) from error
        threads = threads or min(_MOST_THREADS, len(os.sched_getaffinity(0)))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="qcow2")
        self._most_jobs = 2 * threads + 2

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """As Target says. A buffer over bytes is not copied where it covers a whole cluster."""
        self._check(offset, sum(map(len, buffers)))
        for buffer in buffers:
            view = memoryview(buffer)
            lasting = isinstance(view.obj, bytes)
            end = offset + len(view)
            while offset < end:
                index, within = divmod(offset, CLUSTER)
                size = min(CLUSTER - within, end - offset)
                piece = view[:size]
                if size == CLUSTER:
                    self._write_whole(index, piece, lasting=lasting)
                else:
                    self._write_part(index, within, piece)
                view = view[size:]
                offset += size

    def discard(self, offset: int, size: int) -> None:
        self._check(offset, size)
        if not size:
            return
        end = offset + size
        first = -(-offset // CLUSTER)
        last = end // CLUSTER
        if first <= last:
            self._forget(first, last)
            self._blank(offset, min(first * CLUSTER, end))
            self._blank(max(last * CLUSTER, offset), end)
        else:
            self._blank(offset, end)

    def finish(self) -> None:
        """All is written: make it a qcow2, and close it."""
        for index, part in self._parts.items():
            self._complete(index, part.data)
        self._parts.clear()
        self._drain()
        tables = self._space.finish(self._clusters, size=self.size, compression=self._compression.type)
        try:
            for offset, data in tables:
                write_all(self._fd, offset, [data])
            os.ftruncate(self._fd, self._space.length)
        except OSError as error:
            raise unwritable(self._name, error) from error
        self.close()

    def close(self) -> None:
        """Give up what is not finished. Again, or after `finish`, is no error."""
        self._pool.shutdown(cancel_futures=True)
        fd, self._fd = self._fd, -1
        close_written(fd, self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self.close()

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or offset + size > self.size:
            raise ValueError(f"bytes {offset} to {offset + size} are not on a disk of {self.size}")

    def _write_whole(self, index: int, data: memoryview, *, lasting: bool) -> None:
        if index in self._parts or self._clusters.get(index):
            self._forget(index, index + 1)
        if not is_zero(data):
            self._complete(index, data if lasting else bytes(data))

    def _write_part(self, index: int, within: int, data: memoryview) -> None:
        part = self._part(index)
        part.data[within : within + len(data)] = data
        if part.left is not None:
            part.left -= len(data)
            if part.left <= 0:
                del self._parts[index]
                self._complete(index, part.data)

    def _part(self, index: int) -> _Part:
        """The cluster as it waits; begun, or read back from the file, if it does not."""
        part = self._parts.get(index)
        if part is None:
            if self._clusters.get(index):
                part = _Part(bytearray(self._take_back(index)), None)
            else:
                part = _Part(bytearray(CLUSTER), CLUSTER)
            if len(self._parts) >= _WAITING:
                oldest = next(iter(self._parts))
                self._complete(oldest, self._parts.pop(oldest).data)
            self._parts[index] = part
        return part

    def _blank(self, offset: int, end: int) -> None:
        """Zeros from byte `offset` to `end` of the disk, within one cluster."""
        index, within = divmod(offset, CLUSTER)
        if offset < end and (index in self._parts or self._clusters.get(index)):
            part = self._part(index)
            part.data[within : within + end - offset] = bytes(end - offset)
            part.left = None

    def _forget(self, first: int, end: int) -> None:
        """Whole clusters read as zeros again."""
        for index in [index for index in self._parts if first <= index < end]:
            del self._parts[index]
        for index in list(self._clusters.used(first, end)):
            if self._clusters.get(index) == PENDING:
                self._drain()
            self._space.drop(self._clusters.get(index))
            self._clusters.set(index, 0)

    def _take_back(self, index: int) -> bytes:
        if self._clusters.get(index) == PENDING:
            self._drain()
        entry = self._clusters.get(index)
        offset, size = extent(entry)
        data = os.pread(self._fd, size, offset)
        self._space.drop(entry)
        self._clusters.set(index, 0)
        return decompress(self._compression, data) if is_compressed(entry) else data

    def _complete(self, index: int, data: Buffer) -> None:
        """Nothing will change `data` any more."""
        if is_zero(data):
            return
        self._clusters.set(index, PENDING)
        self._batch.append((index, data))
        if len(self._batch) == _BATCH:
            self._submit()

    def _submit(self) -> None:
        batch, self._batch = self._batch, []
        job = self._pool.submit(compress, self._compression, [data for _, data in batch])
        self._jobs.append((batch, job))
        while self._jobs and (len(self._jobs) > self._most_jobs or self._jobs[0][1].done()):
            self._place()

    def _drain(self) -> None:
        if self._batch:
            self._submit()
        while self._jobs:
            self._place()

    def _place(self) -> None:
        """Write what the oldest job made: runs that follow each other in the file by one call."""
        batch, job = self._jobs.popleft()
        runs: dict[int, list[Buffer]] = {}
        ends: dict[int, int] = {}
        for (index, data), packed in zip(batch, job.result(), strict=True):
            offset, entry = (
                self._space.put_whole() if packed is None else self._space.put_compressed(len(packed))
            )
            self._clusters.set(index, entry)
            stored = data if packed is None else packed
            start = ends.pop(offset, offset)
            runs.setdefault(start, []).append(stored)
            ends[offset + len(stored)] = start
        try:
            for start, buffers in runs.items():
                write_all(self._fd, start, buffers)
        except OSError as error:
            raise unwritable(self._name, error) from error
