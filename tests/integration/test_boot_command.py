"""`dibo boot` with real machines, whose disk has a few instructions: seconds without KVM."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import termios
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from dibo import api
from dibo.api.machines.boot import BootOutputs, BootResult, boot
from dibo.api.machines.request import BootRequest
from dibo.api.settings import current_settings
from dibo.errors import DiskImageError, MachineDied, MachineError, MachineTimeout, UsageError
from dibo.formats.streams.compressed import COMPRESSIONS
from dibo.machines.boards import BOARDS, FirmwareKind
from dibo.machines.running_table import running_machines
from dibo.machines.steps import parse_steps
from dibo.settings.settings import Options
from dibo.system import process
from dibo.system.report import Report
from tests.integration.test_convert_shapes import GRUB, files_of, image_of
from tests.support.machines.boot_sector import ECHO, HALT, KEY_AND_OFF, POWER_OFF, WRITE, boot_disk
from tests.support.machines.efi_program import large_sector_disk
from tests.support.machines.emulation import need_firmware
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT
from tests.support.user import program
from tests.unit.boot.test_initramfs import BUSYBOX

pytestmark = pytest.mark.integration

Boot = Callable[..., BootResult]


@pytest.fixture
def booted(tmp_path: Path) -> Boot:
    """Boots an image with emulation: KVM of the machine is not under test."""
    need("qemu-system-x86_64", "ssh-keygen")
    settings = current_settings(Options(cache_dir=str(tmp_path / "cache")), {})

    def run(
        image: Path | str, *steps: dict[str, str], outputs: BootOutputs | None = None, **options: object
    ) -> BootResult:
        request = BootRequest(
            **{
                "image": str(image),
                "accelerator": "tcg",
                "timeout": 60.0,
                "steps": parse_steps(steps),
                **options,
            }  # type: ignore[arg-type]
        )
        return boot(settings, request, Report(), outputs or BootOutputs())

    return run


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_text_on_the_console(booted: Boot, tmp_path: Path) -> None:
    """Each expression matches behind the one before it, and the file keeps all that was shown."""
    disk = boot_disk(tmp_path / "disk.raw", "first word\nsecond word\n")
    log = tmp_path / "console"
    result = booted(disk, {"expect": "^first (word)"}, {"expect": "word$"}, console=log)
    assert [step.code for step in result.steps] == [None, None]
    assert (result.exit_code, result.architecture, result.firmware) == (0, "amd64", "bios")
    assert b"second word" in log.read_bytes()


def test_typing(booted: Boot, tmp_path: Path) -> None:
    disk = boot_disk(tmp_path / "disk.raw", "login: ", ECHO)
    booted(disk, {"expect": "login: $"}, {"type": "hello"}, {"expect": "hello"})


def test_a_machine_that_does_not_show_it_in_time(booted: Boot, tmp_path: Path) -> None:
    """The error has the end of the console, and pictures are taken all the same."""
    disk, picture = boot_disk(tmp_path / "disk.raw", "another word\n"), tmp_path / "picture.png"
    with pytest.raises(MachineTimeout, match="did not show 'a word'") as caught:
        booted(disk, {"expect": "a word"}, {"screenshot": str(picture)}, timeout=4.0)
    assert "another word" in caught.value.details[-1] or picture.stat().st_size
    assert picture.is_file()
    assert caught.value.exit_code == 82


def test_a_machine_that_ends(booted: Boot, tmp_path: Path) -> None:
    """Without steps that is how it should be; with them, not."""
    disk = boot_disk(tmp_path / "disk.raw", "going\n", POWER_OFF)
    assert booted(disk).exit_code == 0
    with pytest.raises(MachineDied, match="ended, but was expected to show 'gone'"):
        booted(disk, {"expect": "gone"})


def test_a_kernel_that_dies(booted: Boot, tmp_path: Path) -> None:
    disk = boot_disk(tmp_path / "disk.raw", "Kernel panic - not syncing: no root\n")
    with pytest.raises(MachineDied, match="Kernel panic") as caught:
        booted(disk, {"expect": "login:"})
    assert caught.value.exit_code == 81


def test_a_qemu_that_dies(booted: Boot, tmp_path: Path) -> None:
    """Killed for its memory, as it were: no end of a machine as it should be."""
    disk = boot_disk(tmp_path / "disk.raw", "up\n")

    def kill(data: bytes) -> None:
        shown.extend(data)
        if b"up" in shown:
            (entry,) = running_machines(tmp_path / "cache")
            os.kill(entry.pid, signal.SIGKILL)

    shown = bytearray()
    with pytest.raises(MachineDied, match="QEMU was killed by SIGKILL"):
        booted(disk, outputs=BootOutputs(on_console=kill))


def test_a_disk_with_sectors_of_4096_bytes(booted: Boot, tmp_path: Path) -> None:
    """Which the firmware reads only as such."""
    need_firmware(FirmwareKind.UEFI)
    disk = tmp_path / "disk.raw"
    large_sector_disk(disk, "up from 4096")
    result = booted(disk, {"expect": "up from 4096"}, architecture="amd64", timeout=TIMEOUT)
    assert result.firmware == "uefi"


@pytest.mark.parametrize(
    "architecture", sorted(BOARDS.keys() - {"ppc64el"})
)  # which make setup-test leaves out
def test_each_board_is_known_to_the_qemu_that_is_installed(architecture: str) -> None:
    board = BOARDS[architecture]
    need(board.program)
    for machine in board.machines:
        argv = [board.program, "-machine", machine, "-cpu", "help"]
        listed = process.run(argv, capture=True).stdout.split()
        assert board.processor.partition(",")[0] in listed


def test_a_picture_of_the_screen(booted: Boot, tmp_path: Path) -> None:
    disk, picture = boot_disk(tmp_path / "disk.raw", "ready\n"), tmp_path / "screen.png"
    booted(disk, {"expect": "ready"}, {"screenshot": str(picture)})
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack_from(">II", data, 16)
    size = struct.unpack_from(">I", data, 33)[0]
    pixels = zlib.decompress(data[41 : 41 + size])
    assert len(pixels) == (width * 3 + 1) * height
    assert any(pixels), "the firmware's words are not black"


def test_an_image_stays_as_it_is(booted: Boot, tmp_path: Path) -> None:
    """Unless it is to be written to. The machine writes its first sector to the second."""
    disk = boot_disk(tmp_path / "disk.raw", "writing\n", WRITE)
    before = digest(disk)
    booted(disk)
    assert digest(disk) == before
    booted(disk, write=True)
    data = disk.read_bytes()
    assert data[512:1024] == data[:512]
    assert data.startswith(boot_disk(tmp_path / "other", "writing\n", WRITE).read_bytes()[:512])


@pytest.mark.parametrize("end", ["gz", "xz", "zst"])
def test_a_packed_image(booted: Boot, tmp_path: Path, end: str) -> None:
    """Told by its content."""
    disk, packed = boot_disk(tmp_path / "disk.raw", "unpacked\n", POWER_OFF), tmp_path / "image"
    with disk.open("rb") as source, packed.open("wb") as target:
        COMPRESSIONS[end](source, target)
    booted(packed, {"expect": "unpacked"})


def test_formats_of_other_monitors(booted: Boot, tmp_path: Path) -> None:
    need("qemu-img")
    disk = boot_disk(tmp_path / "disk.raw", "converted\n", POWER_OFF)
    for image_format in ("qcow2", "vmdk", "vdi", "vpc"):
        image = tmp_path / f"image-{image_format}"
        process.run(["qemu-img", "convert", "-f", "raw", "-O", image_format, str(disk), str(image)])
        booted(image, {"expect": "converted"})


def test_a_container_image(booted: Boot, tmp_path: Path) -> None:
    """Becomes a disk for this boot, whose boot loader starts, and of which nothing is left."""
    image = image_of(tmp_path, programs=BUSYBOX, more=files_of(GRUB))
    result = booted(image, {"expect": "GRUB"}, architecture="amd64")
    assert (result.name, result.firmware) == ("image", "bios")
    assert not list((tmp_path / "cache/runs").iterdir())


def test_an_image_in_use(booted: Boot, tmp_path: Path) -> None:
    """One line that says so. A reader of the same image does no harm."""
    disk = boot_disk(tmp_path / "disk.raw", "up\n", KEY_AND_OFF)
    errors: list[str] = []

    shown = bytearray()

    def meanwhile(data: bytes) -> None:
        shown.extend(data)
        if errors or b"up" not in shown:
            return
        with pytest.raises(MachineError) as caught:
            booted(disk, {"expect": "up"})
        errors.append(caught.value.message)

    outputs = BootOutputs(on_console=meanwhile)
    booted(disk, {"expect": "up"}, {"type": "off"}, write=True, outputs=outputs, name="writer")
    assert errors == ["disk: the disk image is in use by another process"]


def test_a_port_in_use(booted: Boot, tmp_path: Path) -> None:
    disk = boot_disk(tmp_path / "disk.raw", "up\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(MachineError, match="a port to forward is in use"):
            booted(disk, {"expect": "up"}, ports=(f"{port}:80",))


def test_uefi_finds_nothing_to_start(booted: Boot, tmp_path: Path) -> None:
    """The firmware that a descriptor names, with variables of its own."""
    disk = boot_disk(tmp_path / "disk.raw", "by BIOS\n")
    with pytest.raises((MachineDied, MachineTimeout)) as caught:
        booted(disk, {"expect": "by BIOS"}, firmware="uefi", timeout=60.0)
    assert "by BIOS" not in "".join(caught.value.details)


def test_by_the_library_with_a_larger_disk(tmp_path: Path) -> None:
    """The disk grows for the guest, and the image does not. With --write it would."""
    need("qemu-system-x86_64", "ssh-keygen")
    disk = boot_disk(tmp_path / "disk.raw", "library\n")
    options = api.MachineOptions(accel="tcg", size=2, timeout=60, cache_dir=tmp_path / "cache", seed=False)
    lines: list[str] = []
    result = api.boot(disk, steps=[{"expect": "library"}], options=options, progress=lines.append)
    assert isinstance(result, api.BootResult)
    assert (result.exit_code, result.firmware, str(result.steps[0].step)) == (0, "bios", "expect library")
    assert disk.stat().st_size == 1 << 20
    assert any("tcg" in line for line in lines)
    with pytest.raises(UsageError, match="a step of a boot"):
        api.boot(disk, steps=[{"wink": "twice"}], options=options)
    with pytest.raises(UsageError, match="cpus"):
        api.boot(disk, options=api.MachineOptions(cpus="two"))  # type: ignore[arg-type]


def test_what_is_no_image(booted: Boot, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(DiskImageError, match="is a directory"):
        booted(tmp_path / "directory")


def test_the_command(tmp_path: Path) -> None:
    """What CI sees: the exit code, one document, and the console as events."""
    need("qemu-system-x86_64", "ssh-keygen")
    disk = boot_disk(tmp_path / "disk.raw", "command\n", HALT)
    argv = [program("dibo"), "boot", "--accel", "tcg", "--cache-dir", str(tmp_path / "cache"), "--json", "-x"]
    good = process.run([*argv, "--expect", "command", str(disk)], capture=True)
    document = json.loads(good.stdout)
    assert (document["document"], document["exit_code"]) == ("boot", 0)
    assert [step["value"] for step in document["steps"]] == ["command"]
    late = process.run([*argv, "--expect", "no", "--timeout", "3", str(disk)], capture=True, check=False)
    assert late.returncode == 82
    assert json.loads(late.stdout)["error"]["kind"] == "MachineTimeout"
    assert not list((tmp_path / "cache/runs").iterdir())


def test_the_console_is_the_terminal(tmp_path: Path) -> None:
    """^C goes to the machine as it is typed, ^] ends it; the terminal is as before."""
    need("qemu-system-x86_64", "ssh-keygen")
    disk = boot_disk(tmp_path / "disk.raw", "login: ", ECHO)
    argv = [program("dibo"), "boot", "--accel", "tcg", "--cache-dir", str(tmp_path / "cache"), str(disk)]
    user, terminal = os.openpty()
    before = termios.tcgetattr(terminal)
    with subprocess.Popen(argv, stdin=terminal, stdout=terminal, stderr=terminal) as child:
        shown = _read_until(user, b"login: ")
        os.write(user, b"a\x03b")
        shown += _read_until(user, b"a\x03b")
        os.write(user, b"\x1d")
        shown += _read_until(user, b"\x1b[?7h")
        assert child.wait(TIMEOUT) == 0
    assert termios.tcgetattr(terminal) == before
    assert b"ends it" in shown
    os.close(user)
    os.close(terminal)


def _read_until(descriptor: int, text: bytes) -> bytes:
    shown = b""
    while text not in shown:
        assert select.select([descriptor], [], [], TIMEOUT)[0], shown
        shown += os.read(descriptor, 4096)
    return shown
