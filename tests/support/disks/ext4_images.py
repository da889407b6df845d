"""Images of trees in files, and what the kernel should show of them."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from dibo.formats.ext4 import Parameters, Summary, Writer
from dibo.formats.raw import RawFile
from dibo.tree.node import TYPE_NAMES, Node
from tests.support.disks.memory_disk import Recorder
from tests.support.images.tree_entries import Entry, Tree
from tests.support.markdown import PROJECT

MIB = 1 << 20
MKE2FS_CONF = PROJECT / "converters" / "raw" / "mke2fs.conf"


def parameters(size: int) -> Parameters:
    return Parameters(
        size=size,
        label="cloudimg-rootfs",
        uuid=UUID("6a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"),
        hash_seed=UUID("12345678-9abc-4ef0-8234-56789abcdef0"),
        time=1_700_000_000,
    )


def written(path: Path, size: int, build: Callable[[Recorder], Node]) -> tuple[Tree, Summary]:
    """The tree that `build` makes, as a file system in the file `path`; and what a mount of it should show."""
    with RawFile(path, size) as target:
        writer = Writer(target, parameters(size))
        recorder = Recorder(writer)
        root = build(recorder)
        summary = writer.finish(root)
    return tree_of(root, recorder), summary


def tree_of(root: Node, recorder: Recorder) -> Tree:
    names: dict[int, list[bytes]] = {}
    nodes: dict[bytes, Node] = {}
    todo = [(b"", root)]
    while todo:
        path, node = todo.pop()
        nodes[path] = node
        names.setdefault(id(node), []).append(path)
        for name, child in (node.children or {}).items():
            todo.append((path + b"/" + name if path else name, child))
    return {path: _entry(node, recorder, names[id(node)]) for path, node in nodes.items()}


def _entry(node: Node, recorder: Recorder, names: list[bytes]) -> Entry:
    digest = hashlib.sha256()
    for offset, block in sorted(recorder.blocks(node).items()):
        part = block[: node.size - offset]
        if any(part):
            digest.update(offset.to_bytes(8, "little") + part)
    return Entry(
        kind=TYPE_NAMES[stat.S_IFMT(node.mode)],
        mode=stat.S_IMODE(node.mode),
        uid=node.uid,
        gid=node.gid,
        mtime=node.mtime,
        size=node.size,
        content=digest.hexdigest() if node.size else "",
        target=node.target,
        device=node.device,
        xattrs=tuple(sorted((os.fsdecode(name), value) for name, value in (node.xattrs or {}).items())),
        links=tuple(sorted(names)) if len(names) > 1 else (),
    )


def by_mke2fs(path: Path, size: int) -> None:
    """An empty file system as mke2fs makes it with the project's configuration."""
    with path.open("wb") as file:
        file.truncate(size)
    environment = {**os.environ, "MKE2FS_CONFIG": str(MKE2FS_CONF)}
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", "cloudimg-rootfs", str(path)]
    subprocess.run(argv, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def described(path: Path) -> dict[str, str]:
    """What dumpe2fs -h says, by its words."""
    out = subprocess.run(["dumpe2fs", "-h", str(path)], check=True, capture_output=True, text=True).stdout
    pairs = [line.split(":", 1) for line in out.splitlines() if ":" in line]
    return {name.strip(): value.strip() for name, value in pairs}


def privately(script: str, *arguments: str | Path) -> str:
    """Run a shell script as root in a mount namespace of its own, with an empty directory to mount at: $MNT."""
    prologue = "set -eu; mount -t tmpfs none /mnt; MNT=/mnt/root; mkdir $MNT\n"
    argv = ["unshare", "--mount", "--propagation", "private", "bash", "-c", prologue + script, "sh"]
    done = subprocess.run([*argv, *map(str, arguments)], capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout
