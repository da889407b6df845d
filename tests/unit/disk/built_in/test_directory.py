"""A root as files: what an ordinary user gets, and that nothing leads out of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dibo.disk.built_in.directory import make_directory
from dibo.disk.built_in.job import ConversionJob
from dibo.errors import ConverterError
from dibo.formats.vm_disks.identity import NO_IDENTITY
from dibo.tree.node import Node
from tests.support.node_trees import Content, node
from tests.support.spooled_trees import spooled


def made(directory: Path, entries: dict[str, Content | Node]) -> list[str]:
    directory.mkdir(parents=True)
    warnings: list[str] = []
    job = ConversionJob(
        target=directory,
        name="web",
        architecture="amd64",
        size=0,
        identity=NO_IDENTITY,
        root=spooled(entries),
        warn=warnings.append,
    )
    make_directory(job)
    return warnings


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def with_mode(content: Content, mode: int) -> Node:
    file = node(content)
    file.mode = stat.S_IFMT(file.mode) | mode
    return file


@pytest.mark.usefixtures("ordinary")
def test_an_ordinary_user(tmp_path: Path) -> None:
    shared = node(b"shared")
    shared.mtime = 1_700_000_000_123_456_789
    device = Node(stat.S_IFCHR | 0o600)
    device.device = (1, 3)
    warnings = made(
        tmp_path / "web",
        {
            "etc/shadow": with_mode(b"secret", 0o000),
            "usr/bin/su": with_mode(b"program", 0o4755),
            "locked": with_mode(None, 0o000),
            "locked/below": b"x",
            "one": shared,
            "two": shared,
            "dev/null": device,
            "run/pipe": Node(stat.S_IFIFO | 0o644),
            "holes": b"start" + bytes(100_000),
        },
    )
    web = tmp_path / "web"
    assert warnings == ["1 device of the root left out: only root can make devices"]
    assert (web / "etc/shadow").read_bytes() == b"secret"
    assert stat.S_IMODE((web / "usr/bin/su").stat().st_mode) == 0o755
    assert (web / "locked/below").read_bytes() == b"x"
    assert (web / "one").stat().st_ino == (web / "two").stat().st_ino
    assert (web / "one").stat().st_mtime_ns == shared.mtime
    assert stat.S_ISFIFO((web / "run/pipe").stat().st_mode)
    assert (web / "holes").read_bytes() == b"start" + bytes(100_000)
    assert not (web / "dev/null").exists()


@pytest.mark.usefixtures("ordinary")
def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    made(tmp_path / "web", {"a": str(outside), "etc": "/etc", "b": "../outside/file"})
    assert (tmp_path / "web" / "a").readlink() == outside
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", [b"..", b".", b"a/b", b""])
@pytest.mark.usefixtures("ordinary")
def test_names_that_lead_elsewhere(tmp_path: Path, name: bytes) -> None:
    top = Node(stat.S_IFDIR | 0o755)
    assert top.children is not None
    top.children[name] = node(b"x")
    with pytest.raises(ConverterError, match="is not the name of a file"):
        made(tmp_path / "web", {"top": top})
