"""The shape of a FAT file system: which FAT, how large its parts are, and its boot sector.

    sector 0         1          6        reserved    + sectors per FAT    (FAT12, FAT16: root directory)
      boot sector    FSInfo     copies   FAT 1       FAT 2                then clusters, numbered from 2
                     (FAT32)    (FAT32)

    boot sector    0 jmp, nop           16 u8 FATs = 2            24 u16 sectors per track
                   3 "MSWIN4.1"         17 u16 root entries       26 u16 heads
                  11 u16 sector size    19 u16 sectors or 0       28 u32 sectors before it
                  13 u8 per cluster     21 u8 media 0xf8          32 u32 sectors
                  14 u16 reserved       22 u16 per FAT or 0       36 FAT32: u32 per FAT, u16 flags,
                                                                     u16 version, u32 root cluster,
                                                                     u16 FSInfo, u16 copy
    then for all   u8 drive, u8 0, u8 0x29, u32 serial, label (11), type (8), code ... 55 aa

Microsoft's fatgen103: "Boot Sector and BPB", "FAT Type Determination", "FAT Volume Initialization". What kind
of FAT it is follows from the number of clusters and nothing else. Its tables leave a choice between FAT16 and
FAT32 for 33 MiB to 512 MiB; FAT32 is taken, because UEFI requires it for a system partition on a hard disk
(UEFI 2.10, 13.3.1), and some firmware insists.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from dibo.errors import LayoutError
from dibo.formats import magic
from dibo.units import SECTOR, human_size

FATS = 2
ENTRY = 32
FSINFO_SECTOR = 1
BACKUP_SECTOR = 6
MEDIA = 0xF8  # a disk that stays in its place
_ROOT_ENTRIES = 512
_NEAR = 16  # fatgen103 advises to stay as many clusters away from the limits between the FATs

_MIN_SECTORS = 64
_MIN_LARGE_SECTORS = 16
_MAX_SECTORS = 0xFFFFFFFF
_FAT12_MAX_CLUSTERS = 4085 - 1
_FAT16_MAX_CLUSTERS = 65525 - 1
_FAT12_MAX_SECTORS = 8400
_FAT16_TABLE: Final = ((32680, 2), (67583, 4))  # FAT32 from 33 MiB: at 66,601 sectors it is a near miss
_FAT32_TABLE: Final = ((532480, 1), (16777216, 8), (33554432, 16), (67108864, 32), (_MAX_SECTORS, 64))

_JMP_NOP = {12: b"\xeb\x3c\x90", 16: b"\xeb\x3c\x90", 32: b"\xeb\x58\x90"}
_CODE = b"\xcd\x18\xf4\xeb\xfd"  # int 0x18 (tell BIOS that this does not boot); hlt; jmp back


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A file system in sectors. `bits` is 12, 16 or 32."""

    bits: int
    sectors: int
    sectors_per_cluster: int
    reserved: int
    sectors_per_fat: int
    root_sectors: int
    """Of the fixed root directory of FAT12 and FAT16; 0 with FAT32, where the root is a chain of clusters."""
    sector: int = SECTOR
    """Bytes."""

    @property
    def root_start(self) -> int:
        return self.reserved + FATS * self.sectors_per_fat

    @property
    def data_start(self) -> int:
        return self.root_start + self.root_sectors

    @property
    def clusters(self) -> int:
        return (self.sectors - self.data_start) // self.sectors_per_cluster

    @property
    def cluster_size(self) -> int:
        return self.sectors_per_cluster * self.sector


def choose_geometry(size: int, *, sector: int = SECTOR) -> Geometry:
    """The FAT for a partition of `size` bytes on a disk with sectors of `sector` bytes. Raises LayoutError for what no
    FAT covers."""
    if sector != SECTOR:
        return _large_sectors(size, sector)
    sectors = size // SECTOR
    if not _MIN_SECTORS <= sectors <= _MAX_SECTORS:
        raise LayoutError(f"a FAT cannot have {human_size(size)}, only 32 KiB to 2 TiB")
    if sectors <= _FAT12_MAX_SECTORS:
        smallest, limit, bits = 1, _FAT12_MAX_CLUSTERS, 12
    elif sectors <= _FAT16_TABLE[-1][0]:
        smallest, limit, bits = _from_table(_FAT16_TABLE, sectors), _FAT16_MAX_CLUSTERS, 16
    else:
        smallest, limit, bits = _from_table(_FAT32_TABLE, sectors), 0x0FFFFFF5, 32
    geometry = _fit(bits, sectors, smallest)
    while geometry.clusters > limit - _NEAR:
        geometry = _fit(bits, sectors, geometry.sectors_per_cluster * 2)
    return geometry


def _large_sectors(size: int, sector: int) -> Geometry:
    """Clusters have a sector at least, so a FAT has fewer of them: FAT32 needs 256 MiB of 4096 bytes each. The largest
    kind that has enough clusters to be told from a smaller one."""
    sectors = size // sector
    if not _MIN_LARGE_SECTORS <= sectors <= _MAX_SECTORS:
        smallest = human_size(_MIN_LARGE_SECTORS * sector)
        raise LayoutError(
            f"a FAT with sectors of {sector} bytes cannot have {human_size(size)}, only {smallest} and more"
        )
    usual = max(1, _from_table(_FAT32_TABLE, min(size // SECTOR, _MAX_SECTORS)) * SECTOR // sector)
    geometry = next(
        geometry
        for bits, fewest in ((32, _FAT16_MAX_CLUSTERS + _NEAR), (16, _FAT12_MAX_CLUSTERS + _NEAR), (12, -1))
        for per_cluster in (usual, 1)
        if (geometry := _fit(bits, sectors, per_cluster, sector)).clusters > fewest
    )
    limit = {12: _FAT12_MAX_CLUSTERS, 16: _FAT16_MAX_CLUSTERS, 32: 0x0FFFFFF5}[geometry.bits]
    while geometry.clusters > limit - _NEAR:
        geometry = _fit(geometry.bits, sectors, geometry.sectors_per_cluster * 2, sector)
    return geometry


def _from_table(table: tuple[tuple[int, int], ...], sectors: int) -> int:
    return next(per_cluster for up_to, per_cluster in table if sectors <= up_to)


def _fit(bits: int, sectors: int, sectors_per_cluster: int, sector: int = SECTOR) -> Geometry:
    """The geometry whose FATs just cover its clusters: a larger FAT leaves fewer clusters, so this ends."""
    sectors_per_fat = 1
    while True:
        geometry = Geometry(
            bits=bits,
            sectors=sectors,
            sectors_per_cluster=sectors_per_cluster,
            reserved=32 if bits == 32 else 1,
            sectors_per_fat=sectors_per_fat,
            root_sectors=0 if bits == 32 else _ROOT_ENTRIES * ENTRY // sector,
            sector=sector,
        )
        needed = -(-(geometry.clusters + 2) * bits // (8 * sector))
        if needed <= sectors_per_fat:
            return geometry
        sectors_per_fat = needed


def boot_sector(geometry: Geometry, *, hidden: int, serial: int, label: bytes, root: int = 2) -> bytes:
    """Sector 0. `hidden` is the sector of the disk that it lies on, `label` has 11 bytes, `root` is the first cluster
    of FAT32's root directory."""
    short = geometry.bits != 32 and geometry.sectors <= 0xFFFF
    head = _JMP_NOP[geometry.bits] + struct.pack(
        "<8sHBHBHHBHHHII",
        b"MSWIN4.1",  # what fatgen103 recommends, as old readers look at it
        geometry.sector,
        geometry.sectors_per_cluster,
        geometry.reserved,
        FATS,
        geometry.root_sectors * geometry.sector // ENTRY,
        geometry.sectors if short else 0,
        MEDIA,
        0 if geometry.bits == 32 else geometry.sectors_per_fat,
        63,
        255,
        min(hidden, 0xFFFFFFFF),
        0 if short else geometry.sectors,
    )
    if geometry.bits == 32:
        head += struct.pack("<IHHIHH12x", geometry.sectors_per_fat, 0, 0, root, FSINFO_SECTOR, BACKUP_SECTOR)
    kind = f"FAT{geometry.bits}".encode().ljust(8)
    tail = struct.pack("<BBBI11s8s", 0x80, 0, 0x29, serial, label, kind) + _CODE
    return ((head + tail).ljust(SECTOR - 2, b"\0") + magic.BOOT_SIGNATURE).ljust(geometry.sector, b"\0")


def fsinfo_sector(*, free: int, next_free: int) -> bytes:
    """FAT32's note of how many clusters are free, and where to look for one."""
    body = struct.pack("<4s480x4sII12x", b"RRaA", b"rrAa", free, next_free)
    return body + b"\0\0" + magic.BOOT_SIGNATURE
