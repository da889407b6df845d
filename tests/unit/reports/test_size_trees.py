"""Where the space goes: sizes add up, and a tree has a bound."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from dibo.reports.model import ReportedFile, SizeNode
from dibo.reports.size_trees import size_tree

NAMES = st.lists(st.sampled_from(["a", "b", "usr", "lib", "x y", "1 smaller"]), min_size=1, max_size=6).map(
    "/".join
)
FILES = st.dictionaries(NAMES, st.integers(min_value=0, max_value=1 << 40), max_size=60)


def file(path: str, size: int, kind: str = "file") -> ReportedFile:
    return ReportedFile(
        path=path.encode(), kind=kind, mode=0o644, owner="root", group="root", size=size, layer=0, package=""
    )


def tree_of(files: dict[str, int], *, most: int = 900) -> SizeNode:
    listed = [file(path, size) for path, size in files.items()]
    return size_tree("all", listed, lambda item: item.path.decode().split("/"), most=most)


def nodes(node: SizeNode) -> Iterator[SizeNode]:
    yield node
    for part in node.parts:
        yield from nodes(part)


@given(FILES, st.integers(min_value=1, max_value=100))
def test_parts_add_up(files: dict[str, int], most: int) -> None:
    tree = tree_of(files, most=most)
    assert (tree.size, tree.files) == (sum(files.values()), len(files))
    every = list(nodes(tree))
    assert len(every) < most + 70
    for node in every:
        if node.parts:
            assert node.files >= sum(part.files for part in node.parts)
            assert node.size >= sum(part.size for part in node.parts)
            sizes = [part.size for part in node.parts if not part.name.endswith(" smaller")]
            assert sizes == sorted(sizes, reverse=True)


def test_small_parts_are_taken_together() -> None:
    tree = tree_of({"large": 1 << 30, **{f"small/{number}": 1 for number in range(500)}})
    assert [(part.name, part.size, part.files) for part in tree.parts] == [
        ("large", 1 << 30, 1),
        ("500 smaller", 500, 500),
    ]


def test_a_path_of_ten_thousand_names_ends() -> None:
    tree = tree_of({"/".join(["d"] * 10_000): 5})
    assert len(list(nodes(tree))) < 40
    assert tree.size == 5


def test_only_files_count() -> None:
    files = [file("a", 10), file("b", 10, "symlink"), file("c", 0, "directory")]
    assert size_tree("all", files, lambda item: [item.path.decode()]).files == 1
