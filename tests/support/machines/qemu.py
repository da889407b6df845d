"""A virtual machine for tests: boots a copy of a disk, waits for its marker, opens it by SSH.

It is a machine of `dibo boot` (dibo/machines) with what only tests need: a disk that is written to, thrown away in the
end and kept until then, over boots with one firmware and with another; and a third channel beside console and monitor.

    console   kept in a file; its last lines are part of every failure
    marker    the virtio-serial port that machines/cloud_init_seed.py describes, on one end of a socket pair

The guest has a network with DHCP and no way out: a test must not depend on somebody's mirror.
"""

from __future__ import annotations

import contextlib
import queue
import shlex
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from dibo import errors
from dibo.machines.boards import FirmwareKind, board_of
from dibo.machines.console import clean
from dibo.machines.firmware import with_own_variables
from dibo.machines.machine import (
    DirectKernel,
    FirmwareFiles,
    MachineDisk,
    PortForward,
    QemuExtras,
    VirtualMachine,
)
from dibo.machines.ssh import SSH_PORT, SshAccess
from dibo.system import process
from dibo.units import SECTOR, parse_size
from tests.support.machines.attended import AttendedMachine
from tests.support.machines.cloud_init_seed import MARKER_PORT, Seed
from tests.support.machines.emulation import ACCELERATOR, BOOT_SECONDS, emulator, firmware_files
from tests.support.machines.overlays import make_overlay
from tests.support.timeouts import TIMEOUT

Firmware = FirmwareKind
_TAIL_LINES = 40
_LOOK = 0.5


def tools_for(architecture: str) -> tuple[str, ...]:
    """What a Machine needs."""
    return (emulator(architecture), "qemu-img", "mformat", "mcopy", "ssh", "ssh-keygen", "setpriv")


TOOLS = tools_for("amd64")


class MachineError(Exception):
    """A machine did not do what was asked. The message ends with the last lines of its console."""


@dataclass(frozen=True, slots=True)
class BootState:
    """A boot that came to its end: systemd's word for the state, the uptime in seconds, the boot's id."""

    state: str
    uptime: float
    boot_id: str


class Machine:
    """A running machine; a context manager. Entering starts QEMU and returns at once."""

    def __init__(
        self,
        disk: Path,
        *,
        directory: Path,
        architecture: str = "amd64",
        firmware: Firmware | None = None,
        kernel: DirectKernel | None = None,
        seed: Seed | None = None,
        memory: int = 1024,
        smp: int = 1,
        grow_to: str = "",
        sector: int = SECTOR,
        others: Sequence[MachineDisk] = (),
        network: str = "",
        network_boot: bool = False,
        ports: Sequence[PortForward] = (),
        extra: Sequence[str] = (),
        name: str = "machine",
    ) -> None:
        """`disk` is any image that qemu-img knows. `directory` takes overlay, console and known_hosts.
        Without `firmware` it is the one that is usual for the architecture; `kernel` is for QEMU to load.
        `memory` is in MiB. `grow_to` makes the disk that the guest sees larger ("6G").
        `sector` is what that disk's logical sectors have, in bytes. The guest finds `others` before that disk.
        `network` is for QEMU's user network; with `network_boot` the machine tries that first, by iPXE, at each boot.
        `ports` are forwarded beside that of SSH. `extra` goes to QEMU.
        """
        self.name = name
        self.console = directory / f"{name}.console"
        self.overlay = directory / f"{name}.qcow2"
        self._disk = disk
        self._directory = directory
        self._seed = seed
        own = MachineDisk(
            path=self.overlay,
            format="qcow2",
            serial="own",
            throw_away=False,
            is_flushed=False,
            sector=sector,
            grow_to=parse_size(grow_to) if grow_to else None,
        )
        board = board_of(architecture)
        self._machine = VirtualMachine(
            name=name,
            board=board,
            machine=board.machines[0],
            accelerator=ACCELERATOR,
            processors=smp,
            memory=memory,
            firmware=FirmwareFiles(kind=FirmwareKind.NONE),
            kernel=kernel,
            disks=(*others, own, *_seed_disks(seed)),
            ports=(PortForward(guest=SSH_PORT), *ports),
            network="isolated",
            starts_from_network=network_boot,
            extras=QemuExtras(arguments=tuple(extra), network=network, starts_programs="-cmd:" in network),
        )
        self._firmware = firmware or board.firmware[0]
        self._installed: dict[Firmware, FirmwareFiles] = {}
        self._powered = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        self.console.write_bytes(b"")
        try:
            make_overlay(self._disk, self.overlay)
            self._power_on()
        except BaseException:
            self.overlay.unlink(missing_ok=True)
            raise
        return self

    def _power_on(self) -> None:
        marker, end = socket.socketpair()
        self._markers = _Markers(marker)
        with contextlib.ExitStack() as stack, end:
            stack.enter_context(marker)
            try:
                self._attended = AttendedMachine(
                    self._with_marker(end.fileno()),
                    directory=self._directory,
                    console=self.console,
                    other=marker.fileno(),
                    on_ready=self._markers.take,
                )
            except errors.MachineError as error:
                raise _explained(error) from error
            stack.callback(self._attended.close)
            self._powered = stack.pop_all()

    def _with_marker(self, descriptor: int) -> VirtualMachine:
        """The machine with the firmware that it has now, and the marker's port."""
        extras = self._machine.extras
        port = (
            *("-device", "virtio-serial-pci", "-chardev", f"socket,id=marker,fd={descriptor}"),
            *("-device", f"virtserialport,chardev=marker,name={MARKER_PORT}"),
        )
        extras = replace(extras, arguments=(*port, *extras.arguments), descriptors=(descriptor,))
        if self._firmware not in self._installed:
            delivered = firmware_files(self._machine.board.architecture, self._firmware)
            variables = self._directory / f"{self.name}.{self._firmware.value}.fd"
            self._installed[self._firmware] = with_own_variables(delivered, variables)
        return replace(self._machine, firmware=self._installed[self._firmware], extras=extras)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._powered.close()
        self.overlay.unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._attended.running.pid

    def wait_until_up(self, *, timeout: float = BOOT_SECONDS) -> BootState:
        """Wait for the marker of the boot under way. Raises MachineError when QEMU ends, when the console shows that no
        boot will come of this, or when `timeout` seconds pass.
        """
        deadline = time.monotonic() + timeout
        while True:
            ended = self._attended.ended
            if (line := self._markers.next_line()) is not None:
                break
            self._require(not ended, "it was up")
            if time.monotonic() > deadline:
                raise self._error(f"no marker within {timeout:.0f} s")
            self._wait(_LOOK)
        match line.split():
            case ["dibo-up", state, uptime, boot_id]:
                return BootState(state, float(uptime), boot_id)
        raise self._error(f"a marker of an unknown form: {line!r}")

    def wait_for_console(self, words: str, *, timeout: float = BOOT_SECONDS) -> None:
        """Wait until the console shows `words`, of a machine that has no seed and so sends no marker. Raises as
        wait_until_up() does.
        """
        deadline = time.monotonic() + timeout
        while True:
            ended = self._attended.ended
            if words in self.console_text():
                return
            self._require(not ended, f"it showed {words!r}")
            if time.monotonic() > deadline:
                raise self._error(f"no {words!r} on the console within {timeout:.0f} s")
            self._wait(_LOOK)

    def ssh(self, command: str, *, check: bool = True, timeout: float = TIMEOUT) -> str:
        """Run a shell command as the default user; its standard output. With `check`, a failure raises."""
        with (
            tempfile.TemporaryFile() as answer,
            process.Process(self._access().argv([command]), streams=process.Streams(stdout=answer)) as client,
        ):
            deadline = time.monotonic() + timeout
            while not client.ended:
                self._wait(0.05)
                if time.monotonic() > deadline:
                    raise self._error(f"{command!r} did not end within {timeout:.0f} s")
            code = client.wait()
            answer.seek(0)
            stdout = answer.read().decode(errors="replace")
        if check and code != 0:
            said = "\n".join((stdout.rstrip(), *client.tail))
            raise self._error(f"{command!r} {process.describe_exit(code)}:\n{said}")
        return stdout

    def _access(self) -> SshAccess:
        if self._seed is None:
            raise self._error("a machine without a seed has no key to log in with")
        return SshAccess(
            port=self._attended.running.ports["tcp", SSH_PORT],
            user=self._seed.user,
            key=self._seed.key,
            known_hosts=self._directory / f"{self.name}.known_hosts",
        )

    def ask(self, questions: Mapping[str, str], *, timeout: float = TIMEOUT) -> dict[str, str]:
        """Run a shell command for each question, all in one connection, for connecting takes seconds.
        Answers are what the commands print; their exit codes are not looked at.
        """
        script = "; ".join(
            f"printf '\\0%s\\0' {shlex.quote(key)}; {{ {ask}\n}}" for key, ask in questions.items()
        )
        fields = self.ssh(f"{script}; true", timeout=timeout).split("\0")
        return dict(zip(fields[1::2], fields[2::2], strict=True))

    def start_reboot(self, firmware: Firmware | None = None) -> None:
        """Power the guest off, cleanly, and on again, with another firmware if one is named; wait_until_up() then waits
        for that boot.

        A warm reset would be nearer to `reboot`, but OVMF was seen to hang in one, before it says a word, where
        QEMU emulates two processors.
        """
        self.ssh("sudo systemctl poweroff", check=False)  # the connection may break before the answer comes
        self.wait_until_off()
        self._powered.close()
        self._firmware = firmware or self._firmware
        self._power_on()

    def reboot(self, *, timeout: float = BOOT_SECONDS) -> BootState:
        self.start_reboot()
        return self.wait_until_up(timeout=timeout)

    def press_power_button(self) -> None:
        self._attended.running.press_power_button()

    def wait_until_off(self, *, timeout: float = TIMEOUT) -> None:
        """Wait until the guest has powered itself off. The overlay stays until the context ends."""
        deadline = time.monotonic() + timeout
        while not self._attended.ended:
            if time.monotonic() > deadline:
                raise self._error(f"still on {timeout:.0f} s after it was told to power off")
            self._wait(_LOOK)
        self._wait(0.0)

    def shutdown(self, *, timeout: float = TIMEOUT) -> None:
        """Press the power button, as a cloud does, and wait for a clean end."""
        self.press_power_button()
        self.wait_until_off(timeout=timeout)

    def console_text(self) -> str:
        return clean(self.console.read_bytes().decode(errors="ignore"))

    def console_tail(self, lines: int = _TAIL_LINES) -> str:
        return "\n".join(self.console_text().rstrip().splitlines()[-lines:])

    def _wait(self, seconds: float) -> None:
        """Until there is a marker or the machine ends, at most so long. Raises MachineError if it is hopeless."""
        try:
            self._attended.wait(seconds)
        except errors.MachineError as error:
            raise _explained(error) from error

    def _require(self, is_on: bool, expected: str) -> None:
        if not is_on:
            self._wait(0.0)
            raise self._error(f"the machine ended before {expected}")

    def _error(self, message: str) -> MachineError:
        return _explained(self._attended.running.failure(errors.MachineError, message))


class _Markers:
    """Lines that come from the marker's port."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._begun = b""
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def take(self) -> bool:
        """Read what is there; whether more may come."""
        data = self._connection.recv(4096)
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            self._lines.put(line)
        return bool(data)

    def next_line(self) -> str | None:
        """None if none has come."""
        try:
            return self._lines.get_nowait().decode(errors="replace")
        except queue.Empty:
            return None


def _explained(error: errors.MachineError) -> MachineError:
    return MachineError("\n".join(filter(None, (error.message, error.hint))))


def _seed_disks(seed: Seed | None) -> tuple[MachineDisk, ...]:
    if seed is None:
        return ()
    return (MachineDisk(path=seed.image, format="raw", serial="seed", read_only=True),)
