"""xfs and btrfs in a layout, without a loop device while they are made: what the kernel reads in them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest

from dibo.build.engine import BuildDirectory, Root, Setup
from dibo.disk.request import check_request
from dibo.errors import LoopError
from dibo.images.image import Layer
from dibo.layout.model import Layout
from dibo.layout.placement import Placement, place
from dibo.system import process
from dibo.system.process import Process, ProcessOptions, Streams
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from dibo.units import GIB
from tests.support.images.oracle import mounted, require_same
from tests.support.images.tar_layers import stored_layer
from tests.support.images.tree_entries import Tree, walk
from tests.support.requirements import need
from tests.unit.disk.test_make import request_of, write_disk

pytestmark = pytest.mark.integration

LAYOUT = """
table: gpt
partitions:
  - {name: srv, type: linux-srv, size: fit, filesystem: xfs, label: srv, mount: /srv}
  - {name: none, type: linux, size: 300MiB, filesystem: xfs, label: none}
  - {name: var, type: linux-var, size: fit, filesystem: btrfs, label: var, mount: /var}
  - {name: root, type: linux-root, size: rest, filesystem: ROOT, label: r, mount: /}
"""


class Local:
    """A Directory on this machine, as it is."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def process(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
        on_output: Callable[[str], None] | None = None,
    ) -> Process:
        environment = {"ROOT": str(self._path)}
        return Process(
            argv,
            env=environment,
            streams=Streams(stdin=stdin, stdout=stdout, on_output=on_output),
            options=ProcessOptions(pass_fds=pass_fds),
        )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root in a directory: hard links, attributes, sticky bits, odd names, times; /srv has nothing of the kind."""
    top = tmp_path / "root"
    for name in ("etc", "srv/site/css", "var/lib/x y", "var/tmp", "tmp", "usr/bin"):
        (top / name).mkdir(parents=True)
    (top / "srv/site/index.html").write_text("page\n" * 5000)
    (top / "srv/site/css/a.css").write_bytes(bytes(range(256)) * 500)
    (top / "srv/site/link").symlink_to("index.html")
    (top / "srv/site/index.html").chmod(0o640)
    (top / "var/lib/x y/db").write_text("data")
    (top / "var/lib/other").hardlink_to(top / "var/lib/x y/db")
    (top / "var/tmp").chmod(0o1777)
    (top / "tmp").chmod(0o1777)
    (top / "etc/fstab").write_text("/dev/sda1 / ext3 defaults 0 1\n")
    (top / "usr/bin/true").write_bytes(b"#!")
    os.setxattr(top / "usr/bin/true", "user.x", b"y")
    os.setxattr(top / "var/lib/other", "user.x", b"y")
    if os.geteuid() == 0:
        os.chown(top / "srv/site/css/a.css", 33, 34)
        os.chown(top / "var/lib/other", 1000, 70000)
    for path in [*top.rglob("*"), top]:
        os.utime(path, (1_500_000_000, 1_500_000_000), follow_symlinks=False)
    return top


def make(tmp_path: Path, tree: Path, text: str, *, in_directory: bool) -> tuple[Path, Placement]:
    need("tar", "mkfs.xfs", "mkfs.btrfs")
    tar = subprocess.run(
        ["tar", "-C", tree, "--xattrs", "--xattrs-include=*", "--format=pax", "-c", "."],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    layer: Layer = stored_layer(tar, tar)

    def directory() -> AbstractContextManager[BuildDirectory]:
        copy = tmp_path / f"copy-{len(list(tmp_path.glob('copy-*')))}"  # each time another, as an engine does
        process.run(["cp", "-a", str(tree), str(copy)])
        return nullcontext(Local(copy))

    root = Root(name="a root", layers=(layer,), built=True, directory=directory if in_directory else None)
    request = request_of(tmp_path / "disk", text, size=2 * GIB)
    check_request(request)
    path = tmp_path / "disk.raw"
    with Workspace(tmp_path / "cache").run() as run, (tmp_path / "said").open("w") as said:
        write_disk(root, request, path, Setup(run=run, report=Report(said)))
        assert list(run.directory.rglob("filesystem/*")) == []
    return path, placed(path, request.layout)


def test_the_kernel_reads_what_mkfs_made(tmp_path: Path, tree: Path) -> None:
    path, placement = make(tmp_path, tree, LAYOUT.replace("ROOT", "ext4"), in_directory=True)
    wanted = walk(tree)
    compare(path, placement, "srv", below(wanted, b"srv"), kind="xfs", times=False)
    compare(path, placement, "var", below(wanted, b"var"), kind="btrfs")
    root = mounted_at(path, placement, "root", kind="ext4")
    assert not any(name.startswith((b"srv/", b"var/")) for name in root)
    assert {b"srv", b"var", b"usr/bin/true"} <= root.keys()
    assert set(mounted_at(path, placement, "none", kind="xfs")) == {b""}
    assert "gives its files the time" in (tmp_path / "said").read_text()


def test_a_btrfs_root_from_a_directory_has_no_mounts_of_others_in_it(tmp_path: Path, tree: Path) -> None:
    path, placement = make(tmp_path, tree, LAYOUT.replace("ROOT", "btrfs"), in_directory=True)
    wanted = {name: entry for name, entry in walk(tree).items() if not name.startswith((b"srv/", b"var/"))}
    compare(path, placement, "root", wanted, kind="btrfs", changed=(b"etc/fstab", b"etc", b"srv", b"var"))
    assert (tree / "etc/fstab").read_text().startswith("/dev/sda1")  # only the copy was changed


def test_what_needs_a_directory_and_has_none_asks_for_a_loop_device(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dibo.disk.loop.check.os", SimpleNamespace(geteuid=lambda: 1000))
    with pytest.raises(LoopError, match=r"root: .*mkfs\.btrfs fills a file system from a directory"):
        make(tmp_path, tree, LAYOUT.replace("ROOT", "btrfs"), in_directory=False)


def placed(path: Path, layout: Layout | None) -> Placement:
    assert layout is not None
    said = subprocess.run(["sfdisk", "--json", path], capture_output=True, text=True, check=True).stdout
    table = json.loads(said)["partitiontable"]["partitions"]
    fitting = {wish.name: each["size"] * 512 for wish, each in zip(layout.partitions, table, strict=True)}
    size = path.stat().st_size
    return place(layout, size=size, identity="sha256:disks", architecture="amd64", fitting=fitting)


def mounted_at(path: Path, placement: Placement, name: str, *, kind: str) -> Tree:
    part = placement.named(name)
    return mounted(path, part.offset, part.size, kind=kind)


def below(tree: Tree, top: bytes) -> Tree:
    """What lies below `top`, and itself, by the paths from there."""
    inside = {
        name.removeprefix(top).lstrip(b"/"): entry for name, entry in tree.items() if name.startswith(top)
    }
    return {
        name: replace(entry, links=tuple(each.removeprefix(top + b"/") for each in entry.links))
        for name, entry in inside.items()
    }


def compare(
    path: Path,
    placement: Placement,
    name: str,
    wanted: Tree,
    *,
    kind: str,
    times: bool = True,
    changed: Iterable[bytes] = (),
) -> None:
    found = mounted_at(path, placement, name, kind=kind)
    skipped = ("size", "allocated") if times else ("size", "allocated", "mtime")
    files = {path: each for path, each in wanted.items() if each.kind == "file"}
    assert {path: found[path].content for path in files if path not in changed} == {
        path: each.content for path, each in files.items() if path not in changed
    }
    fields = dict.fromkeys(wanted, skipped)
    fields[b""] = (*skipped, "mtime")  # mkfs.btrfs 6.2 gives the top the time when it runs
    fields |= dict.fromkeys(changed, (*skipped, "mtime", "content"))
    require_same(found, wanted, fields)
