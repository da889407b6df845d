"""A stream-optimised VMDK, read as its specification says: by markers from the front, and by tables from the end."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from uuid import UUID

import pytest

from dibo.errors import OutputError
from dibo.formats.vm_disks.identity import ImageIdentity
from dibo.formats.vm_disks.vmdk import descriptor, write_vmdk
from dibo.units import KIB, MIB, TIB
from tests.support.disks.sample_disk import sample_disk

IDENTITY = ImageIdentity(uuid=UUID("12345678-1234-5678-1234-567812345678"), time=0)


def vmdk(path: Path) -> bytes:
    out = io.BytesIO()
    with path.open("rb") as file:
        assert write_vmdk(file, path.stat().st_size, out, identity=IDENTITY) == len(out.getvalue())
    return out.getvalue()


def by_markers(data: bytes, size: int) -> bytes:
    """The disk, read from the front."""
    disk, at, last = bytearray(size + 64 * KIB), 128 * 512, -1
    kinds = []
    while at < len(data):
        number, length, kind = struct.unpack_from("<QII", data, at)
        if length:
            assert number > last, "grains come in their order"
            last = number
            grain = zlib.decompress(data[at + 12 : at + 12 + length])
            assert len(grain) == 64 * KIB
            disk[number * 512 : number * 512 + len(grain)] = grain
            at += -(-(12 + length) // 512) * 512
        else:
            kinds.append(kind)
            at += 512 + number * 512
    assert kinds[-3:] == [2, 3, 0]
    return bytes(disk[:size])


def by_tables(data: bytes, size: int) -> bytes:
    """The disk, read from the footer."""
    disk = bytearray(size + 64 * KIB)
    footer = data[-1024:-512]
    assert footer[:4] == b"KDMV"
    (directory_at,) = struct.unpack_from("<Q", footer, 56)
    tables = struct.unpack_from(f"<{-(-size // (32 * MIB))}I", data, directory_at * 512)
    for number, table in enumerate(tables):
        if table:
            for place, sector in enumerate(struct.unpack_from("<512I", data, table * 512)):
                if sector:
                    _, length = struct.unpack_from("<QI", data, sector * 512)
                    grain = zlib.decompress(data[sector * 512 + 12 : sector * 512 + 12 + length])
                    start = (number * 512 + place) * 64 * KIB
                    disk[start : start + len(grain)] = grain
    return bytes(disk[:size])


@pytest.mark.parametrize("size", [12 * MIB, 70 * MIB, 33 * MIB + 512])
def test_read_back(tmp_path: Path, size: int) -> None:
    disk = sample_disk(tmp_path / "disk", size=size)
    data = vmdk(tmp_path / "disk")
    assert by_markers(data, size) == disk
    assert by_tables(data, size) == disk
    assert struct.unpack_from("<Q", data, 12) == (size // 512,)


def test_the_same_again(tmp_path: Path) -> None:
    sample_disk(tmp_path / "disk")
    assert vmdk(tmp_path / "disk") == vmdk(tmp_path / "disk")


def test_the_descriptor() -> None:
    text = descriptor(12 * MIB, IDENTITY).rstrip(b"\0").decode()
    assert 'createType="streamOptimized"' in text
    assert f'RDONLY {12 * MIB // 512} SPARSE "disk.vmdk"' in text
    assert "CID=12345678\n" in text


def test_a_content_id_that_stands_for_none_is_not_used() -> None:
    identity = ImageIdentity(uuid=UUID(int=0xFFFFFFFF), time=0)
    assert b"CID=00000001\n" in descriptor(MIB, identity)


def test_too_large() -> None:
    with pytest.raises(OutputError, match="32 bits"):
        write_vmdk(io.BytesIO(), 3 * TIB, io.BytesIO(), identity=IDENTITY)
