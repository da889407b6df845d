"""Reads the layers of a store of containers, by one process for all of them.

Files of a layer have owners whom only root may be, or a user in a namespace of his own: to enter that takes longer than
to read a small layer. So one process enters it, and answers requests from there (dibo.images.sources.tarsplit).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dibo.errors import ImageError
from dibo.images.image import Reader
from dibo.images.sources import tarsplit
from dibo.system import process

_PIPE: Final = 1 << 20  # bytes: the most that a user may ask for (pipe(7), pipe-max-size)
_LONGEST_ERROR: Final = 1 << 12


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """Where a layer lies. `size` is that of its tar, in bytes."""

    diff: Path
    split: Path
    diff_id: str
    size: int


class LayerReader:
    """Starts its process with the first layer; a context manager that ends it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._running: process.Process | None = None
        self._requests: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._requests is not None:
            self._requests.close()
        if self._running is not None:
            self._running.stop()
        self._running = self._requests = None

    @contextlib.contextmanager
    def open(self, layer: StoredLayer) -> Iterator[Reader]:
        """The tar of a layer. It and its Reader raise ImageError; the first one ToolMissing too."""
        out, out_end = os.pipe()
        errors, errors_end = os.pipe()
        try:
            try:
                self._ask(layer, out_end, errors_end)
            finally:
                os.close(out_end)
                os.close(errors_end)
            with contextlib.suppress(OSError):
                fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, _PIPE)
            yield _Tar(layer, out, errors, self)
        finally:
            os.close(out)
            os.close(errors)

    def last_lines(self) -> str:
        """What the process said, where it has ended."""
        return " ".join(self._running.tail[-2:]) if self._running is not None else ""

    def _ask(self, layer: StoredLayer, out: int, errors: int) -> None:
        request = json.dumps([str(layer.diff), str(layer.split)]).encode()
        with self._lock:
            requests = self._requests or self._start()
            # An end that is gone closes the pipes: the reader of the tar says so.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(requests, [request], [out, errors])

    def _start(self) -> socket.socket:
        near_end, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        enter = [] if os.geteuid() == 0 else ["buildah", "unshare"]
        with far_end:
            try:
                self._running = process.Process(
                    [*enter, sys.executable, "-I", "-S", str(tarsplit.__file__)],
                    env=self._environment,
                    streams=process.Streams(stdin=far_end.fileno()),
                )
            except BaseException:
                near_end.close()
                raise
        self._requests = near_end
        return near_end


class _Tar:
    """The Reader of what comes out of a pipe."""

    def __init__(self, layer: StoredLayer, out: int, errors: int, reader: LayerReader) -> None:
        self._layer = layer
        self._left = layer.size
        self._out = out
        self._errors = errors
        self._reader = reader

    def read(self, size: int, /) -> bytes:
        data = os.read(self._out, size)
        self._left -= len(data)
        if not data and self._left > 0 and size:
            error = (
                os.read(self._errors, _LONGEST_ERROR).decode(errors="replace") or self._reader.last_lines()
            )
            raise ImageError(
                f"the layer {self._layer.diff_id} cannot be read from {self._layer.diff}: "
                f"{error or 'the process that reads it has ended'}",
                hint="the image may have been removed or its files changed: try `buildah push` of it",
            )
        return data
