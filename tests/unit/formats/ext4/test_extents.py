"""Extent trees of runs that no test disk is large enough for."""

from __future__ import annotations

import struct

from dibo.formats.ext4.extents import extent_tree


def test_extents_are_of_32768_blocks_at_most() -> None:
    tree, taken = extent_tree([(5, 2**32 + 1000, 70_000)], 0, lambda: 0, lambda block, data: None)
    assert taken == 0
    assert struct.unpack_from("<HHHHI", tree) == (0xF30A, 3, 4, 0, 0)
    found = [struct.unpack_from("<IHHI", tree, 12 + 12 * at) for at in range(3)]
    assert found == [(5, 32768, 1, 1000), (32773, 32768, 1, 33768), (65541, 4464, 1, 66536)]


def test_three_levels() -> None:
    blocks: dict[int, bytes] = {}
    runs = [(2 * at, 10 * at, 1) for at in range(340 * 340 * 4 + 1)]
    tree, taken = extent_tree(runs, 0, lambda: len(blocks) + 1, blocks.__setitem__)
    assert struct.unpack_from("<HHHH", tree) == (0xF30A, 1, 4, 3)
    assert taken == len(blocks) == 340 * 4 + 1 + 5 + 1
