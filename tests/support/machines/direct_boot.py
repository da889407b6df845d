"""A virtual machine that is given its kernel and ramdisk by QEMU, as by a boot loader, and talks on a serial line.

It is a machine of `dibo boot` (dibo/machines). Its network is QEMU's user network, closed but for what is let in: a
server of this machine at the address SERVER, and ports of the guest at free ports here.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

from dibo.errors import MachineError
from dibo.machines.boards import FirmwareKind, board_of
from dibo.machines.machine import (
    MAC,
    DirectKernel,
    FirmwareFiles,
    MachineDisk,
    PortForward,
    QemuExtras,
    VirtualMachine,
)
from dibo.machines.qmp import Monitor
from tests.support.machines.attended import AttendedMachine
from tests.support.machines.emulation import ACCELERATOR, BOOT_SECONDS, emulator, firmware_files
from tests.support.servers.loopback_http import Loopback, QuietHandler

SERVER = "10.0.2.4"
TOOLS = (emulator("amd64"), "setpriv", "busybox")
_TAIL = 60
_LOOK = 0.1


def dead_card(mac: str) -> tuple[str, ...]:
    """Options for QEMU that add a network card with a link and nobody who answers."""
    return (
        *("-netdev", "hubport,id=dead,hubid=7"),
        *("-device", f"virtio-net-pci,netdev=dead,mac={mac},romfile="),
    )


class DirectMachine:
    """A context manager; entering starts QEMU. `monitor` is its monitor.

    `server` is what the guest reaches at SERVER: (guest's port, port here). `ports` are the guest's that are reached
    through `port`. `network` is for QEMU's user network; without `link` nothing is at the other end.

    For arm64 the kernel, an EFI program, is started by the firmware, which QEMU hands it to: QEMU itself does not start
    those that unpack themselves.
    """

    def __init__(
        self,
        kernel: Path,
        initramfs: Path,
        *,
        cmdline: str,
        directory: Path,
        architecture: str = "amd64",
        disks: Sequence[Path] = (),
        server: tuple[int, int] | None = None,
        ports: Sequence[int] = (),
        link: bool = True,
        network: str = "",
        processors: int = 1,
        extra: Sequence[str] = (),
    ) -> None:
        self.console = directory / "console"
        self._directory = directory
        self._text = ""
        board = board_of(architecture)
        forward = (
            ""
            if server is None
            else f"guestfwd=tcp:{SERVER}:{server[0]}-cmd:busybox nc 127.0.0.1 {server[1]}"
        )
        network = ",".join(filter(None, (network, forward)))
        arguments = f"quiet BOOTIF=01-{MAC.replace(':', '-')} console={board.console} {cmdline}"
        self._machine = VirtualMachine(
            name="machine",
            board=board,
            machine=board.machines[0],
            accelerator=ACCELERATOR,
            processors=processors,
            memory=1024,
            firmware=_firmware(architecture),
            kernel=DirectKernel(kernel=kernel, initrd=initramfs, arguments=arguments),
            disks=tuple(
                MachineDisk(
                    path=disk,
                    format="raw",
                    serial=f"dibo-test-{number}",
                    throw_away=False,
                    is_flushed=False,
                )
                for number, disk in enumerate(disks)
            ),
            ports=tuple(PortForward(guest=port) for port in ports),
            network="isolated" if link else "none",
            extras=QemuExtras(
                arguments=("-no-reboot", *(() if link else dead_card(MAC)), *extra),
                network=network,
                starts_programs="-cmd:" in network,
            ),
        )

    def __enter__(self) -> Self:
        self._attended = AttendedMachine(
            self._machine, directory=self._directory, console=self.console, on_console=self._take
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._attended.close()

    def _take(self, data: bytes) -> None:
        self._text += data.decode(errors="replace").replace("\r", "")

    @property
    def monitor(self) -> Monitor:
        return self._attended.running.monitor

    def port(self, port: int) -> int:
        """Where a port of the guest is reached at 127.0.0.1."""
        return self._attended.running.ports["tcp", port]

    @property
    def text(self) -> str:
        """What the console showed so far."""
        return self._text

    def wait_for(self, words: str, *, times: int = 1, timeout: float = BOOT_SECONDS) -> None:
        """Wait until the console has shown `words` so often. Raises AssertionError, with the end of the console."""
        deadline = time.monotonic() + timeout
        while not self._has_shown(words, times):
            assert time.monotonic() < deadline, f"no {words!r} within {timeout:.0f} s\n{self.tail()}"
            self._wait()

    def _has_shown(self, words: str, times: int) -> bool:
        ended = self._attended.ended
        shown = self._text.count(words) >= times
        assert shown or not ended, f"the machine is off, and said no {words!r}\n{self.tail()}"
        return shown

    def wait_until_off(self, *, timeout: float = BOOT_SECONDS) -> None:
        deadline = time.monotonic() + timeout
        while not self._attended.ended:
            assert time.monotonic() < deadline, f"still on after {timeout:.0f} s\n{self.tail()}"
            self._wait()
        self._wait()

    def type(self, line: str) -> None:
        self._attended.running.write(line.encode() + b"\n")

    def tail(self) -> str:
        lines = self._text.splitlines()[-_TAIL:]
        return "\n".join(["--- the end of the console", *lines, *self._attended.running.tail])

    def _wait(self) -> None:
        try:
            self._attended.wait(_LOOK)
        except MachineError as error:
            raise AssertionError(f"{error.message}\n{self.tail()}") from error


def _firmware(architecture: str) -> FirmwareFiles:
    """What starts the kernel. It keeps no variables."""
    if architecture != "arm64":
        return FirmwareFiles(kind=FirmwareKind.NONE)
    return replace(firmware_files(architecture, FirmwareKind.UEFI), variables=None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FormServer(Loopback):
    """Takes forms that machines post, answers with `status`, and lets `work` do what follows, in a thread."""

    def __init__(self, *, status: int = 200, work: Callable[[Mapping[str, str]], None] | None = None) -> None:
        self.forms: list[dict[str, str]] = []
        self.bodies: list[str] = []
        self.failures: list[BaseException] = []
        self._status = status
        self._work = work
        super().__init__(_FormHandler, server_of_forms=self)

    def take(self, body: str) -> int:
        """The status of the answer."""
        self.bodies.append(body)
        self.forms.append(form := dict(parse_qsl(body)))
        if self._work is not None:
            threading.Thread(target=self._try, args=(self._work, form), daemon=True).start()
        return self._status

    def _try(self, work: Callable[[Mapping[str, str]], None], form: Mapping[str, str]) -> None:
        try:
            work(form)
        except BaseException as error:  # the test shows it
            self.failures.append(error)
            raise


class _FormHandler(QuietHandler):
    server_of_forms: FormServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(self.server_of_forms.take(body))
        self.send_header("Content-Length", "0")
        self.end_headers()
