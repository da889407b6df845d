"""What is written, and what never is: on disks in memory, whose tables sfdisk did not make but this project's encoder,
which sfdisk and QEMU judge elsewhere."""

from __future__ import annotations

import io
import random
import zlib
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.deploy.write_plan import HEAD, DeploymentFailed, Ends, Writes, plan_writes
from dibo.formats.partitions.gpt import Entry, decode, encode
from dibo.formats.partitions.identifiers import MARK, MARK_OFFSET
from dibo.units import MIB, SECTOR

LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")


def entry(number: int, name: str, start: int, size: int) -> Entry:
    """`start` and `size` in MiB."""
    first = start * MIB // SECTOR
    return Entry(
        number=number,
        type_guid=LINUX,
        guid=UUID(int=number),
        first_lba=first,
        last_lba=first + size * MIB // SECTOR - 1,
        attributes=0,
        name=name,
    )


def disk(size: int, *entries: Entry, seed: int = 0) -> bytearray:
    """Of `size` MiB, noise all over."""
    data = bytearray(random.Random(seed).randbytes(size * MIB))
    if entries:
        table = encode(entries, size=len(data), disk_guid=UUID(int=seed))
        data[: len(table.head)] = table.head
        data[table.tail_offset :] = table.tail
    return data


def ends(data: bytes | bytearray) -> Ends:
    return Ends(size=len(data), head=bytes(data[:HEAD]), tail=bytes(data[-HEAD:]))


def plan(image: bytes | bytearray, there: bytes | bytearray, *, wipe: bool = False) -> Writes:
    return plan_writes(image=ends(image), disk=ends(there), wipe=wipe)


def steps(writes: Writes, image: bytearray) -> list[tuple[int, bytes]]:
    found = list(writes.interim)
    found += [(each.offset, bytes(image[each.offset : each.end])) for each in writes.body]
    return [*found, *writes.final]


def damaged(data: bytearray) -> bytearray:
    data[SECTOR + 20] ^= 1
    return data


STATE = entry(1, "persistent-state", 1, 2)
IMAGE = (STATE, entry(2, "root", 3, 4))


def on_a_disk(image: bytearray, size: int, *entries: Entry, seed: int) -> bytearray:
    """What `image` is on an empty disk of `size` MiB: its table has its second copy at the end."""
    found = bytearray(image)
    found[-33 * SECTOR :] = bytes(33 * SECTOR)
    found += bytes(size * MIB - len(image))
    table = encode(entries, size=len(found), disk_guid=UUID(int=seed))
    found[: len(table.head)], found[table.tail_offset :] = table.head, table.tail
    return found


def test_an_empty_disk_gets_the_whole_image() -> None:
    image, there = disk(8, *IMAGE, seed=1), bytearray(20 * MIB)
    image[:440] = b"x" * 440
    writes = plan(image, there)
    for offset, data in steps(writes, image):
        there[offset : offset + len(data)] = data
    wanted = on_a_disk(image, 20, *IMAGE, seed=1)
    wanted[:440] = b"x" * 440
    assert there == wanted
    assert writes.kept is None and writes.total == len(image) - MIB


def test_a_disk_as_large_as_the_image_becomes_the_image() -> None:
    image, there = disk(8, *IMAGE, seed=1), disk(8, seed=2)
    for offset, data in steps(plan(image, there), image):
        there[offset : offset + len(data)] = data
    assert there == image


def test_an_image_without_a_table_is_written_as_it_is() -> None:
    """And an old table's second copy, which would be one for this disk, goes."""
    image, there = disk(8, seed=1), disk(20, entry(1, "old", 1, 18), seed=2)
    for offset, data in steps(plan(image, there), image):
        there[offset : offset + len(data)] = data
    assert there[: len(image)] == image and not any(there[-33 * SECTOR :])


def test_an_image_for_sectors_of_4096_bytes_is_refused() -> None:
    image = disk(4, entry(1, "root", 1, 1))
    coarse = image[:512] + bytes(4096 - 512) + image[512:]
    with pytest.raises(
        DeploymentFailed, match="counts in sectors of 4096 bytes, and disks are written here with 512"
    ):
        plan(coarse[: len(image)], bytes(8 * MIB))


def test_tables_of_others_stay_as_they_are_but_for_their_place() -> None:
    """Numbers with gaps, as in Ubuntu's images, and an entry with attributes."""
    image = disk(8, *IMAGE, seed=1)
    raw = bytearray(128 * 128)
    raw[13 * 128 : 14 * 128] = image[1024:1152]
    raw[0:128] = image[1152:1280]
    raw[48] = 4
    image[1024 : 1024 + len(raw)] = raw
    image[SECTOR + 88 : SECTOR + 92] = zlib.crc32(raw).to_bytes(4, "little")
    image[SECTOR + 16 : SECTOR + 20] = bytes(4)
    image[SECTOR + 16 : SECTOR + 20] = zlib.crc32(image[SECTOR : SECTOR + 92]).to_bytes(4, "little")
    there = bytearray(20 * MIB)
    for offset, data in steps(plan(image, there), image):
        there[offset : offset + len(data)] = data
    table = decode(io.BytesIO(there))
    assert [(each.number, each.name, each.attributes) for each in table.entries] == [
        (1, "root", 4),
        (14, "persistent-state", 0),
    ]
    assert table.last_usable == len(there) // SECTOR - 34


def test_the_partition_is_kept_and_all_else_is_written() -> None:
    image, there = disk(8, *IMAGE, seed=1), disk(20, STATE, entry(2, "root", 3, 16), seed=2)
    before = bytes(there)
    writes = plan(image, there)
    for offset, data in steps(writes, image):
        there[offset : offset + len(data)] = data
    wanted = on_a_disk(image, 20, *IMAGE, seed=1)
    wanted[MIB : 3 * MIB] = before[MIB : 3 * MIB]
    wanted[8 * MIB : -33 * SECTOR] = before[8 * MIB : -33 * SECTOR]
    assert there == wanted
    assert writes.total == len(image) - 3 * MIB


def test_wherever_it_ends_the_partition_is_known_and_nothing_boots_before_the_end() -> None:
    """After each step but the last ones the next deployment keeps the same sectors, and sees no other partition."""
    image, there = disk(8, *IMAGE, seed=1), disk(20, STATE, entry(2, "root", 3, 16), seed=2)
    todo = steps(plan(image, there), image)
    for number, (offset, data) in enumerate(todo):
        there[offset : offset + len(data)] = data
        again = plan(image, there)
        assert again.kept is not None and (again.kept.offset, again.kept.size) == (MIB, 2 * MIB), number
        if 0 < number < len(todo) - 2:
            assert not any(there[:440]), "the boot sector is there too early"
            assert b"r\0o\0o\0t\0" not in there[:MIB] + there[-HEAD:]


def test_half_a_write_of_a_new_disk_has_no_table() -> None:
    image, there = disk(8, entry(1, "root", 1, 6), seed=1), disk(8, entry(1, "old", 1, 6), seed=2)
    todo = steps(plan(image, there), image)
    for offset, data in todo[:-1]:
        there[offset : offset + len(data)] = data
    assert not any(there[:HEAD])


def test_wiped_when_told_to() -> None:
    image, there = disk(8, *IMAGE, seed=1), disk(8, STATE, seed=2)
    for offset, data in steps(plan(image, there, wipe=True), image):
        there[offset : offset + len(data)] = data
    assert there == image


@pytest.mark.parametrize(
    ("image", "there", "said"),
    [
        (disk(8, entry(1, "root", 1, 6)), disk(8, STATE), "the image has none"),
        (disk(8), disk(8, STATE), "the image has none"),
        (
            disk(8, entry(1, "persistent-state", 2, 2)),
            disk(8, STATE),
            "sectors 2048 to 6143 of the disk, but 4096",
        ),
        (
            disk(8, entry(1, "persistent-state", 1, 3)),
            disk(8, STATE),
            "sectors 2048 to 6143 of the disk, but 2048 to 8191",
        ),
        (disk(9), disk(8), "the disk is too small"),
        (disk(8, *IMAGE)[: 5 * MIB], disk(8), "the image ends at byte 5242880, within a partition"),
        (damaged(disk(8, *IMAGE)), disk(8), "the image's partition table is damaged"),
    ],
    ids=["no such partition", "no table", "elsewhere", "larger", "too small", "cut", "damaged"],
)
def test_what_cannot_be_kept_is_refused(image: bytearray, there: bytearray, said: str) -> None:
    with pytest.raises(DeploymentFailed, match=said):
        plan(image, there)


def test_a_table_that_cannot_be_read_may_have_the_partition() -> None:
    image, there = disk(8, *IMAGE), disk(8, STATE)
    there[SECTOR + 20] ^= 1
    assert plan(image, there).kept is not None, "the other copy says it"
    there[-SECTOR + 20] ^= 1
    with pytest.raises(DeploymentFailed, match=r"damaged.*persistent_state: wipe"):
        plan(image, there)
    assert plan(image, there, wipe=True).kept is None


def test_two_of_the_name_are_one_too_many() -> None:
    two = (STATE, replace(entry(2, "persistent-state", 4, 1)))
    with pytest.raises(DeploymentFailed, match="2 partitions"):
        plan(disk(8, *IMAGE), disk(8, *two))


@given(
    start=st.integers(34, 3000),
    sectors=st.integers(1, 3000),
    more=st.integers(0, 100),
)
def test_any_place_is_kept(start: int, sectors: int, more: int) -> None:
    state = replace(STATE, first_lba=start, last_lba=start + sectors - 1)
    size = (start + sectors + 64 + 40) * SECTOR
    image = bytearray(size)
    table = encode((state,), size=size, disk_guid=UUID(int=1))
    image[: len(table.head)], image[table.tail_offset :] = table.head, table.tail
    there = bytearray(b"x" * (size + more * SECTOR))
    table = encode((state,), size=len(there), disk_guid=UUID(int=2))
    there[: len(table.head)], there[table.tail_offset :] = table.head, table.tail
    for offset, data in steps(plan(image, there), image):
        there[offset : offset + len(data)] = data
    assert there[state.offset : state.offset + state.size] == b"x" * state.size
    found = decode(io.BytesIO(there))
    assert [(each.first_lba, each.last_lba) for each in found.entries] == [(state.first_lba, state.last_lba)]
    behind = slice(max(MIB, state.offset + state.size), size - 33 * SECTOR)
    assert not any(there[behind])


def marked(data: bytearray) -> bytearray:
    data[MARK_OFFSET : MARK_OFFSET + len(MARK)] = MARK
    return data


def test_two_deployments_of_one_image_have_no_identifier_in_common() -> None:
    image = marked(disk(8, *IMAGE))
    guids = set()
    for seed in (1, 2):
        written = bytearray(disk(16, seed=seed))
        for offset, data in steps(plan(image, written), image):
            written[offset : offset + len(data)] = data
        table = decode(io.BytesIO(written))  # checks that both copies are sound and agree
        guids |= {table.disk_guid, *(each.guid for each in table.entries)}
        assert [each.name for each in table.entries] == ["persistent-state", "root"]
    assert len(guids) == 6


def test_a_kept_partition_keeps_its_identifier_where_the_others_get_new_ones() -> None:
    image, there = marked(disk(8, *IMAGE)), disk(16, replace(STATE, guid=UUID(int=77)), seed=3)
    for offset, data in steps(plan(image, there), image):
        there[offset : offset + len(data)] = data
    state, root = decode(io.BytesIO(there)).entries
    assert state.guid == UUID(int=77)
    assert root.guid not in (UUID(int=1), UUID(int=2))
