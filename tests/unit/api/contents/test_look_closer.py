"""What two directories differ in, as `dibo verify` tells."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dibo.api.contents.look_closer import directory_changes, look_closer
from dibo.contents.text import file_lines
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from tests.support.images.image_forms import debian_root, write_disk


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
    assert directory_changes(*pair) == ()


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
    assert [line.split(None, 2) for line in file_lines(directory_changes(then, now))] == [
        ["~", "/etc/cron.d", "directory → file"],
        ["~", "/etc/link", "target motd → /etc/motd"],
        ["~", "/etc/motd", "other content (6 B), mode 0644 → 0600"],
        ["-", "/gone", "file 0644, 1 B"],
        ["~", "/long", "2 B → 1 B"],
        ["+", "/new", "directory 0755"],
        ["+", "/new/file", "file 0644, 1 B"],
        ["-", "/pipe", "FIFO 0600"],
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_what_root_and_an_ordinary_user_make_differs_in_owners_and_devices(pair: tuple[Path, Path]) -> None:
    then, now = pair
    os.mknod(now / "device", 0o020600, os.makedev(1, 3))
    (now / "etc/motd").chmod(0o4755)
    os.chown(now / "etc/motd", 0, 7)
    os.chown(then, 1000, 1000)
    assert directory_changes(then, now) == ()
    os.chown(then, 0, 0)
    changes = {change.path: change.aspects for change in directory_changes(then, now)}
    assert changes == {b"device": (), b"etc/motd": ("mode", "group")}


def test_disks(tmp_path: Path) -> None:
    root = debian_root()
    then, now = write_disk(tmp_path / "then.raw", root), write_disk(tmp_path / "now.raw", root)
    with Workspace(tmp_path / "cache").run() as run:
        report = Report(quiet=True)
        assert [*look_closer(then, now, "raw", run, report)] == []
        now.write_bytes(now.read_bytes().replace(b"BASH", b"bash").replace(b"#!shell", b"#!Shell"))
        lines = [line for line in look_closer(then, now, "raw", run, report) if line.startswith("  ")]
    assert lines == [
        "  ~ /usr/bin/bash   other content (6.84 KiB)",
        "  ~ /usr/bin/rbash  other content (6.84 KiB)",
    ]
