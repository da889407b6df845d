"""Compressed images, made by the programs that people have."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator

import pytest

from pull import compressed
from pull.errors import PullError
from tests.support.requirements import need

WAYS = {"gzip": ["gzip", "-c"], "xz": ["xz", "-c", "-0"], "zstd": ["zstd", "-c", "-q"]}
DATA = bytes(2 << 20) + random.Random(7).randbytes(300_000) + b"words " * 300_000


def packed(kind: str, data: bytes = DATA) -> bytes:
    need(WAYS[kind][0])
    return subprocess.run(WAYS[kind], input=data, capture_output=True, check=True).stdout


def pieces(data: bytes, seed: int = 7) -> Iterator[bytes]:
    source, at = random.Random(seed), 0
    while at < len(data):
        size = source.choice((1, 100, 70_000, 1 << 20))
        yield data[at : at + size]
        at += size


@pytest.mark.parametrize("kind", WAYS)
def test_all_comes_out_in_bounded_pieces(kind: str) -> None:
    data = packed(kind)
    assert compressed.kind_of(data) == kind
    found = list(compressed.decompress(kind, pieces(data)))
    assert b"".join(found) == DATA
    assert max(map(len, found)) <= 1 << 20


@pytest.mark.parametrize("kind", WAYS)
def test_several_in_a_row_are_one_image(kind: str) -> None:
    data = packed(kind, b"a" * 5000) + packed(kind, b"b" * 5000)
    assert b"".join(compressed.decompress(kind, [data])) == b"a" * 5000 + b"b" * 5000


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_padding_with_zeros_is_allowed(kind: str) -> None:
    assert b"".join(compressed.decompress(kind, [packed(kind, b"a"), bytes(4000), bytes(96)])) == b"a"


@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize("left", [20, 1000, -9, -1])
def test_what_ends_too_early_is_damaged(kind: str, left: int) -> None:
    with pytest.raises(PullError, match=f"it is no sound {kind}"):
        list(compressed.decompress(kind, pieces(packed(kind)[:left])))


@pytest.mark.parametrize("kind", WAYS)
def test_flipped_bits_are_found(kind: str) -> None:
    data = bytearray(packed(kind))
    data[len(data) // 3] ^= 0x10
    try:
        found = b"".join(compressed.decompress(kind, [bytes(data)]))
    except PullError:
        return
    assert found != DATA  # zstd has no checksum unless it was asked for one: the digest of the image tells


def test_others_are_told_apart() -> None:
    assert [compressed.kind_of(head) for head in (b"", b"QFI\xfb", b"\x1f", bytes(512))] == [""] * 4
