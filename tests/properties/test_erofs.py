"""Any tree goes through erofs and comes back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties.tree_strategies import NAMES, roots
from tests.support.disks.memory_disk import directory, file
from tests.unit.formats.erofs.conftest import made


@settings(max_examples=60)
@given(st.data())
def test_any_tree_comes_back(data: st.DataObject) -> None:
    made(lambda contents: data.draw(roots(contents)))


@settings(max_examples=15)
@given(st.sets(NAMES, min_size=1), st.integers(1, 150), st.integers(0, 6))
def test_any_directory_comes_back(names: set[bytes], copies: int, length: int) -> None:
    inner = directory()
    one = directory()
    inner.children = {
        name[: 255 - 10 * length] + b"%d" % n * length: one for name in names for n in range(copies)
    }

    def build(contents: object) -> object:
        leaf = file(contents, b"one")  # type: ignore[arg-type]
        inner.children = dict.fromkeys(inner.children or {}, leaf)
        return directory(d=inner)

    made(build)  # type: ignore[arg-type]
