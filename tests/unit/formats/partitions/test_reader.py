"""Partition tables, sound and otherwise."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest

from dibo.errors import DiskImageError
from dibo.formats.partitions import gpt
from dibo.formats.partitions.reader import PartitionPlace, places
from dibo.inspect.volumes import volumes
from dibo.layout.partition_table import encode_gpt
from tests.support.disks.boot_disks import MIB, Bytes, ext4, survives
from tests.unit.disk.sample_requests import placed


def mbr(*records: tuple[int, int, int]) -> bytes:
    """Type, first sector, sectors."""
    packed = b"".join(struct.pack("<B3xB3xII", 0, *record) for record in records)
    return bytes(446) + packed.ljust(64, b"\0") + b"\x55\xaa"


def with_gpt() -> bytearray:
    table = encode_gpt(placed())
    disk = bytearray(72 * MIB)
    disk[: len(table.head)] = table.head
    disk[table.tail_offset :] = table.tail
    return disk


def test_gpt_from_either_copy() -> None:
    disk = with_gpt()
    wanted = tuple(
        PartitionPlace(
            number=each.number,
            offset=each.first_lba * 512,
            size=(each.last_lba - each.first_lba + 1) * 512,
            kind=each.type_guid,
        )
        for each in placed().partitions
    )
    assert places(Bytes(disk)) == wanted
    assert places(Bytes(disk + bytes(MIB))) == wanted  # grown, and nobody moved the second copy
    disk[512:600] = bytes(88)
    assert places(Bytes(disk)) == wanted
    with pytest.raises(DiskImageError, match="partition table is damaged"):
        places(Bytes(disk[: 70 * MIB]))


def test_gpt_of_sectors_of_4096_bytes() -> None:
    entry = gpt.Entry(
        number=1,
        type_guid=UUID(int=1),
        guid=UUID(int=2),
        first_lba=256,
        last_lba=511,
        attributes=0,
        name="esp",
    )
    table = gpt.encode([entry], size=4 * MIB, disk_guid=UUID(int=3), sector=4096)
    disk = bytearray(4 * MIB)
    disk[: len(table.head)] = table.head
    disk[table.tail_offset :] = table.tail
    expected = (PartitionPlace(number=1, offset=MIB, size=MIB, kind=UUID(int=1)),)
    assert places(Bytes(disk)) == expected
    disk[4096 + 16] ^= 1  # the checksum of the first header
    assert places(Bytes(disk)) == expected
    disk[-4096 + 16] ^= 1
    with pytest.raises(DiskImageError, match="partition table is damaged"):
        places(Bytes(disk))


def test_mbr_with_logical_partitions() -> None:
    disk = bytearray(8 * MIB)
    disk[:512] = mbr((0x83, 2048, 2048), (0, 0, 0), (0x0F, 8192, 8192), (0x82, 1 << 30, 5))
    disk[8192 * 512 : 8193 * 512] = mbr((0x83, 63, 100), (0x05, 1000, 1000))
    disk[9192 * 512 : 9193 * 512] = mbr((0x83, 63, 200), (0, 0, 0))
    assert [(place.number, place.offset // 512, place.size // 512) for place in places(Bytes(disk))] == [
        (1, 2048, 2048),
        (5, 8192 + 63, 100),
        (6, 9192 + 63, 200),
    ]


def test_logical_partitions_in_a_circle() -> None:
    disk = bytearray(8 * MIB)
    disk[:512] = mbr((0x05, 8192, 8192))
    disk[8192 * 512 : 8193 * 512] = mbr((0x83, 63, 100), (0x05, 0, 1000))
    assert [place.number for place in places(Bytes(disk))] == [5]


def test_a_partition_that_ends_beyond_the_disk_is_cut() -> None:
    disk = bytearray(MIB)
    disk[:512] = mbr((0x83, 1024, 1 << 30))
    assert places(Bytes(disk)) == (PartitionPlace(number=1, offset=MIB // 2, size=MIB // 2, kind=0x83),)


def test_none() -> None:
    assert places(Bytes(b"")) == ()
    assert places(Bytes(bytes(MIB))) == ()
    disk = bytearray(MIB)
    disk[446], disk[510:512] = 0x33, b"\x55\xaa"  # code of some boot sector
    assert places(Bytes(disk)) == ()


def test_volumes_say_what_they_are() -> None:
    root = ext4()
    disk = bytearray(2 * MIB) + root + bytes(2 * MIB)
    disk[:512] = mbr((0x83, 4096, len(root) // 512), (0x83, 4096 + len(root) // 512, 4096))
    one, other = volumes(Bytes(disk))
    assert str(one) == "partition 1: ext4 'cloudimg-rootfs'"
    assert str(other) == "partition 2: nothing known"
    (alone,) = volumes(Bytes(root))
    assert (alone.name, alone.kind) == ("the disk", "ext4")
    damaged = bytearray(root)
    damaged[1024 + 0x18] = 9
    (bad,) = volumes(Bytes(damaged))
    assert (bad.system, bad.trouble) == (None, "the ext4 claims to have blocks of 2^19 bytes")


def test_volumes_that_others_read() -> None:
    xfs = bytearray(b"XFSB".ljust(MIB, b"\0"))
    xfs[32:48], xfs[108:112] = bytes(range(16)), b"data"
    (volume,) = volumes(Bytes(xfs))
    assert (volume.kind, volume.label, volume.uuid) == ("xfs", "data", "00010203-0405-0607-0809-0a0b0c0d0e0f")
    for magic, at, kind in (
        (b"LUKS\xba\xbe", 0, "LUKS"),
        (b"LABELONE", 512, "LVM"),
        (b"CD001", 0x8001, "iso9660"),
    ):
        disk = bytearray(MIB)
        disk[at : at + len(magic)] = magic
        assert [volume.kind for volume in volumes(Bytes(disk))] == [kind]


def test_whatever_is_broken_is_an_error_or_none() -> None:
    disk = bytes(with_gpt()[: 2 * MIB])
    assert survives(disk, lambda broken: volumes(Bytes(broken)), times=150, near=[range(440, 1600)]) > 5
