"""What two directories differ in, as `dibo verify` tells."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dibo.inspect.directories import differences


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two directories with the same in them."""
    for name in ("then", "now"):
        top = tmp_path / name
        (top / "etc/cron.d").mkdir(parents=True)
        (top / "etc/motd").write_text("hello\n")
        (top / "etc/motd").chmod(0o644)
        (top / "etc/link").symlink_to("motd")
        (top / "etc/loop").symlink_to("..")
        os.mkfifo(top / "pipe", 0o600)
    return tmp_path / "then", tmp_path / "now"


def test_the_same(pair: tuple[Path, Path]) -> None:
    os.utime(pair[1] / "etc/motd", (7, 7))
    assert list(differences(*pair)) == []


def test_each_change(pair: tuple[Path, Path]) -> None:
    then, now = pair
    (now / "etc/motd").write_text("HELLO\n")
    (now / "etc/motd").chmod(0o600)
    (now / "etc/link").unlink()
    (now / "etc/link").symlink_to("/etc/motd")
    (now / "etc/cron.d").rmdir()
    (now / "etc/cron.d").write_text("")
    (now / "pipe").unlink()
    (now / "new").mkdir()
    (now / "new/file").write_text("x")
    (then / "gone").write_text("x")
    (then / "long").write_text("xy")
    (now / "long").write_text("x")
    assert list(differences(then, now)) == [
        "/etc/cron.d: a directory and a file",
        "/etc/link: another target",
        "/etc/motd: other bytes, mode",
        "/gone: is gone",
        "/long: 2 and 1 bytes",
        "/new: is new",
        "/pipe: is gone",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_what_root_and_an_ordinary_user_make_differs_in_owners_and_devices(pair: tuple[Path, Path]) -> None:
    then, now = pair
    os.mknod(now / "device", 0o020600, os.makedev(1, 3))
    (now / "etc/motd").chmod(0o4755)
    os.chown(now / "etc/motd", 0, 7)
    os.chown(then, 1000, 1000)
    assert list(differences(then, now)) == []
    os.chown(then, 0, 0)
    assert list(differences(then, now)) == ["/device: is new", "/etc/motd: mode, group"]
