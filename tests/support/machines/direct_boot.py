"""A virtual machine that is given its kernel and ramdisk by QEMU, as by a boot loader, and talks on a serial line.

Its network is QEMU's user network, closed but for what is let in: a server of this machine at the address SERVER, and
ports of the guest at free ports here. The console is a socket: what comes is kept in a file, and lines can be typed.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

from dibo.errors import CommandFailed
from dibo.machines.console import CrashDetector
from dibo.machines.qmp import Monitor
from dibo.system import process
from tests.support.machines.qemu import ACCELERATOR, BOOT_SECONDS
from tests.support.servers.loopback_http import Loopback, QuietHandler
from tests.support.timeouts import TIMEOUT

SERVER = "10.0.2.4"
MAC = "52:54:00:12:34:56"
TOOLS = ("qemu-system-x86_64", "setpriv", "busybox")
_TAIL = 60


class DirectMachine:
    """A context manager; entering starts QEMU. `monitor` is its monitor.

    `server` is what the guest reaches at SERVER: (guest's port, port here). `ports` are the guest's that are reached
    through `port`. `network` is for QEMU's user network; without `link` nothing is at the other end.
    """

    SERIAL = "ttyS0"

    def _board(self) -> list[str]:
        """QEMU for an architecture, and what it emulates."""
        return ["qemu-system-x86_64", "-machine", "q35,graphics=off", "-cpu", "max"]

    def __init__(
        self,
        kernel: Path | None,
        initramfs: Path | None,
        *,
        cmdline: str,
        directory: Path,
        disks: Sequence[Path] = (),
        server: tuple[int, int] | None = None,
        ports: Sequence[int] = (),
        link: bool = True,
        network: str = "",
        processors: int = 1,
        extra: Sequence[str] = (),
    ) -> None:
        self._ports = {port: free_port() for port in ports}
        self.console = directory / "console"
        self._text = ""
        self._lookout = CrashDetector()
        net = ",".join(["user,id=net,restrict=on", *([network] if network else [])])
        if server is not None:
            net += f",guestfwd=tcp:{SERVER}:{server[0]}-cmd:busybox nc 127.0.0.1 {server[1]}"
        for port, here in self._ports.items():
            net += f",hostfwd=tcp:127.0.0.1:{here}-:{port}"
        if not link:
            net = "hubport,id=net,hubid=0"
        self._argv = [
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *(*self._board(), "-accel", ACCELERATOR, "-nodefaults", "-no-user-config", "-no-reboot"),
            *("-m", "1024", "-smp", str(processors)),
            *("-display", "none", "-serial", "chardev:console"),
            *_direct(kernel, initramfs, f"console={self.SERIAL} {cmdline}"),
            *("-netdev", net, "-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="),
            *("-device", "virtio-rng-pci"),
        ]
        for number, disk in enumerate(disks):
            self._argv += ["-drive", f"if=none,id=disk{number},format=raw,cache=unsafe,file={disk}"]
            self._argv += ["-device", f"virtio-blk-pci,drive=disk{number},serial=dibo-test-{number}"]
        self._argv += extra

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._socket, end = socket.socketpair()
            stack.callback(self._socket.close)
            monitor, monitor_end = socket.socketpair()
            stack.callback(monitor.close)
            with end, monitor_end:
                ends = (end.fileno(), monitor_end.fileno())
                argv = [
                    *self._argv,
                    *("-chardev", f"socket,id=console,fd={ends[0]}"),
                    *("-chardev", f"socket,id=monitor,fd={ends[1]}", "-mon", "chardev=monitor,mode=control"),
                ]
                self._process = stack.enter_context(
                    process.Process(argv, options=process.ProcessOptions(pass_fds=ends))
                )
            self.monitor = Monitor(monitor, timeout=TIMEOUT)
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def port(self, port: int) -> int:
        """Where a port of the guest is reached at 127.0.0.1."""
        return self._ports[port]

    @property
    def text(self) -> str:
        """What the console showed so far."""
        return self._text

    def wait_for(self, words: str, *, times: int = 1, timeout: float = BOOT_SECONDS) -> None:
        """Wait until the console has shown `words` so often. Raises AssertionError, with the end of the console."""
        deadline = time.monotonic() + timeout
        while self._text.count(words) < times:
            assert time.monotonic() < deadline, f"no {words!r} within {timeout:.0f} s\n{self.tail()}"
            assert self._read(1.0), f"the machine is off, and said no {words!r}\n{self.tail()}"

    def wait_until_off(self, *, timeout: float = BOOT_SECONDS) -> None:
        deadline = time.monotonic() + timeout
        while self._read(1.0):
            assert time.monotonic() < deadline, f"still on after {timeout:.0f} s\n{self.tail()}"
        with contextlib.suppress(CommandFailed):
            assert self._process.wait(timeout=TIMEOUT) == 0, "\n".join(self._process.tail)

    def type(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\n")

    def tail(self) -> str:
        return "\n".join(
            ["--- the end of the console", *self._text.splitlines()[-_TAIL:], *self._process.tail]
        )

    def _read(self, seconds: float) -> bool:
        """Whether the machine is still on."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return True
        data = self._socket.recv(1 << 16)
        with self.console.open("ab") as file:
            file.write(data)
        text = data.decode(errors="replace").replace("\r", "")
        self._text += text
        sign = self._lookout.hopeless(text)
        assert sign is None, f"the console says {sign!r}\n{self.tail()}"
        return bool(data)


def _direct(kernel: Path | None, initramfs: Path | None, cmdline: str) -> list[str]:
    """Without a kernel, the first disk is booted."""
    if kernel is None:
        return []
    append = f"quiet BOOTIF=01-{MAC.replace(':', '-')} {cmdline}"
    return ["-kernel", str(kernel), "-initrd", str(initramfs), "-append", append]


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
