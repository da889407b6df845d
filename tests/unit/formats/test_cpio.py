"""Archives of an initramfs that are damaged or hostile."""

from __future__ import annotations

import pytest

from dibo.errors import DiskImageError
from dibo.formats.cpio import after_zeros, entries
from dibo.formats.source import check


class _Bytes:
    """A Source in memory."""

    def __init__(self, data: bytes) -> None:
        self._data, self.size = data, len(data)

    def read(self, offset: int, size: int) -> bytes:
        check(offset, size, self.size)
        return self._data[offset : offset + size]


def _entry(name: bytes, data: bytes = b"", *, size: int | None = None, length: int | None = None) -> bytes:
    length = len(name) + 1 if length is None else length
    numbers = (1, 0o100644, 0, 0, 1, 7, len(data) if size is None else size, 0, 0, 0, 0, length, 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name + b"\0"
    head += bytes(-len(head) % 4)
    return head + data + bytes(-len(data) % 4)


TRAILER = _entry(b"TRAILER!!!")


def test_entries() -> None:
    source = _Bytes(_entry(b"a", b"12345") + TRAILER + bytes(512) + b"next")
    first, last = entries(source)
    assert (first.name, first.size, first.mtime, source.read(first.offset, 5)) == (b"a", 5, 7, b"12345")
    assert last.name == b"TRAILER!!!"
    assert after_zeros(source, last.offset) == source.size - 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"070701",
        _entry(b"a", b"1"),
        _entry(b"a", size=1 << 31) + TRAILER,
        _entry(b"a", length=0) + TRAILER,
        _entry(b"a", length=0xFFFFFFFF) + TRAILER,
        _entry(b"a").replace(b"00000001", b"0000000g", 1) + TRAILER,
        _entry(b"a").replace(b"070701", b"070707", 1) + TRAILER,
    ],
)
def test_damaged(data: bytes) -> None:
    with pytest.raises(DiskImageError):
        list(entries(_Bytes(data)))
