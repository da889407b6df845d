"""What lies on a loop device: mappings that a hook made, in the kernel's own words, and how they are taken down.

    /sys/block/loop0/holders/dm-0                          on the device itself
    /sys/block/loop0/loop0p1/holders/dm-1                  on its first partition
    /sys/block/dm-1/holders/dm-2   /sys/block/dm-1/dm/name   and so on

A mapped device is taken for the hook's own when all that it lies on is the loop device, directly or not: a hook that
prints some other device of the machine by mistake must not have it overwritten.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from dibo.errors import CommandFailed, LoopError
from dibo.system import process

SYSFS: Final = Path("/sys")


def mappings_on(loop: int, *, sysfs: Path = SYSFS) -> tuple[str, ...]:
    """The kernel's names (dm-0) of all that is stacked on a loop device, what lies on top of others first."""
    mappings: list[str] = []
    top = sysfs / "block" / f"loop{loop}"
    for directory in (top, *sorted(top.glob(f"loop{loop}p*"))):
        _collect(directory, sysfs, mappings)
    return tuple(mappings)


def _collect(directory: Path, sysfs: Path, mappings: list[str]) -> None:
    for name in _names(directory / "holders"):
        _collect(sysfs / "block" / name, sysfs, mappings)
        if name not in mappings:
            mappings.append(name)


def lies_on(numbers: int, loop: int, *, sysfs: Path = SYSFS) -> bool:
    """Whether the block device with these `numbers` (st_rdev) is a loop device, a partition of it, or lies on these
    alone."""
    directory = sysfs / "dev" / "block" / f"{os.major(numbers)}:{os.minor(numbers)}"
    return _lies_on(directory.resolve(), f"loop{loop}", sysfs)


def _lies_on(directory: Path, loop: str, sysfs: Path) -> bool:
    if directory.name == loop or directory.parent.name == loop:
        return True
    below = _names(directory / "slaves")
    return bool(below) and all(
        _lies_on((directory / "slaves" / name).resolve(), loop, sysfs) for name in below
    )


def remove_mappings(loop: int) -> tuple[str, ...]:
    """Take down what lies on a loop device, from the top; the names that were removed. Raises LoopError."""
    removed = []
    for kernel_name in mappings_on(loop):
        try:
            name = (SYSFS / "block" / kernel_name / "dm" / "name").read_text().strip()
        except OSError as error:
            raise LoopError(
                f"{kernel_name} uses /dev/loop{loop} and does not belong to the device mapper: dibo cannot remove it",
                hint="hooks of block-device.d make mappings by dmsetup, cryptsetup or LVM",
            ) from error
        try:
            process.run(["dmsetup", "remove", "--retry", name])
        except CommandFailed as error:
            raise LoopError(
                f"the mapping {name} on /dev/loop{loop} could not be removed: {' '.join(error.tail[-1:])}",
                hint=f"`dmsetup info {name}` says what uses it; the next run tries again",
            ) from error
        removed.append(name)
    return tuple(removed)


def _names(directory: Path) -> list[str]:
    try:
        return sorted(path.name for path in directory.iterdir())
    except OSError:
        return []
