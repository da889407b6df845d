"""The list that mkfs.xfs fills a file system from: what it says, and what it cannot say."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dibo.disk.programs.mkfs import losses, prepare, proto
from dibo.disk.programs.numbered_files import Numbered
from dibo.errors import ConverterError
from dibo.system import resources
from dibo.system.process import Process, Streams
from dibo.tree.node import Node
from tests.support.disks.memory_disk import device, directory, file, symlink


def test_the_list(tmp_path: Path) -> None:
    contents = Numbered(tmp_path)
    top = directory(0o750, link=symlink(b"../x"), null=device(stat.S_IFCHR, 1, 3), below=directory(0o2755))
    top.uid, top.gid = 5, 70000
    assert top.children is not None
    top.children[b"setuid"] = file(contents, b"ab", 3, b"c", mode=0o4711)
    top.children[b"empty"] = Node(stat.S_IFREG | 0o600)
    contents.close()
    assert list(proto(top)) == [
        "/",
        "0 0",
        "d--750 5 70000",
        "link l--777 0 0 ../x",
        "null c--600 0 0 1 3",
        "below d-g755 0 0",
        "$",
        f"setuid -u-711 0 0 {tmp_path / '0'}",
        "empty ---600 0 0 /dev/null",
        "$",
    ]
    assert (tmp_path / "0").read_bytes() == b"ab\0\0\0c"
    assert losses(top) == ()


def with_name(name: bytes, node: Node) -> Node:
    top = directory()
    assert top.children is not None
    top.children[name] = node
    return top


def with_attribute() -> Node:
    node = Node(stat.S_IFREG | 0o755)
    node.xattrs = {b"security.capability": b"x"}
    return node


@pytest.mark.parametrize(
    ("top", "words"),
    [
        (with_name(b"a b", Node(stat.S_IFREG)), "1 names with spaces"),
        (with_name(b"\xc3\xa4", Node(stat.S_IFREG)), "not plain text"),
        (with_name(b":x", Node(stat.S_IFREG)), "1 names"),
        (with_name(b"x", symlink(b"a b")), "1 names"),
        (with_name(b"x", with_attribute()), "1 files with extended attributes"),
        (with_name(b"tmp", directory(0o1777)), "1 sticky bits"),
        (with_name(b"s", Node(stat.S_IFSOCK | 0o600)), "1 special files"),
    ],
)
def test_what_it_cannot_say(top: Node, words: str) -> None:
    assert any(words in loss for loss in losses(top))


class Local:
    """A root in a directory of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def process(self, argv: list[str], *, on_output: Any = None, **_others: object) -> Process:
        return Process(argv, env={"ROOT": str(self._path)}, streams=Streams(on_output=on_output))


def prepared(root: Path, hidden: dict[str, bytes | None]) -> None:
    prepare(Local(root), hidden, on_output=lambda _line: None)  # type: ignore[arg-type]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A directory of the host, which nothing in a root may reach."""
    place = tmp_path / "victim"
    (place / "data/keep").mkdir(parents=True)
    (place / "fstab").write_text("of the host")
    return place


def test_a_root_is_prepared(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "srv/data/below").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "etc/fstab").write_text("old and longer")
    (root / "etc/fstab").chmod(0o640)
    prepared(root, {"/srv/data": None, "/none": None, "/etc/fstab": b"%s new", "/boot/x": b"no directory"})
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == [
        *("etc", "etc/fstab", "srv", "srv/data"),
    ]
    assert (root / "etc/fstab").read_text() == "%s new"
    assert stat.S_IMODE((root / "etc/fstab").stat().st_mode) == 0o640


@pytest.mark.parametrize("kind", ["link", "chain", "dangling", "fifo"])
def test_a_file_is_written_in_place_of_a_link(tmp_path: Path, victim: Path, kind: str) -> None:
    file = tmp_path / "root/etc/fstab"
    file.parent.mkdir(parents=True)
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "chain":
        file.symlink_to("other")
        (file.parent / "other").symlink_to(victim / "fstab")
    else:
        file.symlink_to(victim / ("fstab" if kind == "link" else "new"))
    prepared(tmp_path / "root", {"/etc/fstab": b"of dibo"})
    assert (file.is_symlink(), file.read_text()) == (False, "of dibo")
    assert (victim / "fstab").read_text() == "of the host"
    assert sorted(path.name for path in victim.iterdir()) == ["data", "fstab"]


@pytest.mark.parametrize("hidden", [{"/srv/fstab": b"of dibo"}, {"/srv/data": None}, {"/srv": None}])
def test_no_link_on_the_way_is_followed(
    tmp_path: Path, victim: Path, hidden: dict[str, bytes | None]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "srv").symlink_to(victim)
    with pytest.raises(ConverterError, match="a symbolic link is on the way"):
        prepared(root, hidden)
    assert (victim / "fstab").read_text() == "of the host"
    assert (victim / "data/keep").is_dir()


def test_no_directory_of_the_host_is_given_to_a_program(tmp_path: Path, victim: Path) -> None:
    root = tmp_path / "root"
    (root / "var").mkdir(parents=True)
    (root / "srv").symlink_to(victim)
    script = resources.shared("containerfiles") / "buildah/in-tree.sh"
    said = {
        path: subprocess.run(
            ["bash", script, "at", path, "echo", "it is"],
            env={**os.environ, "ROOT": str(root)},
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        for path in ("/", "/var", "/srv", "/srv/data")
    }
    assert said == {"/": f"it is {root}\n", "/var": f"it is {root}/var\n", "/srv": "", "/srv/data": ""}
