"""What lies on a loop device, read from a directory that looks like /sys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dibo.system.loop.device import devices_on, is_on, partitions_of
from dibo.system.loop.holders import lies_on, mappings_on


class Sysfs:
    """Block devices with their numbers, and which lie on which."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._minor = 0
        (top / "block").mkdir()
        (top / "dev" / "block").mkdir(parents=True)

    def device(self, name: str, *, inside: str = "", on: tuple[str, ...] = ()) -> tuple[int, int]:
        place = self.top / "block" / inside / name if inside else self.top / "block" / name
        for each in ("holders", "slaves"):
            (place / each).mkdir(parents=True)
        if inside:
            (place / "partition").write_text(f"{name.removeprefix(inside).removeprefix('p')}\n")
        self._minor += 1
        numbers = (250, self._minor)
        (self.top / "dev" / "block" / f"250:{self._minor}").symlink_to(place)
        for below in on:
            under = next((self.top / "block").rglob(f"{below}/holders")).parent
            (under / "holders" / name).symlink_to(place)
            (place / "slaves" / below).symlink_to(under)
        return numbers

    def backing(self, name: str, file: str) -> None:
        (self.top / "block" / name / "loop").mkdir()
        (self.top / "block" / name / "loop" / "backing_file").write_text(f"{file}\n")


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path)


def test_mappings_are_removed_from_the_top(sysfs: Sysfs) -> None:
    sysfs.device("loop0")
    sysfs.device("loop0p1", inside="loop0")
    sysfs.device("loop0p2", inside="loop0")
    sysfs.device("dm-0", on=("loop0p1",))
    sysfs.device("dm-1", on=("dm-0", "loop0p2"))
    sysfs.device("dm-2", on=("dm-1",))
    sysfs.device("loop1")
    sysfs.device("dm-3", on=("loop1",))
    assert mappings_on(0, sysfs=sysfs.top) == ("dm-2", "dm-1", "dm-0")
    assert mappings_on(1, sysfs=sysfs.top) == ("dm-3",)
    assert mappings_on(7, sysfs=sysfs.top) == ()


def test_a_device_that_lies_on_others_too_is_not_the_hook_s(sysfs: Sysfs) -> None:
    loop = sysfs.device("loop0")
    partition = sysfs.device("loop0p1", inside="loop0")
    mine = sysfs.device("dm-0", on=("loop0p1",))
    top = sysfs.device("dm-1", on=("dm-0",))
    other = sysfs.device("sda")
    mixed = sysfs.device("dm-2", on=("dm-0", "sda"))
    answers = {
        numbers: lies_on(os.makedev(*numbers), 0, sysfs=sysfs.top)
        for numbers in (loop, partition, mine, top, other, mixed)
    }
    assert answers == {loop: True, partition: True, mine: True, top: True, other: False, mixed: False}


def test_loop_devices_are_known_by_their_file(sysfs: Sysfs) -> None:
    for number, file in enumerate(("/a/disk", "/a/disk (deleted)", "/a/disk2")):
        sysfs.device(f"loop{number}")
        sysfs.backing(f"loop{number}", file)
    sysfs.device("loop7")
    sysfs.device("sda")
    block = sysfs.top / "block"
    assert devices_on(Path("/a/disk"), sysfs=block) == (0, 1)
    assert is_on(2, Path("/a/disk2"), sysfs=block)
    assert not is_on(7, Path("/a/disk"), sysfs=block)


def test_partitions(sysfs: Sysfs) -> None:
    for name in ("loop1", "loop1p1", "loop1p12"):
        sysfs.device(name, inside="loop1" if "p1" in name else "")
    assert partitions_of(sysfs.top / "block" / "loop1") == (1, 12)
    assert partitions_of(sysfs.top / "block" / "loop2") == ()
