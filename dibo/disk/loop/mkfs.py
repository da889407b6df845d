"""How each file system is made on a block device, with the identifiers of the image rather than drawn ones.

mkfs.xfs and mkfs.btrfs take their UUID; what else they and the kernel write has the time of the day in it. Disks made
this way are alike from the same image, not the same bytes. Inode tables and journals are left as they are: the disk
reads as zeros there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from dibo.errors import CommandFailed, ImageTooSmall, LoopError
from dibo.layout.identity import Identifiers
from dibo.system import process, resources
from dibo.units import human_size

EXT: Final = ("ext4", "ext3", "ext2")
TYPES: Final = (*EXT, "xfs", "btrfs")
"""Bytes that a label may have, from each format's superblock."""
_SHOWN: Final = 6


def program(kind: str) -> str:
    """What makes file systems of the type `kind`."""
    return "mke2fs" if kind in EXT else f"mkfs.{kind}"


def make(kind: str, device: Path, *, label: str, ids: Identifiers, epoch: int, size: int) -> None:
    """Make an empty file system of one of TYPES on `device`, which has `size` bytes. Raises LoopError, ToolMissing,
    and ImageTooSmall where there is no room for an empty one."""
    lines: list[str] = []
    try:
        process.run(
            [*_argv(kind, label=label, ids=ids), str(device)],
            env=_environment(epoch),
            streams=process.Streams(on_output=lines.append),
        )
    except CommandFailed as error:
        output = "\n".join(f"| {line}" for line in lines[:_SHOWN])  # mkfs.xfs ends with a page on its usage
        if any("too small" in line or "must be larger" in line for line in lines):
            raise ImageTooSmall(
                f"{human_size(size)} are too small for a file system of the type {kind}",
                hint=f"make the image larger (--image-size), or the partition in the layout\n{output}",
            ) from error
        raise LoopError(f"{program(kind)} {process.describe_exit(error.returncode)}", hint=output) from error


def _argv(kind: str, *, label: str, ids: Identifiers) -> list[str]:
    uuid = str(ids.filesystem_uuid)
    if kind in EXT:
        extended = f"hash_seed={ids.hash_seed},root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1"
        return ["mke2fs", "-q", "-F", "-t", kind, "-b", "4096", "-L", label, "-U", uuid, "-E", extended]
    if kind == "xfs":
        return ["mkfs.xfs", "-q", "-f", "-L", label, "-m", f"uuid={uuid}"]
    return [f"mkfs.{kind}", "-q", "-f", "-L", label, "-U", uuid]


def _environment(epoch: int) -> dict[str, str]:
    return {
        "MKE2FS_CONFIG": str(resources.shared("converters") / "raw" / "mke2fs.conf"),
        "E2FSPROGS_FAKE_TIME": str(epoch),
        "SOURCE_DATE_EPOCH": str(epoch),
        "BLKID_FILE": os.devnull,  # mkfs.btrfs takes what it knows of an earlier disk on this device for another one
    }
