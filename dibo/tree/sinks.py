"""Simple places for the bytes of files (dibo.tree.node.Contents): nowhere, and several places at once."""

from __future__ import annotations

from dibo.formats.file_range import FileRange
from dibo.tree.node import Buffer, Contents, Node, write_range
from dibo.tree.query import walk


class Nowhere:
    """For callers that need only the tree."""

    def begin(self, size: int) -> object:
        return object()

    def write(self, data: Buffer) -> None:
        pass

    def write_range(self, source: FileRange) -> None:
        pass

    def skip(self, size: int) -> None:
        pass

    def flush(self) -> None:
        pass

    def release(self, content: object) -> None:
        pass


class Several:
    """What stands for a file here is a tuple, one of each place; `choose` makes a tree speak of one place."""

    def __init__(self, *places: Contents) -> None:
        self._places = places

    def begin(self, size: int) -> object:
        return tuple(place.begin(size) for place in self._places)

    def write(self, data: Buffer) -> None:
        for place in self._places:
            place.write(data)

    def write_range(self, source: FileRange) -> None:
        for place in self._places:
            write_range(place, source)

    def skip(self, size: int) -> None:
        for place in self._places:
            place.skip(size)

    def flush(self) -> None:
        for place in self._places:
            place.flush()

    def release(self, content: object) -> None:
        assert isinstance(content, tuple)
        for place, its in zip(self._places, content, strict=True):
            place.release(its)


def choose(root: Node, place: int, all_of: dict[Node, object]) -> None:
    """Make the files of a tree speak of the contents in one of several places. `all_of` remembers the others; hand the
    same dictionary to every call for a tree, empty to the first."""
    if not all_of:
        all_of.update((node, node.content) for node in walk(root) if node.content is not None)
    for node, content in all_of.items():
        node.content = content[place] if isinstance(content, tuple) else content
