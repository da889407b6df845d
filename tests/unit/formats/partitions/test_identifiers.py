"""Identifiers that a deployment replaces, checked by the reader of tables and by sgdisk's kin."""

from __future__ import annotations

from itertools import count
from uuid import UUID

import pytest

from dibo.formats.partitions import gpt, identifiers
from dibo.units import MIB

LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
OLD = UUID(int=1)


def head(*, marked: bool = True) -> bytes:
    """The first MiB of an image of 8 MiB with two partitions; the second has number 2."""
    entries = tuple(
        gpt.Entry(
            number=number,
            type_guid=LINUX,
            guid=UUID(int=number),
            first_lba=2048 * number,
            last_lba=2048 * number + 2047,
            attributes=4,
            name=f"part{number}",
        )
        for number in (1, 2)
    )
    table = gpt.encode(entries, size=8 * MIB, disk_guid=UUID(int=9))
    data = bytearray(MIB)
    data[: len(table.head)] = table.head
    if marked:
        data[identifiers.MARK_OFFSET : identifiers.MARK_OFFSET + len(identifiers.MARK)] = identifiers.MARK
    return bytes(data)


def drawn() -> UUID:
    return UUID(int=next(NUMBERS))


NUMBERS = count(1000)


def table(data: bytes) -> gpt.PartitionTable:
    return gpt.read_either(lambda offset, size: data[offset : offset + size], size=8 * MIB).table


def test_guids_of_disk_and_partitions_are_new_and_nothing_else() -> None:
    before, after = table(head()), table(identifiers.replaced(head(), draw=drawn))
    numbers = [after.disk_guid.int, *(entry.guid.int for entry in after.entries)]
    assert len(set(numbers)) == 3 and min(numbers) >= 1000
    assert [(entry.first_lba, entry.name, entry.attributes) for entry in after.entries] == [
        (entry.first_lba, entry.name, entry.attributes) for entry in before.entries
    ]


def test_each_time_others() -> None:
    assert table(identifiers.replaced(head())) != table(identifiers.replaced(head()))


def test_a_kept_partition_keeps_its_guid() -> None:
    after = table(identifiers.replaced(head(), kept={2: UUID(int=77)}, draw=drawn))
    assert after.entries[0].guid.int >= 1000
    assert after.entries[1].guid.int == 77


def test_an_image_that_does_not_allow_it_stays_as_it_is() -> None:
    """Others name their root by the PARTUUID that it has in the image."""
    assert identifiers.replaced(head(marked=False)) == head(marked=False)


def test_the_signature_of_an_mbr() -> None:
    data = bytearray(MIB)
    data[440:444], data[510:512] = b"abcd", b"\x55\xaa"
    data[identifiers.MARK_OFFSET : identifiers.MARK_OFFSET + len(identifiers.MARK)] = identifiers.MARK
    after = identifiers.replaced(bytes(data), draw=lambda: UUID(bytes=b"0123456789abcdef"))
    assert after[440:444] == b"0123"
    assert after[:440] == bytes(440) and after[444:] == data[444:]


def test_a_file_system_without_a_table() -> None:
    data = bytes(identifiers.MARK_OFFSET) + identifiers.MARK.ljust(4096, b"\0")
    assert identifiers.replaced(data) == data


def test_a_damaged_table_is_no_sound_one_afterwards() -> None:
    data = bytearray(head())
    data[512 + 84] = 0  # entries without a size
    with pytest.raises(gpt.GptError):
        table(identifiers.replaced(bytes(data)))
