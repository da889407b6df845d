"""FATs on disks whose sectors have 4096 bytes: which kind they are, and what fsck.fat and a reader find in them."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from dibo.disk.fat_writer import FatWriter, smallest_fat
from dibo.errors import LayoutError
from dibo.formats.fat.geometry import choose_geometry
from dibo.formats.fat.reader import Fat
from dibo.formats.filesystem import find, whole
from dibo.formats.raw import RawFile
from dibo.inspect.open_image import FileSource
from dibo.tree.node import Node
from dibo.units import GIB, KIB, MIB
from tests.support.requirements import need

FILES = {"EFI/BOOT/BOOTX64.EFI": bytes(range(256)) * 300, "a long name.text": b"text", "empty": b""}
KINDS = {MIB: 12, 16 * MIB: 12, 17 * MIB: 16, 64 * MIB: 16, 255 * MIB: 16, 260 * MIB: 32, 9 * GIB: 32}


def write(path: Path, size: int) -> None:
    with RawFile(path, size) as target:
        geometry = choose_geometry(size, sector=4096)
        writer = FatWriter(target, geometry, offset=0, label="UEFI", serial=7, mtime=1_700_000_000)
        writer.finish(Node(stat.S_IFDIR | 0o755), FILES)


@pytest.mark.parametrize("size", KINDS)
def test_the_kind_follows_from_the_clusters(size: int) -> None:
    geometry = choose_geometry(size, sector=4096)
    assert geometry.bits == KINDS[size]
    assert geometry.cluster_size >= 4096
    limits = {12: (0, 4085), 16: (4085, 65525), 32: (65525, 0x0FFFFFF5)}[geometry.bits]
    assert limits[0] <= geometry.clusters < limits[1], "fatgen103, FAT Type Determination"
    assert geometry.sectors_per_fat * 4096 * 8 >= (geometry.clusters + 2) * geometry.bits


@pytest.mark.parametrize("size", [MIB, 64 * MIB, 300 * MIB])
def test_what_others_find(tmp_path: Path, size: int) -> None:
    need("fsck.fat")
    path = tmp_path / "fat"
    write(path, size)
    done = subprocess.run(["fsck.fat", "-n", "-v", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "4096 bytes per logical sector" in done.stdout
    system = Fat(FileSource(path))
    for name, data in FILES.items():
        entry = find(system, name)
        assert entry is not None
        assert whole(system, entry, limit=MIB, description=name) == data


def test_sizes_that_no_fat_has() -> None:
    with pytest.raises(LayoutError, match="sectors of 4096 bytes cannot have 32 KiB, only 64 KiB and more"):
        choose_geometry(32 * KIB, sector=4096)


def test_the_smallest() -> None:
    root = Node(stat.S_IFDIR | 0o755)
    assert smallest_fat(root, {"file": bytes(3 * MIB)}, free=0, label="UEFI", sector=4096) == 4 * MIB
