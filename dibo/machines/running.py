"""A machine that runs: QEMU as a child, and the channels into it.

    console   the serial port, on pipes: what comes is kept, shown and searched; lines can be typed
    monitor   QMP (dibo.machines.qmp), on a socket pair: ports, the power button, the screen

A machine that dies closes its ends, and one whose kernel dies says so on the console (dibo.machines.console): every
wait sees both at once. QEMU ends with the context; should dibo be killed, the kernel kills QEMU (PR_SET_PDEATHSIG, by
setpriv(1)), where that program is installed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dibo.errors import CommandFailed, MachineDied, MachineError, MachineTimeout
from dibo.machines import channels
from dibo.machines.arguments import disk_name, qemu_arguments
from dibo.machines.console import ConsoleText, CrashDetector
from dibo.machines.machine import VirtualMachine
from dibo.machines.qmp import Monitor
from dibo.system import process

_TAIL: Final = 30
_KEPT: Final = 1 << 20
"""Characters of the console that are searched for text, and bytes that may be the beginning of one."""
_GRACE: Final = 90.0
_QUIT: Final = 10.0
_IN_USE: Final = ("Failed to get", "lock")
_PORT_TAKEN: Final = "Could not set up host forwarding rule"

OnConsole = Callable[[bytes], None]
"""Gets what the machine writes to its serial port, as it comes."""


class RunningMachine:
    """Made by `started`. Every method that waits raises MachineDied when the machine ends meanwhile. `ports` are those
    here, by protocol and port of the guest; `monitor` is QEMU's."""

    def __init__(self, machine: VirtualMachine, *, on_console: OnConsole, until: float | None) -> None:
        self.machine = machine
        self.text = ""
        """What the console showed since `wait_for` was satisfied last, as clean text; of much, the end."""
        self.ended = False
        self.exit_code: int | None = None
        """QEMU's, once it has ended."""
        self.watched = True
        """Whether a kernel or a QEMU that dies is an error."""
        self._on_console = on_console
        self._until = until
        self._detector = CrashDetector()
        self._console_text = ConsoleText()
        self._lines = ""
        self.stack = contextlib.ExitStack()

    def power_on(self, directory: Path) -> None:
        """Raises MachineError where QEMU does not start, ToolMissing."""
        with channels.open_channels() as (self._console, monitor, numbers):
            argv = qemu_arguments(self.machine, monitor=numbers.monitor)
            if process.find(argv[0]) is not None and process.find("setpriv") is not None:
                argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
            self._process = self.stack.enter_context(
                process.Process(
                    argv,
                    env={
                        "TMPDIR": str(directory)
                    },  # where QEMU keeps what is written to images that stay as they are
                    streams=process.Streams(stdin=numbers.input, stdout=numbers.output),
                    options=process.ProcessOptions(
                        pass_fds=(numbers.monitor, *self.machine.extras.descriptors)
                    ),
                )
            )
        self.stack.callback(self._console.close)
        self.stack.callback(monitor.close)
        try:
            self.monitor = Monitor(monitor)
            self.ports = self.monitor.forwarded_ports() if self.machine.network != "none" else {}
            for number, disk in enumerate(self.machine.disks):
                if disk.grow_to is not None:
                    # Of a disk that is thrown away, the nameless file above the image grows.
                    self.monitor.execute("block_resize", device=disk_name(number), size=disk.grow_to)
        except (ConnectionError, LookupError, ValueError) as error:
            raise self._not_started(error) from error
        with contextlib.suppress(ConnectionError):  # it may have ended before it answers
            self.monitor.execute("cont")

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._process.pid

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of the console, and what QEMU said."""
        lines = [line.rstrip() for line in self._lines.splitlines() if line.strip()]
        return (*lines[-_TAIL:], *self._process.tail)

    def look(self, seconds: float, *others: int) -> set[int]:
        """Wait for something from the console or from other descriptors; those of the others that can be read. Raises
        MachineDied for a kernel or a QEMU that dies, MachineTimeout when the time of the whole run is over."""
        self.check_time("the machine was switched off")
        if self.ended:
            return set()
        data, ready = self._console.receive(seconds, *others)
        if data is not None:
            self._take(data)
        return ready

    def give_time(self, seconds: float | None) -> None:
        """From now on; None for no end."""
        self._until = None if seconds is None else time.monotonic() + seconds

    def check_time(self, consequence: str) -> None:
        """Raises MachineTimeout."""
        if self._until is not None and time.monotonic() > self._until:
            raise self.failure(MachineTimeout, f"the time is over: {consequence}")

    def _take(self, data: bytes) -> None:
        if not data:
            self._end()
            return
        self._on_console(data)
        text = self._console_text.more(data)
        self.text = (self.text + text)[-_KEPT:]
        self._lines = (self._lines + text)[-_KEPT:]
        sign = self._detector.hopeless(text)
        if sign is not None and self.watched:
            raise self.failure(MachineDied, f"the console says {sign!r}")

    def _end(self) -> None:
        try:
            with contextlib.suppress(CommandFailed):
                self.exit_code = self._process.wait(timeout=_QUIT)
        finally:
            self.ended = True
        if self.exit_code and self.watched:
            raise self.failure(MachineDied, f"QEMU {process.describe_exit(self.exit_code)}")

    def require_on(self, expected: str) -> None:
        """Raises MachineDied if the machine has ended."""
        if self.ended:
            raise self.failure(MachineDied, f"the machine ended, but was expected to {expected}")

    def type_line(self, line: str) -> None:
        """Type a line on the console."""
        self.write(line.encode() + b"\r")

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # `look` sees that it has ended
            self._console.send(data)

    def screenshot(self, path: Path) -> None:
        """Write what the screen shows as PPM. Raises MachineError."""
        try:
            self.monitor.execute("screendump", filename=str(path))
        except (ConnectionError, LookupError) as error:
            raise MachineError(f"cannot take a picture of the screen: {error}") from error

    def press_power_button(self) -> None:
        with contextlib.suppress(ConnectionError, LookupError):
            self.monitor.execute("system_powerdown")

    def shut_down(self, *, grace: float = _GRACE) -> bool:
        """Press the power button and wait; whether the machine ended by itself. It is switched off if not."""
        self.watched = False
        self._until = None
        self.press_power_button()
        end = time.monotonic() + grace
        while not self.ended and time.monotonic() < end:
            self.look(0.5)
        return self.ended

    def failure(self, kind: type[MachineError], message: str) -> MachineError:
        """An error of that kind, with the end of the console."""
        error = kind(f"{self.machine.name}: {message}")
        error.details = self.tail or ("(the console shows nothing)",)
        error.hint = "the end of the console:\n" + "\n".join(f"  {line}" for line in error.details)
        return error

    def _not_started(self, error: Exception) -> MachineError:
        with contextlib.suppress(CommandFailed):
            self._process.wait(timeout=_QUIT)
        text = "\n".join(self._process.tail)
        name = self.machine.name
        if all(word in text for word in _IN_USE):
            return MachineError(
                f"{name}: the disk image is in use by another process",
                hint="stop that machine, or boot a copy",
            )
        if _PORT_TAKEN in text:
            return MachineError(
                f"{name}: a port to forward is in use on this machine, or you may not use it",
                hint="choose another port with --port; those below 1024 need privileges",
            )
        lines = [line for line in self._process.tail if "warning:" not in line]
        return MachineError(
            f"{name}: QEMU did not start: {lines[-1] if lines else error}", hint="\n".join(lines[:-1])
        )


@contextmanager
def started(
    machine: VirtualMachine, *, directory: Path, on_console: OnConsole, timeout: float | None = None
) -> Iterator[RunningMachine]:
    """Start a machine; it ends with the context. `directory` takes what it writes. After `timeout` seconds whatever
    waits for it raises MachineTimeout."""
    until = None if timeout is None else time.monotonic() + timeout
    running = RunningMachine(machine, on_console=on_console, until=until)
    with running.stack:
        running.power_on(directory)
        yield running
