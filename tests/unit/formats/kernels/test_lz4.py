"""LZ4's legacy frame: against lz4(1), and bytes of any kind."""

from __future__ import annotations

import contextlib
import random
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.formats.kernels.errors import KernelImageError
from dibo.formats.kernels.lz4 import MAGIC, decompress
from tests.support.requirements import need

LIMIT = 64 << 20


def frame(*blocks: bytes) -> bytes:
    return MAGIC + b"".join(struct.pack("<I", len(block)) + block for block in blocks)


def test_literals_and_a_match_that_overlaps_itself() -> None:
    assert decompress(frame(b"\x35abc\x03\x00" + b"\x10x"), limit=LIMIT) == b"abcabcabcabcx"


@pytest.mark.parametrize("kind", ["text", "chance", "zeros", "mixed"])
def test_against_lz4(tmp_path: Path, kind: str) -> None:
    need("lz4")
    chance = random.Random(5)
    data = {
        "text": b"".join(b"line %d\n" % (number % 777) for number in range(300_000)),
        "chance": chance.randbytes(300_000),
        "zeros": bytes(9 << 20),
        "mixed": b"".join(chance.randbytes(chance.randrange(40)) * chance.randrange(9) for _ in range(9000)),
    }[kind]
    (tmp_path / "data").write_bytes(data)
    subprocess.run(["lz4", "-l", "-9", "-q", "data", "data.lz4"], cwd=tmp_path, check=True)
    packed = (tmp_path / "data.lz4").read_bytes()
    assert decompress(packed, limit=LIMIT) == data
    assert decompress(packed + struct.pack("<I", len(data)), limit=LIMIT) == data, "with the size behind it"


@pytest.mark.parametrize(
    "block",
    [
        b"\x10x\x00\x00",  # a match that goes back by nothing
        b"\x10x\x02\x00",  # before the beginning
        b"\xf0\xff\xff",  # a length that does not end
        b"\x50abc",  # fewer literals than it says
        b"\x1fx\x01\x00" + b"\xff" * 40_000 + b"\x00",  # more than a block has
    ],
)
def test_damaged_blocks(block: bytes) -> None:
    with pytest.raises(KernelImageError):
        decompress(frame(block), limit=LIMIT)


def test_the_limit() -> None:
    with pytest.raises(KernelImageError, match="more than 10 bytes"):
        decompress(frame(b"\x35abc\x03\x00\x10x"), limit=10)


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_any_bytes(blocks: list[bytes]) -> None:
    with contextlib.suppress(KernelImageError):
        assert len(decompress(frame(*blocks), limit=1 << 16)) <= 1 << 16
