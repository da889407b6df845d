"""/etc/fstab of a disk, as its layout has it (fstab(5)).

Partitions are those of the disk that / is on, by their names: /dev/disk/by-root-disk/esp. A udev rule that the flavour
boot-files brings makes these links; labels and UUIDs are the same on each disk of an image. In a root without the rule
file systems are found by their label, and by their UUID where they have none; so is /usr, which an initramfs mounts
before there is a root. Lines that say where /, /boot, what is
below /boot and the other mounts of the layout are, make way for those of the layout; all others stay.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

from dibo.layout.model import BOOT, ROOT, FileSystemType, TableType
from dibo.layout.placement import PlacedPartition, Placement

PATH: Final = "/etc/fstab"
_LINKS: Final = "/dev/disk/by-root-disk"
_EARLY: Final = (PurePosixPath("/usr"), PurePosixPath("/etc"))
_UNCONFIGURED: Final = b"# UNCONFIGURED"
_CHECKED: Final = ("ext4", "ext3", "ext2", "vfat")
"""File systems that fsck checks before they are mounted; xfs and btrfs need no fsck."""


def source(partition: PlacedPartition) -> str:
    """How the file system is found: `LABEL=root`, `UUID=…`."""
    return f"LABEL={partition.wish.label}" if partition.wish.label else f"UUID={uuid_of(partition)}"


def uuid_of(partition: PlacedPartition) -> str:
    """The UUID of the file system, as blkid(8) and GRUB write it."""
    if partition.wish.filesystem is FileSystemType.VFAT:
        serial = f"{partition.ids.fat_serial:08X}"
        return f"{serial[:4]}-{serial[4:]}"
    return str(partition.ids.filesystem_uuid)


def _device(partition: PlacedPartition, table: TableType) -> str:
    """The same by the disk that / is on."""
    if partition.wish.mount in _EARLY:
        return source(partition)
    return f"{_LINKS}/{partition.wish.name if table is TableType.GPT else f'part{partition.number}'}"


def rewritten(old: bytes, placement: Placement, *, root_type: str, by_root_disk: bool = False) -> bytes:
    """The file with the lines of the layout. `root_type` is the file system of the root, which FS_TYPE may have
    chosen; with `by_root_disk` the root has the rule."""
    mounts = {part.wish.mount for part in placement.partitions if part.wish.mount is not None}
    lines = _lines(placement, root_type, by_root_disk=by_root_disk)
    sources = {line.split()[0] for line in lines}
    kept = []
    for raw in old.decode(errors="surrogateescape").splitlines():
        fields = raw.split()
        if raw.encode(errors="surrogateescape").startswith(_UNCONFIGURED):
            continue
        if len(fields) >= 2 and not raw.lstrip().startswith("#"):
            if _is_ours(fields[1], mounts):
                continue
            if fields[1:3] == ["none", "swap"] and fields[0] in sources:
                continue
        kept.append(raw)
    return ("\n".join([*kept, *lines]) + "\n").encode(errors="surrogateescape")


def _is_ours(field: str, mounts: set[PurePosixPath]) -> bool:
    if not field.startswith("/"):
        return False
    mount = PurePosixPath(_unescaped(field))
    return mount in (ROOT, BOOT) or BOOT in mount.parents or mount in mounts


def _lines(placement: Placement, root_type: str, *, by_root_disk: bool) -> list[str]:
    def device(part: PlacedPartition) -> str:
        return _escaped(_device(part, placement.table) if by_root_disk else source(part))

    lines = []
    mounted = [part for part in placement.partitions if part.wish.mount is not None]
    for part in sorted(mounted, key=lambda part: len((part.wish.mount or ROOT).parts)):
        assert part.wish.filesystem is not None
        kind = root_type if part.wish.mount == ROOT else part.wish.filesystem.value
        check = (1 if part.wish.mount == ROOT else 2) if kind in _CHECKED else 0
        options = ",".join(part.wish.options) or "defaults"
        mount = _escaped(str(part.wish.mount))
        lines.append(f"{device(part)} {mount} {kind} {options} 0 {check}")
    for part in placement.partitions:
        if part.wish.filesystem is FileSystemType.SWAP:
            options = ",".join(part.wish.options) or "sw"
            lines.append(f"{device(part)} none swap {options} 0 0")
    return lines


def _escaped(field: str) -> str:
    """Spaces and backslashes as octal numbers (getmntent(3))."""
    return field.replace("\\", "\\134").replace(" ", "\\040")


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
