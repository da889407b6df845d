"""Random stacks of layers against a model: a dictionary to which entries are applied one after the other.

The model knows no layers but for whiteouts, which come before all else of their layer, and hard links, whose targets
are looked up in their own layer first, then in those below as they were before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dibo.errors import LayerError
from dibo.images.layers.load import Tree
from tests.support.images.tar_layers import (
    MemorySink,
    directory,
    file,
    hardlink,
    header,
    listing,
    load_parts,
    symlink,
)

Path = tuple[str, ...]
EXAMPLES = 100


@dataclasses.dataclass(frozen=True, eq=False)
class Inode:
    """`what` as in tests.support.images.tar_layers.listing."""

    what: str
    mode: int = 0o755


@dataclasses.dataclass(frozen=True)
class Op:
    kind: str
    path: str
    target: str = ""
    content: str = ""
    mode: int = 0o755

    def entry(self) -> bytes:
        name, target = self.path.encode(), self.target.encode()
        parent, slash, last = name.rpartition(b"/")
        match self.kind:
            case "file":
                return file(name, self.content.encode(), mode=self.mode)
            case "dir":
                return directory(name, self.mode)
            case "symlink":
                return symlink(name, target)
            case "fifo":
                return header(name, b"6", mode=self.mode)
            case "link":
                return hardlink(name, target)
            case "whiteout":
                return file(parent + slash + b".wh." + last)
            case "opaque":
                return file(name + b"/.wh..wh..opq")
            case _:
                raise AssertionError(self.kind)


class Impossible(Exception):
    """The layer makes no sense."""


class Model:
    """Paths and what is there. Directories are inodes of their own."""

    def __init__(self) -> None:
        self.tree: dict[Path, Inode] = {}

    def remove(self, path: Path) -> None:
        for other in [other for other in self.tree if other[: len(path)] == path]:
            del self.tree[other]

    def real(self, path: Path, *, make: bool) -> Path | None:
        """`path` with symlinks followed, a directory; made if it is missing."""
        here: Path = ()
        todo = list(path)
        for _ in range(100):
            if not todo:
                return here
            here = (*here, todo.pop(0))
            if here[-1] == "..":
                here = here[:-2]
                continue
            found = self.tree.get(here)
            if found and found.what.startswith("-> "):
                target = found.what[3:]
                here = () if target.startswith("/") else here[:-1]
                todo = [part for part in target.split("/") if part not in ("", ".")] + todo
            elif not found or found.what != "dir":
                if not make:
                    return None
                self.remove(here)
                self.tree[here] = Inode("dir")
        raise Impossible("symlinks in a circle")

    def at(self, path: str, *, make: bool = True) -> Path | None:
        *parents, last = path.split("/")
        parent = self.real(tuple(parents), make=make)
        return None if parent is None else (*parent, last)

    def apply(self, layer: list[Op]) -> None:
        before = Model()
        before.tree = dict(self.tree)
        own: set[Inode] = set()
        for op in layer:
            if op.kind == "whiteout" and (path := self.at(op.path, make=False)):
                self.remove(path)
            if op.kind == "opaque" and (path := self.real(tuple(op.path.split("/")), make=False)):
                inode = self.tree[path]
                self.remove(path)
                self.tree[path] = inode
        later: list[tuple[Path, str, Inode]] = []
        for op in layer:
            if op.kind in ("whiteout", "opaque"):
                continue
            path = self.at(op.path)
            assert path
            for length in range(1, len(path)):
                own.add(self.tree[path[:length]])
            old = self.tree.get(path)
            if op.kind == "link":
                self._link(op, path, own, before, later)
                continue
            new = Inode(
                {"dir": "dir", "file": op.content, "fifo": "fifo", "symlink": f"-> {op.target}"}[op.kind],
                op.mode,
            )
            if not (op.kind == "dir" and old and old.what == "dir"):
                self.remove(path)
            self.tree[path] = new
            own.add(new)
        for path, target, waiting in later:
            if self.tree.get(path) is waiting:
                found = self.lookup(target)
                if found is None or found.what in ("dir", "waiting"):
                    raise Impossible("hard link to nothing")
                self.tree[path] = found

    def lookup(self, path: str) -> Inode | None:
        where = self.at(path, make=False)
        return self.tree.get(where) if where else None

    def _link(
        self, op: Op, path: Path, own: set[Inode], before: Model, later: list[tuple[Path, str, Inode]]
    ) -> None:
        target = self.lookup(op.target)
        if target not in own:
            target = before.lookup(op.target)
        if target and target.what == "dir":
            raise Impossible("hard link to a directory")
        self.remove(path)
        if target is None:
            target = Inode("waiting")
            later.append((path, op.target, target))
        elif target.what == "waiting":
            later.append((path, next(end for _, end, inode in later if inode is target), target))
        self.tree[path] = target
        own.add(target)

    def listing(self) -> dict[str, str]:
        return {"/".join(path): inode.what for path, inode in sorted(self.tree.items())}


NAMES = st.sampled_from("ab")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
MODES = st.sampled_from([0o700, 0o755, 0o4711])
CONTENTS = st.integers(0, 99).map(str)
PLAIN = st.one_of(
    st.builds(Op, kind=st.just("file"), path=PATHS, content=CONTENTS, mode=MODES),
    st.builds(Op, kind=st.just("dir"), path=PATHS, mode=MODES),
    st.builds(Op, kind=st.just("fifo"), path=PATHS, mode=MODES),
    st.builds(Op, kind=st.just("whiteout"), path=PATHS),
    st.builds(Op, kind=st.just("opaque"), path=PATHS),
)
LINKED = st.one_of(PLAIN, PLAIN, st.builds(Op, kind=st.just("link"), path=PATHS, target=PATHS))


def stacks(ops: st.SearchStrategy[Op]) -> st.SearchStrategy[list[list[Op]]]:
    return st.lists(st.lists(ops, max_size=6), min_size=1, max_size=5)


def flatten(stack: list[list[Op]]) -> tuple[Tree, MemorySink] | None:
    try:
        return load_parts(*([op.entry() for op in layer] for layer in stack))
    except LayerError:
        return None


def expected(stack: list[list[Op]]) -> Model | None:
    model = Model()
    try:
        for layer in stack:
            model.apply(layer)
    except Impossible:
        return None
    return model


def compare(stack: list[list[Op]]) -> None:
    result = flatten(stack)
    model = expected(stack)
    assert (result is None) == (model is None)
    if result is None or model is None:
        return
    tree, memory = result
    assert listing(tree, memory) == model.listing()
    # Names of one inode are names of one node, and modes are as they were given.
    nodes: dict[Inode, object] = {}
    for path, inode in model.tree.items():
        node = tree.root
        for part in path:
            assert node.children is not None
            node = node.children[part.encode()]
        if inode.what != "dir":
            assert nodes.setdefault(inode, node) is node
        if not inode.what.startswith("-> "):
            assert node.mode & 0o7777 == inode.mode
    assert len(set(map(id, nodes.values()))) == len(nodes)
    # What is in no tree was released or never written.
    kept = set(range(len(memory.files))) - set(memory.released)
    assert len(kept) == sum(
        1 for inode in nodes if inode.what not in ("fifo", "") and inode.what[:3] != "-> "
    )


@settings(max_examples=EXAMPLES)
@given(stacks(PLAIN))
def test_whiteouts_types_and_implied_parents(stack: list[list[Op]]) -> None:
    compare(stack)


@settings(max_examples=EXAMPLES)
@given(stacks(LINKED))
def test_hard_links(stack: list[list[Op]]) -> None:
    compare(stack)


@st.composite
def linked_parents(draw: Callable[..., Any]) -> list[list[Op]]:
    """A lowest layer with directories and symlinks to them, and others that go through these."""
    targets = st.sampled_from(["d", "/d", "d/e", "../d", "./d/../d", "s", "/nowhere/x", "/"])
    bottom = [
        Op("dir", "d", mode=0o700),
        Op("file", "d/a", content="0"),
        Op("dir", "d/e"),
        Op("symlink", "s", draw(targets.filter(lambda target: target != "s"))),
        Op("symlink", "t", draw(targets)),
        Op("symlink", "d/u", draw(targets)),
    ]
    through = st.sampled_from(["s", "t", "d/u", "t/e", "d", "d/e", "nowhere"])
    paths = st.builds("/".join, st.tuples(through, st.sampled_from("abc")))
    ops = st.one_of(
        st.builds(Op, kind=st.just("file"), path=paths, content=CONTENTS),
        st.builds(Op, kind=st.just("whiteout"), path=paths),
    )
    others: list[list[Op]] = draw(st.lists(st.lists(ops, max_size=3), min_size=1, max_size=3))
    return [bottom, *others]


@settings(max_examples=EXAMPLES)
@given(linked_parents())
def test_parents_that_are_symlinks(stack: list[list[Op]]) -> None:
    model = Model()
    try:
        for layer in stack:
            places = [model.at(op.path) for op in layer if op.kind == "file"]
            if len(set(places)) < len(places):
                return  # which of two names of one file counts is left open
            model.apply(layer)
    except Impossible:
        assert flatten(stack) is None
        return
    result = flatten(stack)
    assert result is not None
    assert listing(*result) == model.listing()
