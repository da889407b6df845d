"""Random stacks of layers on three file systems: in the end each file is on the one that its path is on, with the bytes
that it has when all is on one; and what is written there and in no tree was released."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dibo.errors import LayerError
from dibo.images.layers.load import load
from dibo.images.layers.split_by_mount import Divided
from dibo.tree.node import Contents, Node
from tests.properties.test_layers import LINKED, Op, linked_parents, stacks
from tests.support.images.tar_layers import MemorySink, layer

MOUNTS = (b"", b"a", b"a/b", b"d", b"d/e")


class Place(MemorySink):
    """A file system; what stands for a file names it."""

    def __init__(self, name: bytes) -> None:
        super().__init__()
        self.name = name

    def begin(self, size: int) -> object:
        return self.name, super().begin(size)

    def release(self, content: object) -> None:
        assert isinstance(content, tuple)
        name, number = content
        assert name == self.name
        super().release(number)


def files(root: Node) -> dict[bytes, Node]:
    found: dict[bytes, Node] = {}
    todo = [(b"", root)]
    while todo:
        path, node = todo.pop()
        for name, child in (node.children or {}).items():
            below = path + b"/" + name if path else name
            if child.children is not None:
                todo.append((below, child))
            elif child.content is not None:
                found[below] = child
    return found


def tops(root: Node) -> set[bytes]:
    """Which mounts are there: directories, with no symlink on the way."""
    found = {b""}
    for mount in MOUNTS[1:]:
        node: Node | None = root
        for name in mount.split(b"/"):
            node = (node.children or {}).get(name) if node is not None else None
        if node is not None and node.children is not None:
            found.add(mount)
    return found


def where(path: bytes, mounts: set[bytes]) -> bytes:
    return max((mount for mount in mounts if not mount or path.startswith(mount + b"/")), key=len)


@settings(max_examples=150)
@given(st.one_of(stacks(LINKED), linked_parents()))
def test_every_file_is_where_its_path_is(stack: list[list[Op]]) -> None:
    parts = [layer(*(op.entry() for op in ops)) for ops in stack]
    whole = MemorySink()
    try:
        wanted = load(parts, whole)
    except LayerError:
        return
    places = {name: Place(name) for name in MOUNTS}
    contents: dict[bytes, Contents] = dict(places)
    tree = load(parts, Divided(contents))
    mounts = tops(tree.root)
    found = files(tree.root)
    expected = files(wanted.root)
    assert found.keys() == expected.keys()
    used: dict[bytes, set[int]] = {name: set() for name in MOUNTS}
    owners: dict[int, set[bytes]] = {}
    for path, node in found.items():
        assert isinstance(node.content, tuple)
        name, number = node.content
        assert name == where(path, mounts)
        assert number not in places[name].released
        assert bytes(places[name].files[number]) == whole.of(expected[path])
        assert node.size == expected[path].size
        used[name].add(number)
        owners.setdefault(id(node), set()).add(name)
    assert all(len(each) == 1 for each in owners.values())
    for name, place in places.items():
        assert used[name] | set(place.released) == set(range(len(place.files)))
