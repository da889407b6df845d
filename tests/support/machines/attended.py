"""A machine that runs, and a thread that reads what it writes.

A machine whose console nobody reads stands still once the socket is full, and tests wait for one of several machines
that run side by side. QEMU is started by the thread that makes the object, which must be the main one: the kernel kills
QEMU when the thread ends that started it (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dibo.errors import MachineError
from dibo.machines.machine import VirtualMachine
from dibo.machines.running import started

_LOOK: Final = 0.2


class AttendedMachine:
    """Making it starts QEMU, `close` ends it. `running` is dibo's own view of it, `ended` whether nothing more comes.

    What it writes to the serial port goes to the file `console`, behind what is there, and to `on_console`, in the
    thread. There `on_ready` is called when the descriptor `other` can be read, and says whether more may come. Raises
    MachineError where QEMU does not start.
    """

    def __init__(
        self,
        machine: VirtualMachine,
        *,
        directory: Path,
        console: Path,
        on_console: Callable[[bytes], None] = lambda _: None,
        other: int | None = None,
        on_ready: Callable[[], bool] = lambda: False,
    ) -> None:
        self.ended = False
        self._others = () if other is None else (other,)
        self._on_ready = on_ready
        self._news = threading.Event()
        self._closing = threading.Event()
        self._failure: Exception | None = None
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(console.open("ab", buffering=0))

            def take(data: bytes) -> None:
                file.write(data)
                on_console(data)

            self.running = stack.enter_context(started(machine, directory=directory, on_console=take))
            thread = threading.Thread(target=self._attend, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(self._closing.set)
            self._stack = stack.pop_all()

    def close(self) -> None:
        self._stack.close()

    def wait(self, seconds: float) -> None:
        """Until the machine ends or something came from `other`, at most so long. Raises MachineError if QEMU or the
        guest's kernel has died."""
        self._news.wait(seconds)
        self._news.clear()
        if self._failure is not None:
            raise self._failure

    def _attend(self) -> None:
        while not self.running.ended and not self._closing.is_set():
            try:
                if self.running.look(_LOOK, *self._others):
                    self._others = self._others if self._on_ready() else ()
                    self._news.set()
            except MachineError as error:
                self._failure = error
                self.running.watched = False  # what a kernel says after it died is kept, too
                self._news.set()
            except Exception as error:  # the test shows it
                self._failure = error
                break
        self.ended = True
        self._news.set()
