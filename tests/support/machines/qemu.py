"""A virtual machine for tests: boots a copy of a disk, waits for its marker, opens it by SSH.

The disk under test is never written to: the machine runs on a qcow2 overlay that is thrown away. Three
channels lead into the machine, none of them through a path or a port that two machines could fight for:

    console   ttyS0 to a file, kept; its last lines are part of every failure
    marker    the virtio-serial port that machines/cloud_init_seed.py describes, on one end of a socket pair
    monitor   QMP (dibo/machines/qmp.py), on another; it also knows the port that QEMU took for SSH

A machine that dies closes its end of the sockets, and one whose kernel dies says so on its console
(dibo/machines/console.py): every wait sees both at once. QEMU starts through dibo's own
door to processes, in a session of its own, and ends with the context; should the tests themselves be killed,
the kernel kills QEMU (PR_SET_PDEATHSIG, by setpriv(1); it watches the thread that started QEMU, so start
machines from the main thread).

Without KVM a machine has one processor, and QEMU one thread for it. Where each emulated processor has a thread of
its own, one can run a stale translation of code that a kernel has just patched on the other, and die in an "int3"
that is no longer there. It is the fastest, too, with two machines side by side on two processors.

The guest has a network with DHCP and no way out: a test must not depend on somebody's mirror.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import select
import shlex
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from dibo.errors import CommandFailed, DiboError
from dibo.formats.partitions import gpt, identifiers
from dibo.machines.arguments import escaped, firmware_arguments
from dibo.machines.boards import FirmwareKind, board_of
from dibo.machines.console import CrashDetector, clean
from dibo.machines.firmware import descriptor_directories, find_firmware
from dibo.machines.machine import FirmwareFiles
from dibo.machines.qmp import Monitor
from dibo.system import process
from tests.support.machines.cloud_init_seed import MARKER_PORT, Seed
from tests.support.timeouts import TIMEOUT

TOOLS = ("qemu-system-x86_64", "qemu-img", "mformat", "mcopy", "ssh", "ssh-keygen", "setpriv")

ACCELERATOR = os.environ.get("DIBO_QEMU_ACCEL", "tcg,thread=single")
MAC = "52:54:00:12:34:56"  # QEMU's own choice for the first interface
BOOT_SECONDS = (
    1200.0  # two boots side by side take 90 s under TCG with two cores for themselves, and CI is often busy
)
_TAIL_LINES = 40


class MachineError(Exception):
    """A machine did not do what was asked. The message ends with the last lines of its console."""


class Firmware(enum.Enum):
    BIOS = "bios"
    UEFI = "uefi"
    SECURE_BOOT = "secure-boot"  # UEFI with Microsoft's keys, which starts nothing that they do not vouch for


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
        firmware: Firmware = Firmware.BIOS,
        seed: Seed | None = None,
        memory: int = 1024,
        smp: int = 1,
        grow_to: str = "",
        sector: int = 512,
        network: str = "",
        network_boot: bool = False,
        extra: Sequence[str] = (),
        before: Sequence[str] = (),
        name: str = "machine",
    ) -> None:
        """`disk` is any image that qemu-img knows. `directory` takes overlay, console and known_hosts.
        `memory` is in MiB. `grow_to` makes the disk that the guest sees larger, in qemu-img's words ("6G").
        `sector` is what that disk's logical sectors have, in bytes.
        `network` is for QEMU's user network; with `network_boot` the machine tries that first, by iPXE, at each boot.
        `extra` goes to QEMU, `before` as well, before the disk.
        """
        self.name = name
        self._disk = disk
        self._directory = directory
        self._firmware = firmware
        self._seed = seed
        self._memory = memory
        self._smp = smp
        self._grow_to = grow_to
        self._sector = sector
        self._network = f",{network}" if network else ""
        self._network_boot = network_boot
        self._extra = tuple(extra)
        self._before = tuple(before)
        self.console = directory / f"{name}.console"
        self.overlay = directory / f"{name}.qcow2"
        self._known_hosts = directory / f"{name}.known_hosts"
        self._seen = 0  # bytes of the console that were looked at
        self._lookout = CrashDetector()
        self._line = b""  # the beginning of a marker
        self._powered = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        self.console.write_bytes(b"")
        try:
            make_overlay(self._disk, self.overlay, self._grow_to)
            self._power_on()
        except BaseException:
            self.overlay.unlink(missing_ok=True)
            raise
        return self

    def _power_on(self) -> None:
        with contextlib.ExitStack() as stack:
            self._marker, marker_end = socket.socketpair()
            stack.callback(self._marker.close)
            monitor, monitor_end = socket.socketpair()
            stack.callback(monitor.close)
            with marker_end, monitor_end:
                ends = (marker_end.fileno(), monitor_end.fileno())
                self._process = stack.enter_context(
                    process.Process(self._argv(*ends), options=process.ProcessOptions(pass_fds=ends))
                )
            try:
                self._monitor = Monitor(monitor, timeout=TIMEOUT)
                self._port = self._monitor.forwarded_ports()["tcp", 22]
            except (ConnectionError, TimeoutError, LookupError) as error:
                raise self._error(f"QEMU did not start: {error}") from error
            self._powered = stack.pop_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._powered.close()
        self.overlay.unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._process.pid

    def _argv(self, marker_fd: int, monitor_fd: int) -> list[str]:
        argv = [
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *(*self._board(), "-accel", ACCELERATOR),
            *("-nodefaults", "-no-user-config", "-name", self.name),
            *("-m", str(self._memory), "-smp", str(self._smp)),
            *("-display", "none", "-serial", "chardev:console"),
            *("-chardev", f"file,id=console,path={escaped(self.console)},append=on"),
            *("-chardev", f"socket,id=monitor,fd={monitor_fd}", "-mon", "chardev=monitor,mode=control"),
            *("-device", "virtio-serial-pci", "-chardev", f"socket,id=marker,fd={marker_fd}"),
            *("-device", f"virtserialport,chardev=marker,name={MARKER_PORT}"),
            *self._before,
            *("-drive", f"if=none,id=root,format=qcow2,cache=unsafe,file={escaped(self.overlay)}"),
            *("-device", f"virtio-blk-pci,drive=root,bootindex=1,serial=own{self._sectors()}"),
            *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:22{self._network}"),
            *(
                "-device",
                f"virtio-net-pci,netdev=net,mac={MAC},{'bootindex=0' if self._network_boot else 'romfile='}",
            ),
            *("-device", "virtio-rng-pci"),
        ]
        if self._seed:
            image = escaped(self._seed.image)
            argv += ["-drive", f"if=none,id=seed,format=raw,readonly=on,file={image}"]
            argv += ["-device", "virtio-blk-pci,drive=seed"]
        if self._firmware is not Firmware.BIOS:
            argv += self._pflash()
        return [*argv, *self._extra]

    def _sectors(self) -> str:
        size = self._sector
        return f",logical_block_size={size},physical_block_size={size}" if size != 512 else ""

    def _board(self) -> list[str]:
        """QEMU for an architecture, and what it emulates."""
        smm = "on" if self._firmware is Firmware.SECURE_BOOT else "off"
        return ["qemu-system-x86_64", "-machine", f"q35,graphics=off,smm={smm}", "-cpu", "max"]

    def _firmware_files(self) -> FirmwareFiles:
        """The firmware, and its variables as they are delivered."""
        return firmware_files("amd64", "q35", self._firmware)

    def _pflash(self) -> list[str]:
        """The firmware, and variables of its own."""
        files = self._firmware_files()
        assert files.variables is not None
        variables = self._directory / f"{self.name}.{self._firmware.value}.fd"
        if not variables.exists():
            shutil.copyfile(files.variables, variables)
        return list(firmware_arguments(replace(files, variables=variables)))

    def wait_until_up(
        self, *, timeout: float = BOOT_SECONDS, watch: Callable[[str], None] | None = None
    ) -> BootState:
        """Wait for the marker of the boot under way. `watch` is given the console as it comes. Raises
        MachineError when QEMU ends, when the console shows that no boot will come of this, or when `timeout`
        seconds pass.
        """
        deadline = time.monotonic() + timeout
        while True:
            came = self._read_marker(1.0)
            self._look(watch)
            if came is not None:
                return came
            if time.monotonic() > deadline:
                raise self._error(f"no marker within {timeout:.0f} s")

    def wait_for_console(self, words: str, *, timeout: float = BOOT_SECONDS) -> None:
        """Wait until the console shows `words`, of a machine that has no seed and so sends no marker. Raises as
        wait_until_up() does.
        """
        deadline = time.monotonic() + timeout
        while words not in self.console_text():
            self._look()
            if time.monotonic() > deadline:
                raise self._error(f"no {words!r} on the console within {timeout:.0f} s")
            self._read_marker(1.0)

    def _read_marker(self, seconds: float) -> BootState | None:
        if not select.select([self._marker], [], [], seconds)[0]:
            return None
        data = self._marker.recv(4096)
        if not data:
            raise self._error(f"QEMU {self._how_it_ended()} before the machine was up")
        self._line += data
        line, newline, rest = self._line.partition(b"\n")
        if not newline:
            return None
        self._line = rest
        match line.decode(errors="replace").split():
            case ["dibo-up", state, uptime, boot_id]:
                return BootState(state, float(uptime), boot_id)
        raise self._error(f"a marker of an unknown form: {line!r}")

    def ssh(self, command: str, *, check: bool = True, timeout: float = TIMEOUT) -> str:
        """Run a shell command as the default user; its standard output. With `check`, a failure raises."""
        if self._seed is None:
            raise self._error("a machine without a seed has no key to log in with")
        # fmt: off
        argv = [
            "ssh", "-F", "/dev/null", "-T", "-p", str(self._port), "-i", str(self._seed.key),
            "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
            "-o", "LogLevel=ERROR", "-o", f"UserKnownHostsFile={self._known_hosts}",
            "-o", "GlobalKnownHostsFile=/dev/null", "-o", "ConnectTimeout=60",
            "-o", "StrictHostKeyChecking=accept-new",
            f"{self._seed.user}@127.0.0.1", "--", command,
        ]
        # fmt: on
        with (
            tempfile.TemporaryFile() as answer,
            process.Process(argv, streams=process.Streams(stdout=answer)) as client,
        ):
            deadline = time.monotonic() + timeout
            while not client.ended:
                self._look()
                if time.monotonic() > deadline:
                    raise self._error(f"{command!r} did not end within {timeout:.0f} s")
                time.sleep(0.05)
            code = client.wait()
            answer.seek(0)
            stdout = answer.read().decode(errors="replace")
        if check and code != 0:
            said = "\n".join((stdout.rstrip(), *client.tail))
            raise self._error(f"{command!r} {process.describe_exit(code)}:\n{said}")
        return stdout

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
        self._monitor.execute("system_powerdown")

    def wait_until_off(self, *, timeout: float = TIMEOUT) -> None:
        """Wait until the guest has powered itself off. The overlay stays until the context ends."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if select.select([self._marker], [], [], 1.0)[0] and not self._marker.recv(4096):
                code = self._process.wait(timeout=TIMEOUT)
                if code != 0:
                    raise self._error(f"QEMU {process.describe_exit(code)}")
                return
            self._look()
        raise self._error(f"still on {timeout:.0f} s after it was told to power off")

    def shutdown(self, *, timeout: float = TIMEOUT) -> None:
        """Press the power button, as a cloud does, and wait for a clean end."""
        self.press_power_button()
        self.wait_until_off(timeout=timeout)

    def console_text(self) -> str:
        return clean(self.console.read_bytes().decode(errors="ignore"))

    def console_tail(self, lines: int = _TAIL_LINES) -> str:
        return "\n".join(self.console_text().rstrip().splitlines()[-lines:])

    def _look(self, watch: Callable[[str], None] | None = None) -> None:
        """Read what came on the console since the last look. Raises MachineError if it is hopeless."""
        text = self._new_console()
        if watch and text:
            watch(text)
        if sign := self._lookout.hopeless(text):
            raise self._error(f"the console says {sign!r}")

    def _new_console(self) -> str:
        with self.console.open("rb") as file:
            file.seek(self._seen)
            data = file.read()
        self._seen += len(data)
        return clean(data.decode(errors="ignore"))

    def _how_it_ended(self) -> str:
        try:
            return process.describe_exit(self._process.wait(timeout=TIMEOUT))
        except CommandFailed:
            return "closed its channels"

    def _error(self, what: str) -> MachineError:
        parts = [f"{self.name}: {what}"]
        if self._said():
            parts.append("--- QEMU said\n" + self._said())
        parts.append(f"--- the end of the console ({self.console})\n{self.console_tail() or '(nothing)'}")
        return MachineError("\n".join(parts))

    def _said(self) -> str:
        return "\n".join(self._process.tail) if hasattr(self, "_process") else ""


def make_overlay(disk: Path, overlay: Path, size: str = "") -> None:
    """A qcow2 image on top of `disk`, which stays as it is. `size` is in qemu-img's words ("6G")."""
    info = process.run(["qemu-img", "info", "--output=json", str(disk)], capture=True)
    kind = json.loads(info.stdout)["format"]
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", str(disk.resolve()), str(overlay)]
    process.run([*argv, size] if size else argv)


def other_disk(disk: Path, overlay: Path) -> tuple[str, ...]:
    """Options for QEMU that add a disk of the same image, as another deployment would have made it: the same bytes but
    for the identifiers of disk and partitions. `overlay` is made, on top of `disk`.
    """
    make_overlay(disk, overlay)
    head, tail = overlay.with_suffix(".head"), overlay.with_suffix(".tail")
    argv = ["qemu-img", "dd", "-O", "raw", "bs=1M", "count=1", f"if={overlay}", f"of={head}"]
    process.run(argv)
    data = identifiers.replaced(head.read_bytes())
    assert data != head.read_bytes(), "the image does not allow other identifiers"
    head.write_bytes(data)
    info = process.run(["qemu-img", "info", "--output=json", str(overlay)], capture=True)
    copy = gpt.read_copy(lambda offset, size: data[offset : offset + size], lba=1)
    fitted = gpt.fit(copy, json.loads(info.stdout)["virtual-size"])
    tail.write_bytes(fitted.tail)
    for path, offset in ((head, 0), (tail, fitted.tail_offset)):
        command = f"write -s {path} {offset} {path.stat().st_size}"
        process.run(["qemu-io", "-f", "qcow2", "-c", command, str(overlay)])
        path.unlink()
    return (
        *("-drive", f"if=none,id=other,format=qcow2,cache=unsafe,file={escaped(overlay)}"),
        *("-device", "virtio-blk-pci,drive=other,serial=other"),
    )


def check_file_system(overlay: Path, scratch: Path) -> None:
    """Let e2fsck look, without repairing, at the Linux root partition of a disk that no machine runs on.
    Raises MachineError with what it found.
    """
    raw = scratch / "disk.raw"
    process.run(["qemu-img", "convert", "-O", "raw", str(overlay), str(raw)])
    try:
        table = json.loads(process.run(["sfdisk", "--json", str(raw)], capture=True).stdout)["partitiontable"]
        root = max(table["partitions"], key=lambda partition: partition["size"])
        offset = root["start"] * table.get("sectorsize", 512)
        done = process.run(["e2fsck", "-f", "-n", f"{raw}?offset={offset}"], capture=True, check=False)
    finally:
        raw.unlink()
    if done.returncode != 0:
        raise MachineError(f"e2fsck {process.describe_exit(done.returncode)}:\n{done.stdout}")


def find_ovmf(firmware: Firmware = Firmware.UEFI) -> tuple[Path, Path]:
    """OVMF's code and an untouched copy of its variables. Raises MachineError when it is not installed."""
    files = firmware_files("amd64", "q35", firmware)
    assert files.code is not None
    assert files.variables is not None
    return files.code, files.variables


def firmware_files(architecture: str, machine: str, firmware: Firmware) -> FirmwareFiles:
    try:
        return find_firmware(
            board_of(architecture),
            machine,
            FirmwareKind(firmware.value),
            directories=descriptor_directories(os.environ),
        )
    except DiboError as error:
        raise MachineError(f"{error.message}; {error.hint}") from error
