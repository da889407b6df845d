"""Stacks of layers, flattened here and unpacked by umoci: each entry must be the same.

umoci applies entries one after the other to a real directory; what it gives a parent that no entry describes depends
on the clock and the umask, so only its kind is compared.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dibo.images.image import Layer
from dibo.images.layers.load import Tree, load
from dibo.tree.node import Node
from tests.support.images import tree_entries
from tests.support.images.oci_layouts import LayerTar, simple
from tests.support.images.oracle import command, differences
from tests.support.images.tar_layers import (
    COMPRESS,
    END,
    MemorySink,
    directory,
    file,
    hardlink,
    header,
    pax,
    stored_layer,
)
from tests.support.images.tree_entries import BLOCK, Entry, walk
from tests.support.requirements import need, unmet

pytestmark = pytest.mark.integration

CAPABILITY = b"\x01\x00\x00\x02\x00\x20" + bytes(14)


@pytest.fixture(autouse=True)
def as_root() -> None:
    need("umoci")
    if os.geteuid() != 0:
        unmet("only root can unpack owners and devices")


def flattened(layers: Sequence[Layer]) -> tree_entries.Tree:
    memory = MemorySink()
    return as_entries(load(layers, memory), memory)


def as_entries(tree: Tree, memory: MemorySink) -> tree_entries.Tree:
    """As tests.support.images.tree_entries.walk would see it."""
    names: dict[Node, list[bytes]] = {}
    todo = [(b"", tree.root)]
    while todo:
        path, node = todo.pop()
        names.setdefault(node, []).append(path)
        todo += [(path + b"/" * bool(path) + name, child) for name, child in (node.children or {}).items()]
    found = {}
    for node, paths in names.items():
        for path in paths:
            found[path] = _entry(node, memory, tuple(sorted(paths)) if len(paths) > 1 else ())
    return found


def _entry(node: Node, memory: MemorySink, links: tuple[bytes, ...]) -> Entry:
    kind = stat.S_IFMT(node.mode)
    data = memory.of(node)
    digest = hashlib.sha256()
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        if block.strip(b"\0"):
            digest.update(start.to_bytes(8, "little") + block)
    return Entry(
        kind=tree_entries._KINDS[kind],
        mode=stat.S_IMODE(node.mode),
        uid=node.uid,
        gid=node.gid,
        mtime=node.mtime,
        size=node.size,
        content=digest.hexdigest() if data else "",
        target=node.target,
        device=node.device,
        xattrs=tuple(sorted((name.decode(), value) for name, value in (node.xattrs or {}).items())),
        links=links,
    )


def by_umoci(stack: Sequence[bytes], place: Path) -> tree_entries.Tree:
    made = []
    for number, tar in enumerate(stack):
        path = place / f"{number}.tar"
        path.write_bytes(tar)
        made.append(LayerTar(tar=path))
    layout = simple(place / "layout", made)
    command("umoci", "unpack", "--image", f"{layout}:latest", place / "bundle")
    return walk(place / "bundle" / "rootfs")


def compare(stack: Sequence[Sequence[bytes]], place: Path) -> None:
    tars = [b"".join(parts) + END for parts in stack]
    compressions = list(COMPRESS.values())
    ours = flattened([stored_layer(compressions[number % 3](tar), tar) for number, tar in enumerate(tars)])
    oracle = by_umoci(tars, place)
    assert _told(ours) == _told(oracle)
    told = [path for path in ours if ours[path].mtime or path == b""]
    loose: dict[bytes, tuple[str, ...]] = {
        path: ("mode", "uid", "gid", "mtime") for path in ours if path not in told
    }
    loose |= {path: ("mtime",) for path, entry in ours.items() if entry.kind == "directory" and path in told}
    assert differences(ours, oracle, loose | {b"": ("mode", "uid", "gid", "mtime")}) == []


def _told(tree: tree_entries.Tree) -> list[tuple[bytes, str]]:
    return sorted((path, entry.kind) for path, entry in tree.items())


def F(name: bytes, data: bytes = b"x") -> bytes:
    return file(name, data, mtime=1_000_000_000)


def D(name: bytes, mode: int = 0o755) -> bytes:
    return directory(name, mode, mtime=1_000_000_000)


def L(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target, mode=0o777, mtime=1_000_000_000)


STACKS: dict[str, tuple[tuple[bytes, ...], ...]] = {
    "kinds": (
        (
            D(b"d", 0o1777),
            F(b"d/f", b"data" * 3000),
            L(b"d/l", b"../x"),
            hardlink(b"d/h", b"d/f"),
            header(b"d/c", b"3", device=(1, 3), mtime=1_000_000_000),
            header(b"d/b", b"4", device=(8, 1), mtime=1_000_000_000),
            header(b"d/p", b"6", mtime=1_000_000_000),
            pax((b"uid", b"70000"), (b"gid", b"3000000000"), (b"mtime", b"1234567890.123456789")),
            F(b"d/ids"),
            pax((b"SCHILY.xattr.security.capability", CAPABILITY), (b"SCHILY.xattr.user.a", b"\0\n=")),
            F(b"d/ping"),
            pax((b"path", b"d/" + b"n" * 255)),
            F(b"x"),
            F(b"d/\xff\xfe"),
        ),
    ),
    "whiteouts": (
        (D(b"d"), F(b"d/a"), F(b"d/b"), D(b"e"), D(b"e/s"), F(b"e/s/a"), F(b"e/b"), D(b"g"), F(b"g/a")),
        (F(b"d/.wh.a"), D(b"e"), F(b"e/.wh..wh..opq"), F(b"e/c"), F(b".wh.g"), F(b".wh.nothing")),
    ),
    "types change": (
        (D(b"a"), F(b"a/x"), F(b"b"), L(b"c", b"a"), D(b"e"), F(b"e/x"), L(b"f", b"b")),
        (F(b"a", b"file"), D(b"b"), F(b"b/x"), D(b"c"), F(b"c/x"), L(b"e", b"b"), F(b"f", b"file")),
    ),
    "attributes of directories": (
        (D(b"a", 0o700), D(b"a/b", 0o711), F(b"a/b/x")),
        (F(b"a/b/y"),),
        (D(b"a", 0o750), F(b"a/z")),
    ),
    "symlinked parents": (
        (D(b"usr"), D(b"usr/lib"), L(b"lib", b"usr/lib"), F(b"usr/lib/a"), L(b"abs", b"/usr")),
        (F(b"lib/b"), F(b"abs/c"), F(b"lib/a", b"new")),
    ),
    "symlinks that climb": (
        (D(b"d"), L(b"d/out", b"../../../../etc"), D(b"etc")),
        (F(b"d/out/passwd"),),
    ),
    "hard links across layers": (
        (D(b"d"), F(b"d/a", b"old"), hardlink(b"d/b", b"d/a"), L(b"d/l", b"a")),
        (hardlink(b"d/c", b"d/a"), F(b"d/a", b"new"), hardlink(b"d/m", b"d/l")),
        (F(b"d/.wh.b"), hardlink(b"e", b"d/c")),
    ),
    "hidden under one of two names": (
        (F(b"a", b"kept"), hardlink(b"b", b"a")),
        (F(b"a", b"new"),),
    ),
}


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_as_umoci(stack: tuple[tuple[bytes, ...], ...], tmp_path: Path) -> None:
    compare(stack, tmp_path)


@pytest.mark.parametrize("seed", range(25))
def test_random_stacks_as_umoci(seed: int, tmp_path: Path) -> None:
    compare(list(_stack(random.Random(seed))), tmp_path)


def _stack(rng: random.Random) -> Iterator[list[bytes]]:
    """Layers as engines make them: whiteouts first, of what is there; parents before children."""
    there: dict[bytes, str] = {}
    for _ in range(rng.randint(2, 5)):
        layer: list[bytes] = []
        for path in rng.sample(sorted(there), min(len(there), rng.randint(0, 2))):
            if path not in there:
                continue
            inside = [other for other in there if other.startswith(path + b"/")]
            if there[path] == "dir" and rng.random() < 0.5:
                layer += [D(path), F(path + b"/.wh..wh..opq", b"")]
            else:
                parent, slash, name = path.rpartition(b"/")
                layer.append(F(parent + slash + b".wh." + name, b""))
                inside.append(path)
            for other in inside:
                del there[other]
        for _ in range(rng.randint(1, 8)):
            parents = [
                b"",
                *(path + b"/" for path, kind in there.items() if kind == "dir" and path.count(b"/") < 3),
            ]
            path = rng.choice(parents) + rng.choice((b"a", b"b", b"c", b"d"))
            kind = rng.choice(("file", "file", "dir", "dir", "symlink", "link"))
            targets = [other for other, what in there.items() if what == "file" and other != path]
            for other in [other for other in there if other.startswith(path + b"/")]:
                if kind != "dir":
                    del there[other]
            if kind == "link" and targets:
                targets = [other for other in targets if other in there]
            if kind == "link" and not targets:
                kind = "file"
            match kind:
                case "file":
                    layer.append(F(path, rng.randbytes(rng.choice((0, 5, 9000)))))
                case "dir":
                    layer.append(D(path, rng.choice((0o700, 0o755))))
                case "symlink":
                    layer.append(L(path, b"nowhere"))
                case _:
                    layer.append(hardlink(path, rng.choice(targets)))
            there[path] = "file" if kind == "link" else kind
        yield layer


@pytest.mark.parametrize("format", ["v7", "ustar", "gnu", "oldgnu", "posix"])
def test_archives_of_gnu_tar(format: str, tmp_path: Path) -> None:
    need("tar")
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d" / "a").write_bytes(b"a" * 70_000)
    (root / "d" / "b").hardlink_to(root / "d" / "a")
    (root / "l").symlink_to("d/a")
    if format != "v7":
        os.mkfifo(root / "p")
        (root / ("directory-" * 9) / ("name-" * 15)).mkdir(parents=True)
        os.chown(root / "d" / "a", 1000, 100)
    if format in ("gnu", "posix"):
        os.chown(root / "l", 3_000_000, 4_000_000, follow_symlinks=False)
        (root / ("n" * 255)).write_bytes(b"n")
        os.utime(root / "d" / "a", (-5, -5))
    if format != "posix":
        for path in (root, *root.rglob("*")):
            os.utime(
                path,
                (10**9, 10**9) if path.name != "a" or format != "gnu" else (-5, -5),
                follow_symlinks=False,
            )
    if format not in ("v7", "ustar"):
        with (root / "sparse").open("wb") as sparse:
            for start in range(0, 40 * 65536, 65536):
                sparse.seek(start)
                sparse.write(b"data")
            sparse.truncate(3_000_001)
        os.utime(root / "sparse", (10**9, 10**9))
        os.utime(root, (10**9, 10**9))
    sparse_too = ["--sparse"] if format in ("gnu", "oldgnu", "posix") else []
    argv = ["tar", "-C", str(root), f"--format={format}", "--numeric-owner", *sparse_too, "-cf", "-", "."]
    tar = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout
    found = flattened([stored_layer(COMPRESS["zstd"](tar), tar)])
    assert differences(found, walk(root)) == []


def test_a_file_of_5_gib(tmp_path: Path) -> None:
    """A hole and one byte, so that it costs no disk: in PAX, whose size has its own record only as data."""
    size = 5 << 30
    with contextlib.ExitStack() as stack:
        sparse = stack.enter_context((tmp_path / "big").open("wb"))
        sparse.seek(size - 1)
        sparse.write(b"x")
    tar = subprocess.run(
        ["tar", "-C", tmp_path, "--format=posix", "--sparse", "-cf", "-", "big"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout

    class Length(MemorySink):
        total = 0

        def begin(self, size: int) -> object:
            return size

        def write(self, data: object) -> None:
            assert isinstance(data, memoryview)
            self.total += len(data)

        def skip(self, size: int) -> None:
            self.total += size

    length = Length()
    tree = load([stored_layer(tar, tar)], length)
    assert (length.total, tree.bytes) == (size, size)
