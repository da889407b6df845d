"""What is written, and what never is: on disks in memory, whose tables sfdisk did not make but this project's encoder,
which sfdisk and QEMU judge elsewhere."""

from __future__ import annotations

import random
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.deployment.ranges import ENDS, DeploymentFailed, Ends, Writes, plan_writes
from dibo.disk.gpt import Entry, encode_entries
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
        table = encode_entries(entries, size=len(data), disk_guid=UUID(int=seed))
        data[: len(table.head)] = table.head
        data[table.tail_offset :] = table.tail
    return data


def ends(data: bytes | bytearray) -> Ends:
    return Ends(size=len(data), head=bytes(data[:ENDS]), tail=bytes(data[-ENDS:]))


def plan(image: bytes | bytearray, there: bytes | bytearray, *, wipe: bool = False) -> Writes:
    return plan_writes(image=ends(image), disk=ends(there), wipe=wipe)


def steps(writes: Writes, image: bytearray) -> list[tuple[int, bytes]]:
    found = list(writes.interim)
    found += [(each.offset, bytes(image[each.offset : each.end])) for each in (*writes.body, writes.last)]
    if writes.clear:
        found.append((writes.clear.offset, bytes(writes.clear.size)))
    return found


STATE = entry(1, "persistent-state", 1, 2)
IMAGE = (STATE, entry(2, "root", 3, 4))


def test_an_empty_disk_gets_the_whole_image() -> None:
    image, there = disk(8, *IMAGE, seed=1), bytearray(20 * MIB)
    writes = plan(image, there)
    for offset, data in steps(writes, image):
        there[offset : offset + len(data)] = data
    assert there[: len(image)] == image and not any(there[len(image) :])
    assert writes.kept is None and writes.total == len(image)


def test_the_partition_is_kept_and_all_else_is_written() -> None:
    image, there = disk(8, *IMAGE, seed=1), disk(20, STATE, entry(2, "root", 3, 16), seed=2)
    before = bytes(there)
    writes = plan(image, there)
    for offset, data in steps(writes, image):
        there[offset : offset + len(data)] = data
    assert there[MIB : 3 * MIB] == before[MIB : 3 * MIB]
    assert there[:MIB] == image[:MIB] and there[3 * MIB : 8 * MIB] == image[3 * MIB :]
    assert writes.total == len(image) - 2 * MIB


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
            assert b"r\0o\0o\0t\0" not in there[:MIB] + there[-ENDS:]


def test_half_a_write_of_a_new_disk_has_no_table() -> None:
    image, there = disk(8, entry(1, "root", 1, 6), seed=1), disk(8, entry(1, "old", 1, 6), seed=2)
    todo = steps(plan(image, there), image)
    for offset, data in todo[:-1]:
        there[offset : offset + len(data)] = data
    assert not any(there[:ENDS])


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
    ],
    ids=["no such partition", "no table", "elsewhere", "larger", "too small"],
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
    table = encode_entries((state,), size=size, disk_guid=UUID(int=1))
    image[: len(table.head)], image[table.tail_offset :] = table.head, table.tail
    there = bytearray(b"x" * (size + more * SECTOR))
    table = encode_entries((state,), size=len(there), disk_guid=UUID(int=2))
    there[: len(table.head)], there[table.tail_offset :] = table.head, table.tail
    for offset, data in steps(plan(image, there), image):
        there[offset : offset + len(data)] = data
    assert there[state.offset : state.offset + state.size] == b"x" * state.size
    rest = image[: state.offset] + image[state.offset + state.size :]
    assert there[: state.offset] + there[state.offset + state.size : size] == rest
    assert not any(there[max(size, len(there) - 33 * SECTOR) :])
