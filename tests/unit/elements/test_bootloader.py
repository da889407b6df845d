"""What DIB_BOOTLOADER_* become in GRUB's menu: by the script of dibo's element bootloader and that of the flavour
boot-files, run on files of their own."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
ELEMENT = PROJECT / "containerfiles/elements/own/bootloader"
FLAVOUR = PROJECT / "flavours/boot-files"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root as the flavour boot-files leaves it."""
    for name in ("etc/default/grub.d", "boot/grub"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/os-release").write_text("PRETTY_NAME='Debian'\n")
    (tmp_path / "etc/default/grub").write_text(
        'GRUB_CMDLINE_LINUX="console=tty1 quota console=ttyS1,9600"\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'
    )
    settings = "GRUB_TIMEOUT='1'\nGRUB_CMDLINE_LINUX='console=tty0'\n"
    settings += (FLAVOUR / "files/default-grub").read_text()
    (tmp_path / "etc/default/grub.d/60-dibo.cfg").write_text(settings)
    for name in ("vmlinuz-6.1", "initrd.img-6.1"):
        (tmp_path / "boot" / name).write_text("x")
    return tmp_path


def run(script: Path, root: Path, **variables: str) -> None:
    """The script, on `root` in place of /."""
    text = re.sub(r"(?<![\w.])/(etc|boot)(?=[/ ])", rf"{root}/\1", script.read_text())
    (root / "script").write_text(text)
    settings = ". $SETTINGS && " if variables else ""
    environment = {"PATH": "/usr/bin:/bin", "ARCH": "amd64", "SETTINGS": str(SETTINGS), **variables}
    shell = text.splitlines()[0].removeprefix("#!")
    subprocess.run(["bash", "-euc", f"{settings}{shell} {root}/script"], env=environment, check=True)


SETTINGS = ELEMENT / "environment.d/16-bootloader.bash"


def menu(root: Path, **variables: str) -> tuple[str, str]:
    """(arguments of the kernel, the menu)."""
    run(ELEMENT / "finalise.d/50-bootloader", root, DIB_RELEASE="trixie", **variables)
    run(FLAVOUR / "files/grub-cfg", root)
    text = (root / "boot/grub/grub.cfg").read_text()
    line = re.search(r"root=LABEL=cloudimg-rootfs ro (.*)", text)
    assert line is not None
    return line[1], text


def test_what_is_said_where_nothing_is_asked_for(root: Path) -> None:
    arguments, text = menu(root)
    assert arguments.split() == [
        *("quota", "console=tty0", "console=ttyS0,115200", "no_timer_check"),
        *("nofb", "nomodeset", "gfxpayload=text"),
    ]
    assert "set timeout=5\n" in text
    assert "serial --speed=115200 --unit=0 --word=8 --parity=no --stop=1" in text
    assert "timeout_style" not in text


def test_every_variable_counts(root: Path) -> None:
    arguments, text = menu(
        root,
        DIB_BOOTLOADER_DEFAULT_CMDLINE="nosplash it's",
        DIB_BOOTLOADER_SERIAL_CONSOLE="ttyS4,57600",
        DIB_BOOTLOADER_VIRTUAL_TERMINAL="tty7",
        DIB_NO_TIMER_CHECK="False",
        DIB_GRUB_TIMEOUT="9",
        DIB_GRUB_TIMEOUT_STYLE="hidden",
        DIB_BOOT_LABEL="boot",
    )
    words = ["quota", "console=tty7", "console=ttyS4,57600", "nosplash", "it's", "boot=LABEL=boot"]
    assert arguments.split() == words
    assert "set timeout=9\nset timeout_style=hidden\n" in text


def test_no_console_at_all(root: Path) -> None:
    arguments, text = menu(
        root, DIB_BOOTLOADER_USE_SERIAL_CONSOLE="False", DIB_BOOTLOADER_VIRTUAL_TERMINAL=""
    )
    assert arguments.split() == ["quota", "no_timer_check", "nofb", "nomodeset", "gfxpayload=text"]
    assert "serial" not in text


def test_a_root_without_a_boot_loader_is_left_alone(root: Path) -> None:
    (root / "etc/default/grub.d/60-dibo.cfg").unlink()
    before = (root / "etc/default/grub").read_text()
    run(ELEMENT / "finalise.d/50-bootloader", root, DIB_RELEASE="trixie")
    assert (root / "etc/default/grub").read_text() == before
    assert not list((root / "etc/default/grub.d").iterdir())


def test_the_menu_of_flavours_has_the_settings_of_the_flavour(root: Path) -> None:
    run(FLAVOUR / "files/grub-cfg", root)
    text = (root / "boot/grub/grub.cfg").read_text()
    assert "root=LABEL=cloudimg-rootfs ro console=tty0\n" in text
    assert "set timeout=1\n" in text and "terminal_output --append serial" in text
