"""Plain files as disks: what is written is read, what is not stays a hole, and a full disk is said."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.errors import OutputError
from dibo.formats import raw
from dibo.formats.raw import RawFile, write_all
from dibo.formats.sparse import BLOCK
from dibo.formats.tee import Tee
from dibo.tree.node import Buffer
from tests.unit.disk.sample_requests import Memory

SIZE = 64 * BLOCK
pieces = st.lists(st.tuples(st.booleans(), st.integers(0, 2 * BLOCK)), max_size=8)


def blocks(path: Path) -> int:
    """Of 4 KiB, that the file's content takes; the file system's own notes on it may be a few more."""
    return path.stat().st_blocks * 512 // BLOCK


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@given(pieces=pieces, offset=st.integers(0, 2 * BLOCK))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[bool, int]], offset: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "disk"
    buffers: list[Buffer] = [bytearray((b"x" if full else b"\0") * size) for full, size in pieces]
    with RawFile(path, SIZE) as disk:
        disk.write(offset, buffers)
    assert path.read_bytes() == (bytes(offset) + b"".join(buffers)).ljust(SIZE, b"\0")


def test_what_the_file_held_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"old" * SIZE)
    with RawFile(path, SIZE) as disk:
        disk.write(5, [b"new"])
    assert path.read_bytes() == b"\0\0\0\0\0new".ljust(SIZE, b"\0")


def test_small_writes_leave_holes_and_large_ones_are_not_looked_through(tmp_path: Path) -> None:
    with RawFile(tmp_path / "small", 16 * SIZE) as disk:
        for offset in range(0, 16 * SIZE, 8 * BLOCK):
            disk.write(offset, [bytes(3 * BLOCK), b"x" * BLOCK, bytes(4 * BLOCK)])
    assert 128 <= blocks(tmp_path / "small") < 140
    with RawFile(tmp_path / "large", 16 * SIZE) as disk:
        disk.write(0, [bytes(16 * SIZE)])
    assert blocks(tmp_path / "large") >= 1024


def test_more_buffers_than_one_call_takes(tmp_path: Path) -> None:
    buffers = [bytes([index % 255 + 1]) * 3 for index in range(3 * os.sysconf("SC_IOV_MAX") + 7)]
    large = [*buffers, b"y" * raw._SCANNED]
    with RawFile(tmp_path / "disk", SIZE) as disk:
        disk.write(1, large)
    assert (tmp_path / "disk").read_bytes() == (b"\0" + b"".join(large)).ljust(SIZE, b"\0")


def test_a_system_that_takes_less_than_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev
    calls = 0

    def slow(fd: int, buffers: list[Buffer], offset: int) -> int:
        nonlocal calls
        calls += 1
        return real(fd, [b"".join(buffers)[: 1 + calls % 5]], offset)

    monkeypatch.setattr(os, "pwritev", slow)
    with (tmp_path / "disk").open("wb") as file:
        write_all(
            file.fileno(), 3, [b"", b"a", b"bcdefghij", memoryview(b"klm"), b"", bytearray(b"nopqrstuv")]
        )
    assert (tmp_path / "disk").read_bytes() == b"\0\0\0abcdefghijklmnopqrstuv"
    assert calls > 5


@pytest.mark.parametrize("punch", [True, False])
def test_what_is_discarded_reads_as_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, punch: bool
) -> None:
    if not punch:
        monkeypatch.setattr(raw, "_punch", lambda *_: False)
    path = tmp_path / "disk"
    with RawFile(path, SIZE) as disk:
        disk.write(0, [b"x" * SIZE])
        disk.discard(BLOCK + 1, 8 * BLOCK)
        disk.discard(BLOCK, 0)
        assert path.read_bytes() == b"x" * (BLOCK + 1) + bytes(8 * BLOCK) + b"x" * (SIZE - 9 * BLOCK - 1)
        if punch:
            assert 57 <= blocks(path) < 64
        disk.write(4 * BLOCK, [b"again"])
    assert path.read_bytes()[4 * BLOCK : 4 * BLOCK + 5] == b"again"


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (SIZE, 1), (SIZE - 1, 2), (0, SIZE + 1)])
def test_what_is_not_on_the_disk(tmp_path: Path, offset: int, size: int) -> None:
    with RawFile(tmp_path / "disk", SIZE) as disk:
        with pytest.raises(ValueError, match="are not on a disk of"):
            disk.write(offset, [b"x" * size])
        with pytest.raises(ValueError, match="are not on a disk of"):
            disk.discard(offset, size)


def failing(error: OSError) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "says", "hint"),
    [
        (OSError(28, "No space left on device"), "cannot write out/web.raw: the disk is full", "make room"),
        (OSError(122, "Disk quota exceeded"), "cannot write out/web.raw: the disk is full", "make room"),
        (OSError(27, "File too large"), "cannot write out/web.raw: File too large", "ulimit"),
        (OSError(5, "Input/output error"), "cannot write out/web.raw: Input/output error", ""),
    ],
)
def test_what_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, says: str, hint: str
) -> None:
    with RawFile(tmp_path / "part", SIZE, name=Path("out/web.raw")) as disk:
        monkeypatch.setattr(os, "pwritev", failing(error))
        for buffers in ([b"x"], [b"x" * SIZE]):
            with pytest.raises(OutputError) as caught:
                disk.write(0, buffers)
            assert caught.value.message == says
            assert hint in caught.value.hint
    monkeypatch.setattr(os, "ftruncate", failing(error))
    before = open_files()
    with pytest.raises(OutputError):
        RawFile(tmp_path / "part", SIZE)
    assert open_files() == before


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*nowhere/disk: No such file or directory"):
        RawFile(tmp_path / "nowhere" / "disk", SIZE)


def test_closing_twice(tmp_path: Path) -> None:
    disk = RawFile(tmp_path / "disk", SIZE)
    disk.close()
    disk.close()


def test_a_tee_writes_to_each() -> None:
    one, other = Memory(SIZE), Memory(SIZE)
    tee = Tee(one, other)
    tee.write(10, [b"abc", b"def"])
    tee.discard(12, 2)
    assert one.data == other.data == (bytes(10) + b"ab\0\0ef").ljust(SIZE, b"\0")
