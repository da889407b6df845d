"""A worker, seen from the command: a process that converts images, started again where it was killed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self

from dibo.api.conversions.messages import Answer, Converted, Failed, ImageLayers, Order
from dibo.errors import CommandFailed
from dibo.system.process import Process, ProcessOptions, Streams, describe_exit
from dibo.system.report import Report

_PROGRAM: Final = "dibo.api.conversions.worker"
Hear = Callable[[Answer], None]
"""Gets what a worker says before it is done."""


class WorkerProcess:
    """A context manager; the process has ended when it is left. For one thread at a time."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._stack = ExitStack()
        self._process: Process | None = None
        self._connection: Connection[Any, Any] | None = None
        self._ends = False

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends = True
        if kind is None and self._connection is not None and self._process is not None:
            self._connection.close()  # that tells it to end
            self._process.wait()
        self._stack.close()

    def ask(self, order: Order, hear: Hear) -> ImageLayers | Converted | Failed:
        """Give an order, and wait until it is carried out. A worker that was killed is Failed."""
        assert self._connection is not None
        try:
            self._connection.send(order)
            while True:
                answer = self._connection.recv()
                if isinstance(answer, ImageLayers | Converted | Failed):
                    return answer
                hear(answer)
        except (EOFError, OSError):
            return Failed(error=self._replaced())

    def _start(self) -> None:
        near, far = Pipe()
        self._connection = near
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with far:
            self._process = self._stack.enter_context(
                Process(
                    [sys.executable, "-m", _PROGRAM, str(far.fileno())],
                    env=environment,
                    streams=Streams(on_output=self._report.line),
                    options=ProcessOptions(pass_fds=[far.fileno()]),
                )
            )

    def _replaced(self) -> CommandFailed:
        """How the process ended; there is a new one then, unless all end."""
        assert self._process is not None and self._connection is not None
        code = self._process.wait()
        error = CommandFailed(
            f"the process that converted it {describe_exit(code)}",
            hint="with SIGKILL, probably for lack of memory: convert fewer images at a time (--jobs N)"
            if code < 0
            else "\n".join(f"| {line}" for line in self._process.tail),
        )
        self._connection.close()
        if not self._ends:
            self._start()
        return error
