"""What of a disk is overwritten, in which order, and what never."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from dibo.formats.partitions import identifiers
from pull import gpt
from pull.disk import Disk
from pull.errors import PullError
from pull.target import BEGINNING, Target
from tests.support.disks.gpt_disks import MIB, make_disk, problems_of, table_of

pytestmark = pytest.mark.slow

PARTS = {"esp": (1, 2), gpt.STATE: (3, 4), "root": (7, 8)}
BEFORE = b"\xaa"


class Watched(Disk):
    """A disk that keeps what is asked of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.ranges: list[tuple[int, int]] = []
        self.on_write: Callable[[], None] = lambda: None

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.on_write()
        self.ranges.append((offset, offset + len(data)))
        super().write(offset, data)

    def zero(self, offset: int, size: int) -> None:
        self.on_write()
        self.ranges.append((offset, offset + size))
        super().zero(offset, size)


def machine(tmp_path: Path, size: int = 24, **parts: tuple[int, int]) -> Path:
    """A disk in use: with `parts`, its table; else something else. Every byte of data is BEFORE's."""
    path = tmp_path / "machine"
    if parts:
        make_disk(path, size, {name.replace("_", "-"): place for name, place in parts.items()}, seed=8)
        with path.open("r+b") as file:
            file.seek(MIB)
            file.write(BEFORE * ((size - 2) * MIB))
    else:
        path.write_bytes(BEFORE * (size * MIB))
    return path


def write(disk: Disk, image: bytes, *, wipe: bool = False, known: bool = True, seed: int = 7) -> Target:
    """All of an image, in pieces of any size and in any order."""
    target = Target(disk, image[:BEGINNING], len(image) if known else None, wipe=wipe)
    target.begin()
    source, pieces, at = random.Random(seed), [], 0
    while at < len(image):
        size = source.choice((512, 70_000, 1 << 20, 3 << 20))
        pieces.append((at, image[at : at + size]))
        at += size
    source.shuffle(pieces)
    for offset, data in pieces:
        target.write(offset, data)
    target.finish(len(image))
    return target


def test_an_image_of_the_size_of_the_disk_is_copied(tmp_path: Path) -> None:
    image = make_disk(tmp_path / "image", 16, PARTS)
    path = machine(tmp_path, 16)
    target = write(Disk(str(path)), image)
    assert path.read_bytes() == image
    assert target.kept is None


def test_a_larger_disk_gets_its_copy_of_the_table_at_its_end(tmp_path: Path) -> None:
    image = make_disk(tmp_path / "image", 16, PARTS)
    path = machine(tmp_path, 24)
    write(Disk(str(path)), image, known=False)
    assert problems_of(path) == ""
    assert table_of(path)["lastlba"] == 24 * MIB // 512 - 34
    found = path.read_bytes()
    assert found[MIB : 16 * MIB - 33 * 512] == image[MIB : -33 * 512]
    assert found[16 * MIB - 33 * 512 : 16 * MIB] == bytes(33 * 512)
    assert found[:440] == image[:440]
    assert found[16 * MIB : 23 * MIB] == BEFORE * (7 * MIB)  # what is behind the image is nobody's


@pytest.mark.parametrize("size", [16, 24])
def test_the_state_is_kept_to_the_byte(tmp_path: Path, size: int) -> None:
    image = make_disk(tmp_path / "image", 16, PARTS)
    path = machine(tmp_path, size, esp=(1, 1), persistent_state=(3, 4), other=(8, 2))
    disk = Watched(path)
    target = write(disk, image)
    found = path.read_bytes()
    assert found[3 * MIB : 7 * MIB] == BEFORE * (4 * MIB)
    assert not [(a, b) for a, b in disk.ranges if a < 7 * MIB and b > 3 * MIB]  # nor was it ever written to
    assert (
        found[MIB : 3 * MIB] == image[MIB : 3 * MIB]
        and found[7 * MIB : 15 * MIB] == image[7 * MIB : 15 * MIB]
    )
    assert problems_of(path) == ""
    assert [part["name"] for part in table_of(path)["partitions"]] == list(PARTS)
    assert target.kept is not None and target.kept.name == gpt.STATE


def test_each_deployment_has_identifiers_of_its_own_but_for_what_is_kept(tmp_path: Path) -> None:
    """So that two disks of one image in one machine are told apart."""
    image = bytearray(make_disk(tmp_path / "image", 16, PARTS))
    image[identifiers.MARK_OFFSET : identifiers.MARK_OFFSET + len(identifiers.MARK)] = identifiers.MARK
    (tmp_path / "image").write_bytes(image)
    path = machine(tmp_path, 24, persistent_state=(3, 4))
    guids = {part["name"]: part["uuid"] for part in table_of(tmp_path / "image")["partitions"]}
    kept = table_of(path)["partitions"][0]["uuid"]
    write(Disk(str(path)), bytes(image))
    assert problems_of(path) == ""
    after = table_of(path)
    assert after["id"] != table_of(tmp_path / "image")["id"]
    for part in after["partitions"]:
        if part["name"] == gpt.STATE:
            assert part["uuid"] == kept
        else:
            assert part["uuid"] != guids[part["name"]]


def test_wipe_overwrites_the_state(tmp_path: Path) -> None:
    image = make_disk(tmp_path / "image", 16, PARTS)
    path = machine(tmp_path, 16, persistent_state=(3, 4))
    write(Disk(str(path)), image, wipe=True)
    assert path.read_bytes() == image


def test_at_no_moment_before_the_end_is_there_anything_to_boot(tmp_path: Path) -> None:
    """Nor is the state lost at any moment: a deployment that breaks off can be done again."""
    image = make_disk(tmp_path / "image", 16, PARTS)
    path = machine(tmp_path, 24, esp=(1, 1), persistent_state=(3, 4))
    disk = Watched(path)
    target = Target(disk, image[:BEGINNING], len(image), wipe=False)
    target.begin()
    begun = len(disk.ranges)
    tables: list[set[str]] = []

    def look() -> None:
        head = path.read_bytes()
        table = gpt.of_disk(lambda offset, size: head[offset : offset + size], len(head))
        tables.append({entry.name for entry in table.table.entries} if table else set())
        assert head[5:440] == bytes(435)

    disk.on_write = look
    for start in range(0, len(image), MIB):
        target.write(start, image[start : start + MIB])
    look()
    assert all(names == {gpt.STATE} for names in tables) and len(tables) > 10
    assert problems_of(path) == ""
    assert min(offset for offset, _ in disk.ranges[begun:]) >= MIB
    assert "does not boot; its partition persistent-state is as it was" in target.state
    disk.on_write = lambda: None
    target.finish(len(image))
    assert disk.ranges[-1] == (0, 4096)
    assert problems_of(path) == ""


def test_an_image_without_a_table_leaves_none(tmp_path: Path) -> None:
    """A bare file system. What the disk had before is gone, its copy of a table too."""
    image = random.Random(7).randbytes(3 * MIB)
    path = machine(tmp_path, 24, esp=(1, 1))
    write(Disk(str(path)), image)
    found = path.read_bytes()
    assert found[: 3 * MIB] == image
    assert gpt.of_disk(lambda offset, size: found[offset : offset + size], len(found)) is None


@pytest.mark.parametrize("known", [True, False])
def test_a_disk_that_is_too_small(tmp_path: Path, known: bool) -> None:
    """Seen from the image's table, also where nobody knows how large it is."""
    image = make_disk(tmp_path / "image", 16, PARTS)
    path = machine(tmp_path, 15)
    with pytest.raises(PullError, match=f"is too small: it has {15 * MIB} bytes, the image wants {16 * MIB}"):
        write(Disk(str(path)), image, known=known)
    assert path.read_bytes() == BEFORE * (15 * MIB)


def test_a_disk_that_proves_too_small(tmp_path: Path) -> None:
    path = machine(tmp_path, 2)
    target = Target(Disk(str(path)), bytes(BEGINNING), None, wipe=False)
    target.begin()
    with pytest.raises(PullError, match="too small"):
        target.write(2 * MIB - 512, bytes(1024))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"persistent_state": (3, 4)}, {"root": (1, 8)}, "and the image has none: persistent_state=wipe"),
        (
            {"persistent_state": (3, 4)},
            {gpt.STATE: (3, 5)},
            "take an image of the same layout, or persistent_state=wipe",
        ),
        (
            {"persistent_state": (4, 4)},
            {gpt.STATE: (3, 4)},
            "is at byte 4194304 and has 4194304 bytes, the image's is at",
        ),
    ],
)
def test_a_state_in_the_way(
    tmp_path: Path, old: dict[str, tuple[int, int]], new: dict[str, tuple[int, int]], said: str
) -> None:
    image = make_disk(tmp_path / "image", 16, new)
    path = machine(tmp_path, 24, **old)
    before = path.read_bytes()
    with pytest.raises(PullError, match=said):
        Target(Disk(str(path)), image[:BEGINNING], len(image), wipe=False)
    assert path.read_bytes() == before
    Target(Disk(str(path)), image[:BEGINNING], len(image), wipe=True)


def test_a_disk_whose_table_is_damaged_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    path = machine(tmp_path, 24, persistent_state=(3, 4))
    with path.open("r+b") as file:
        for at in (512 + 20, 24 * MIB - 512 + 20):
            file.seek(at)
            file.write(b"\x55")
    image = make_disk(tmp_path / "image", 16, PARTS)
    with pytest.raises(
        PullError, match="nobody knows whether there is something to keep: persistent_state=wipe"
    ):
        Target(Disk(str(path)), image[:BEGINNING], len(image), wipe=False)
    write(Disk(str(path)), image, wipe=True)
    assert problems_of(path) == ""


def test_an_image_that_ends_within_its_partitions(tmp_path: Path) -> None:
    image = make_disk(tmp_path / "image", 16, PARTS)[: 10 * MIB]
    with pytest.raises(PullError, match="the image ends at byte 10485760, within a partition"):
        write(Disk(str(machine(tmp_path))), image)
    disk = Disk(str(machine(tmp_path)))
    target = Target(disk, image[:BEGINNING], None, wipe=False)
    target.begin()
    with pytest.raises(PullError, match="the image ends at byte 10485760"):
        target.finish(len(image))


def test_first_bytes_that_changed(tmp_path: Path) -> None:
    image = bytearray(make_disk(tmp_path / "image", 16, PARTS))
    disk = Disk(str(machine(tmp_path)))
    target = Target(disk, bytes(image[:BEGINNING]), len(image), wipe=False)
    target.begin()
    image[1000] ^= 1
    target.write(0, bytes(image))
    with pytest.raises(PullError, match="changed while it was read"):
        target.finish(len(image))


def test_disks_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(PullError, match="cannot be opened: No such file"):
        Disk(str(tmp_path / "none"))


class Coarse(Disk):
    """With sectors of 4096 bytes."""

    def _ask_sector(self) -> int:
        return 4096


def test_sectors_of_another_size(tmp_path: Path) -> None:
    image = make_disk(tmp_path / "image", 16, PARTS)
    with pytest.raises(PullError, match="has sectors of 4096 bytes"):
        Target(Coarse(str(machine(tmp_path))), image[:BEGINNING], len(image), wipe=False)


def test_an_image_for_sectors_of_another_size(tmp_path: Path) -> None:
    image = make_disk(tmp_path / "image", 16, PARTS)
    coarse = image[:512] + bytes(4096 - 512) + image[512:1024] + bytes(16 << 20)
    with pytest.raises(
        PullError, match="sectors of 512 bytes, and the image's partition table counts in 4096"
    ):
        Target(Disk(str(machine(tmp_path))), coarse[:BEGINNING], len(image), wipe=False)
    with pytest.raises(PullError, match="images for disks with sectors of 4096 bytes"):
        Target(Coarse(str(machine(tmp_path))), coarse[:BEGINNING], len(image), wipe=False)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    disk = Disk("/dev/full")
    with pytest.raises(PullError, match="/dev/full cannot be written at byte 0: No space left"):
        disk.write(0, b"x")
