"""The walker of paths, over a tree of dictionaries: text is a link, None a file."""

from __future__ import annotations

from typing import Any

import pytest

from dibo.formats.paths import (
    FREE_NAMES,
    MOST_LINK_BYTES,
    MOST_LINKS,
    TooManyLinks,
    Trail,
    find,
    follow,
    split,
)

Tree = dict[str, Any]


def lookup(trail: Trail[Any], name: bytes) -> Any:
    here = trail[-1][1]
    child = here.get(name.decode(), False) if isinstance(here, dict) else False
    return None if child is False else child.encode() if isinstance(child, str) else child or {"file": None}


TREE: Tree = {
    "usr": {"lib": {"x": {"here": {}}, "up": "../../etc"}},
    "lib": "usr/lib",
    "etc": {"conf": {}, "abs": "/lib/x"},
    "out": "../../../etc",
    "self": "self",
    "a": "b",
    "b": "a",
    "chain0": "etc",
    **{f"chain{n}": f"chain{n - 1}" for n in range(1, MOST_LINKS + 2)},
}


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/", []),
        ("", []),
        ("./usr//lib/", ["usr", "lib"]),
        ("lib/x", ["usr", "lib", "x"]),
        ("lib/up/conf", ["etc", "conf"]),
        ("out/conf", ["etc", "conf"]),
        ("etc/abs/here", ["usr", "lib", "x", "here"]),
        ("../../etc", ["etc"]),
        ("lib/..", ["usr"]),
        (f"chain{MOST_LINKS - 1}", ["etc"]),
        ("nothing", None),
        ("etc/nothing/x", None),
    ],
)
def test_ways(path: str, names: list[str] | None) -> None:
    trail = follow(TREE, split(path), lookup)
    assert (None if trail is None else [name.decode() for name, _ in trail[1:]]) == names


@pytest.mark.parametrize("path", ["self", "a", "b/x", f"chain{MOST_LINKS}"])
def test_circles(path: str) -> None:
    with pytest.raises(TooManyLinks):
        follow(TREE, split(path), lookup)
    assert find(TREE, path, lookup) is None


def test_long_links_add_up() -> None:
    """Lookups are counted: forty links of 4096 bytes each led by 65,000 names."""
    asked = []
    half = "etc/../" * (MOST_LINK_BYTES // 14)
    tree: Tree = {"etc": {}, "one": f"{half}etc", "two": f"{half}one", "three": f"{half}two"}

    def counted(trail: Trail[Any], name: bytes) -> Any:
        asked.append(name)
        return lookup(trail, name)

    assert follow(tree, split("one"), counted) is not None
    with pytest.raises(TooManyLinks):
        follow(tree, split("three"), counted)
    assert len(asked) < MOST_LINK_BYTES


def test_names_of_links_are_told_but_for_a_few() -> None:
    spent: list[int] = []
    tree: Tree = {"a": {}, "few": "a/../" * (FREE_NAMES // 2), "more": "few/../" * 2 + "a", "plain": {}}
    follow(tree, split("few"), lookup, spent.append)
    follow(tree, split("plain"), lookup, spent.append)
    assert spent == []
    follow(tree, split("more"), lookup, spent.append)
    assert sum(spent) == 5 + 2 * FREE_NAMES - FREE_NAMES
