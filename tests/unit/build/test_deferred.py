"""What is done at the end of a step: an initramfs is made where somebody asked, or where what it is made of changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dibo.system import resources
from tests.support.programs import fake

SCRIPT = resources.shared("containerfiles") / "runner" / "deferred"
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
FSTAB = "LABEL=cloudimg-rootfs / auto defaults 0 1\n"
MODULE = "lib/modules/6.1/kernel/a.ko"
CONTAINED = "usr/bin/busybox"
OLD = 1_600_000_000


class Root:
    """A root with a kernel, in a directory that the script takes for `/`."""

    def __init__(self, top: Path, shell: str) -> None:
        self.top, self.shell = top, shell
        self.said = ""
        """On standard error, by the last step."""
        self.state = top / "var/lib/dibo"
        self.state.mkdir(parents=True)
        for path in ("boot/vmlinuz-6.1", MODULE, CONTAINED, "etc/modprobe.d/one.conf", "usr/bin/other"):
            self.write(path)
        self.write("etc/fstab", FSTAB)
        self.write("usr/share/man/man1/a.1")
        listed = f"{top}/{CONTAINED}\n{top}/{MODULE}\n{top}/init"
        self.programs = top / "programs"
        self.programs.mkdir()
        fake(self.programs, "update-initramfs", f'echo update-initramfs "$@" >> {top}/calls')
        fake(self.programs, "lsinitramfs", f'echo "{listed}"')
        self.write("boot/initrd.img-6.1")

    def write(self, path: str, text: str = "text") -> Path:
        target = self.top / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def step(
        self, change: Callable[[Root], object] = lambda _: None, *arguments: str
    ) -> tuple[list[str], int]:
        """A step that does this: the programs that its end called, and its exit code."""
        started = self.state / "started"
        started.touch()
        probe = self.top / "probe"
        while True:  # until the clock of the file system has gone on
            probe.touch()
            if probe.stat().st_ctime_ns > started.stat().st_mtime_ns:
                break
        change(self)
        text = re.sub(r"(?<![\w}.])/(etc|usr|lib|boot|var)/", rf"{self.top}/\1/", SCRIPT.read_text())
        path = f"{self.programs}/bin:/usr/bin:/bin"
        done = subprocess.run(
            [self.shell, "-c", text, "deferred", *arguments],
            capture_output=True,
            text=True,
            env={"PATH": path, "TOP": str(self.top)},
        )
        calls = self.top / "calls"
        made = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        self.said = done.stderr
        return made, done.returncode

    def ask(self) -> None:
        (self.state / "initramfs").touch()


MADE = ["update-initramfs -u -k 6.1"]


@pytest.fixture(params=SHELLS)
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Root:
    return Root(tmp_path, request.param)


def replaced(root: Root) -> None:
    """As a package does it: another file of the same size and time."""
    new = root.write(f"{CONTAINED}.new", "TEXT")
    os.utime(new, (OLD, OLD))
    new.rename(root.top / CONTAINED)


def test_an_initramfs_is_made_when_somebody_asks_and_then_it_is_there(root: Root) -> None:
    assert root.step() == ([], 0)
    assert root.step(Root.ask) == (MADE, 0)
    assert root.step() == ([], 0)
    assert root.said == ""
    assert root.step(Root.ask) == (MADE, 0)
    assert root.step(lambda _: None, "last") == ([], 0)


@pytest.mark.parametrize(
    ("change", "made"),
    [
        (lambda root: root.write("etc/modprobe.d/two.conf"), True),
        (lambda root: (root.top / "etc/modprobe.d/one.conf").unlink(), True),
        (lambda root: root.write("etc/modprobe.d/one.conf", "TEXT"), True),
        (lambda root: root.write("etc/initramfs-tools/conf.d/mine"), True),
        (lambda root: root.write("etc/crypttab"), True),
        (lambda root: root.write("etc/systemd/network/10-a.link"), True),
        (lambda root: root.write("etc/systemd/network/10-a.network"), False),
        (lambda root: root.write("lib/modules/6.1/updates/b.ko"), True),
        (lambda root: root.write("etc/fstab", "/dev/sda1 / xfs defaults 0 1\n"), True),
        (lambda root: root.write("etc/fstab", f"{FSTAB}/dev/sda2 none swap sw 0 0\n"), True),
        (lambda root: (root.top / CONTAINED).unlink(), True),
        (replaced, True),
        (lambda root: root.write("etc/fstab", f"{FSTAB}LABEL=UEFI /boot/efi vfat umask=0077 0 1\n"), False),
        (lambda root: root.write("usr/bin/other", "TEXT"), False),
        (lambda root: root.write("etc/hostname"), False),
    ],
)
def test_an_initramfs_is_made_again_when_what_it_is_made_of_changes(
    root: Root, change: Callable[[Root], object], made: bool
) -> None:
    root.step(Root.ask)
    assert root.step(change) == (MADE if made else [], 0)
    assert root.step() == ([], 0)


def test_a_kernel_that_comes_later_gets_its_initramfs_then(root: Root) -> None:
    (root.top / "boot/vmlinuz-6.1").unlink()
    assert root.step(Root.ask) == ([], 0)
    assert root.step(lambda root: root.write("boot/vmlinuz-6.1")) == (MADE, 0)


def test_a_flavour_that_wants_none_gets_none(root: Root) -> None:
    (root.state / "no-initramfs").touch()
    assert root.step(Root.ask) == ([], 0)
    assert root.step(Root.ask, "last") == ([], 0)


def test_a_list_that_cannot_be_read_makes_each_change_of_packages_count(root: Root) -> None:
    fake(root.programs, "lsinitramfs", "exit 1")
    root.write("var/lib/dpkg/status")
    root.step(Root.ask)
    assert root.step() == ([], 0)
    assert root.step(lambda root: root.write("var/lib/dpkg/status", "TEXT")) == (MADE, 0)


def test_dracut_makes_it_where_nothing_else_does(root: Root) -> None:
    (root.programs / "bin/update-initramfs").unlink()
    fake(root.programs, "dracut", f'echo dracut "$@" >> {root.top}/calls')
    assert root.step(Root.ask) == (["dracut --force --regenerate-all --no-hostonly"], 0)
    assert root.step() == ([], 0)


def test_without_a_program_that_makes_it_the_last_step_fails(root: Root) -> None:
    (root.programs / "bin/update-initramfs").unlink()
    assert root.step(Root.ask) == ([], 0)
    assert root.step(lambda _: None, "last") == ([], 1)
    assert "there is neither update-initramfs nor dracut" in root.said


def test_a_failure_fails_the_step(root: Root) -> None:
    fake(root.programs, "update-initramfs", "exit 3")
    assert root.step(Root.ask)[1] == 3


def test_manual_pages_are_indexed_when_they_changed(root: Root) -> None:
    (root.top / "var/lib/man-db").mkdir()
    root.write("usr/bin/mandb").chmod(0o755)
    fake(root.programs, "mandb", f'echo mandb "$@" >> {root.top}/calls')
    assert root.step(lambda root: root.write("usr/share/man/man1/b.1")) == ([], 0)
    (root.state / "mandb").touch()
    assert root.step() == (["mandb -pq"], 0)
    assert root.step() == ([], 0)
    assert root.step(lambda root: root.write("usr/share/man/man1/c.1")) == (["mandb -pq"], 0)
    assert root.step(lambda _: None, "last") == ([], 0)
    assert (root.top / "var/lib/man-db/auto-update").exists()


def test_a_step_of_elements_asks_for_an_initramfs_where_a_flavour_made_one(tmp_path: Path) -> None:
    text = (resources.shared("containerfiles") / "elements/runner/common").read_text()
    function = text[text.index("ask_for_initramfs() {") : text.index("# What the contract")]
    state = tmp_path / "var/lib/dibo"
    state.mkdir(parents=True)
    for is_made in (False, True):
        subprocess.run(["bash", "-euc", f"{function}\nask_for_initramfs {tmp_path}"], check=True)
        assert (state / "initramfs").exists() == is_made
        (state / "initramfs-files").touch()
