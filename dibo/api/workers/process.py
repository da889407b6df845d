"""A worker, seen from the command: a process that carries out orders, started with the first one, and again with the
next where it was killed.

Orders and messages are pickled, over a pipe (multiprocessing.connection). The worker ends when the pipe is closed, and
on SIGTERM as any command of dibo.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from dibo.errors import CommandFailed
from dibo.system.process import Process, ProcessOptions, Streams, describe_exit
from dibo.system.report import Report

_Message = TypeVar("_Message")
_Answer = TypeVar("_Answer")


class WorkerProcess(Generic[_Message, _Answer]):
    """A context manager; the process has ended when it is left. For one thread at a time. `program` is the module that
    it runs, with the descriptor of the pipe as its argument; `answers` are the classes of what ends an order."""

    def __init__(self, program: str, answers: tuple[type[_Answer], ...], report: Report) -> None:
        self._program, self._answers = program, answers
        self._report = report
        self._stack = ExitStack()
        self._process: Process | None = None
        self._connection: Connection[Any, Any] | None = None
        self._ends = False
        self._starting = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends = True
        if kind is None and self._connection is not None and self._process is not None:
            self._connection.close()  # that tells it to end
            self._process.wait()
        self._stack.close()

    def ask(self, order: object, hear: Callable[[_Message], None]) -> _Answer:
        """Give an order, and wait until it is carried out; `hear` gets what the worker says before. Raises
        CommandFailed where the worker was killed, or `end` came before the order."""
        connection = self._started()
        try:
            connection.send(order)
            while True:
                message = connection.recv()
                if isinstance(message, self._answers):
                    return message
                hear(message)
        except (EOFError, OSError):
            raise self._killed() from None

    def end(self) -> None:
        """Have it begin to end, as SIGTERM ends a command; leaving waits for that. From any thread."""
        with self._starting:
            if self._process is not None and not self._ends:
                self._process.terminate()
            self._ends = True

    def _started(self) -> Connection[Any, Any]:
        """The pipe to the process, which is started if there is none."""
        with self._starting:
            if self._connection is None:
                if self._ends:
                    raise CommandFailed("the process that would do it is not started: all end")
                self._connection = self._start()
            return self._connection

    def _start(self) -> Connection[Any, Any]:
        near, far = Pipe()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with far:
            self._process = self._stack.enter_context(
                Process(
                    [sys.executable, "-m", self._program, str(far.fileno())],
                    env=environment,
                    streams=Streams(on_output=self._report.line),
                    options=ProcessOptions(pass_fds=[far.fileno()]),
                )
            )
        return near

    def _killed(self) -> CommandFailed:
        """How the process ended."""
        assert self._process is not None and self._connection is not None
        code = self._process.wait()
        error = CommandFailed(
            f"the process that did it {describe_exit(code)}",
            hint="with SIGKILL, probably for lack of memory: do less at a time (--jobs N)"
            if code < 0
            else "\n".join(f"| {line}" for line in self._process.tail),
        )
        self._connection.close()
        self._connection = None
        return error
