"""Results come in the order of the pieces, and few pieces wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dibo.formats.streams.in_threads import in_order


def test_in_order() -> None:
    assert list(in_order(lambda number: number * 2, range(1000), threads=4)) == [2 * n for n in range(1000)]


def test_few_pieces_wait() -> None:
    taken = 0

    def stream() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    results = in_order(lambda number: number, stream(), threads=2)
    for done in range(100):
        assert next(results) == done
        assert taken <= done + 6
    results.close()  # type: ignore[attr-defined]


def test_an_error_reaches_the_reader() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda number: 1 // number, [1, 0, 1]))
