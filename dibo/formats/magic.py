"""The first bytes of every format that dibo writes, reads or refuses: one table, for all readers and writers.

    head of a file ──► compression   gzip, xz, zstd, bzip2, lz4          outermost: says nothing of what is within
                   ──► disk_format   qcow2, vmdk, vhdx, vpc, vdi, …      a disk image, in QEMU's words
                   ──► archive       tar, cpio, zip, iso9660             files, but no disk
                   ──► file_system   ext, xfs, btrfs, squashfs, …        what begins a volume
                   ──► has_partition_table                               a raw disk

Standard library only: the ramdisk's pull program bundles this module. Each row names its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HEAD: Final = 0x10048
"""Bytes of a file's beginning that all questions here can be answered from; with fewer, those that reach further are
answered by no."""
TAIL: Final = 512
"""Bytes of a file's end that `disk_format` looks at."""

GZIP: Final = b"\x1f\x8b"
XZ: Final = b"\xfd7zXZ\0"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
BZIP2: Final = b"BZh"
LZ4: Final = b"\x04\x22\x4d\x18"
QCOW2: Final = b"QFI\xfb"
VHD: Final = b"conectix"
GPT: Final = b"EFI PART"
BOOT_SIGNATURE: Final = b"\x55\xaa"
BOOT_SIGNATURE_AT: Final = 510
DISK_SIGNATURE_AT: Final = 440
EXT: Final = b"\x53\xef"
EXT_AT: Final = 1024 + 0x38
XFS: Final = b"XFSB"
BTRFS: Final = b"_BHRfS_M"
SQUASHFS: Final = b"hsqs"
SWAP: Final = b"SWAPSPACE2"
CPIO: Final = b"070701"
CPIO_SUMS: Final = b"070702"
"""The same format, with sums of contents."""
USTAR: Final = b"ustar"
USTAR_AT: Final = 257
ELF: Final = b"\x7fELF"
VMDK: Final = b"KDMV"
PE: Final = b"MZ"


@dataclass(frozen=True, slots=True)
class Magic:
    """The bytes that a format has at an offset of its beginning."""

    name: str
    offset: int
    value: bytes

    def matches(self, head: bytes) -> bool:
        return head.startswith(self.value, self.offset)


COMPRESSIONS: Final = (
    Magic("gzip", 0, GZIP),  # RFC 1952, 2.3.1
    Magic("xz", 0, XZ),  # the .xz file format, 2.1.1.1
    Magic("zstd", 0, ZSTD),  # RFC 8878, 3.1.1
    *(
        Magic("zstd", 0, bytes((first, 0x2A, 0x4D, 0x18))) for first in range(0x50, 0x60)
    ),  # skippable frames, 3.1.2
    Magic("bzip2", 0, BZIP2),
    Magic("lz4", 0, LZ4),  # LZ4 frame format
    Magic("lzip", 0, b"LZIP"),
)
DISK_FORMATS: Final = (
    Magic("qcow2", 0, QCOW2),  # qemu/docs/interop/qcow2.txt; version 1 begins so, too
    Magic("vmdk", 0, VMDK),  # VMware's "Virtual Disk Format 5.0"
    Magic("vmdk", 0, b"COWD"),  # the same of ESX 3
    Magic("vmdk descriptor", 0, b"# Disk DescriptorFile"),  # text that names the files of a disk
    Magic("vhdx", 0, b"vhdxfile"),  # MS-VHDX 2.2.1
    Magic("vpc", 0, VHD),  # "Virtual Hard Disk Image Format Specification": dynamic and differencing disks
    Magic("vdi", 0x40, b"\x7f\x10\xda\xbe"),  # VirtualBox, VDICore.h
    Magic("qed", 0, b"QED\0"),  # qemu/docs/interop/qed_spec.rst
    Magic("parallels", 0, b"WithoutFreeSpace"),  # qemu/docs/interop/parallels.txt
    Magic("parallels", 0, b"WithouFreSpacExt"),
)
ARCHIVES: Final = (
    Magic("tar", USTAR_AT, USTAR),  # POSIX pax(1), "ustar Interchange Format"
    Magic("cpio", 0, CPIO),  # the kernel's Documentation/driver-api/early-userspace/buffer-format.rst
    Magic("cpio", 0, CPIO_SUMS),
    Magic("cpio", 0, b"070707"),
    Magic("zip", 0, b"PK\3\4"),  # APPNOTE.TXT 4.3.7
    Magic("7z", 0, b"7z\xbc\xaf\x27\x1c"),
    Magic("iso9660", 0x8001, b"CD001"),  # ECMA-119, 8.1.2
)
FILE_SYSTEMS: Final = (
    Magic("ext", EXT_AT, EXT),  # Documentation/filesystems/ext4/super.rst: s_magic
    Magic("xfs", 0, XFS),  # fs/xfs/libxfs/xfs_format.h: XFS_SB_MAGIC
    Magic("btrfs", 0x10040, BTRFS),  # include/uapi/linux/btrfs_tree.h: BTRFS_MAGIC
    Magic("squashfs", 0, SQUASHFS),  # include/uapi/linux/magic.h, little-endian; so are the next
    Magic("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    Magic("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    Magic("iso9660", 0x8001, b"CD001"),
    Magic("LUKS", 0, b"LUKS\xba\xbe"),  # LUKS on-disk format specification
    Magic("LVM", 512, b"LABELONE"),  # LVM2, lib/label/label.h; in sector 1, where pvcreate writes it
    Magic("swap", 4086, SWAP),  # of pages of 4 KiB; include/linux/swap.h
    Magic("NTFS", 3, b"NTFS    "),
    Magic("exFAT", 3, b"EXFAT   "),
)


def compression(head: bytes) -> str:
    """How a file is compressed that begins so; empty where it is not, or not known to be."""
    return _first(COMPRESSIONS, head)


def disk_format(head: bytes, tail: bytes = b"") -> str:
    """The disk image that begins so, in QEMU's words but for `vmdk descriptor`; empty
    for a raw one, and for what is none. Of a VHD of fixed size
    only the footer says what it is: `tail` is the last sector of the file."""
    return _first(DISK_FORMATS, head) or ("vpc" if tail.startswith(VHD) else "")


def archive(head: bytes) -> str:
    """What keeps files and is no disk."""
    return _first(ARCHIVES, head)


def file_system(head: bytes) -> str:
    """What a volume holds that begins so. FAT has no magic: dibo/formats/fat/reader.py."""
    return _first(FILE_SYSTEMS, head)


def has_partition_table(head: bytes) -> bool:
    """Whether a disk begins so: with an MBR, any boot sector, or the header of a GPT."""
    return head.startswith(BOOT_SIGNATURE, BOOT_SIGNATURE_AT) or head.startswith(GPT, 512)


def _first(table: tuple[Magic, ...], head: bytes) -> str:
    return next((magic.name for magic in table if magic.matches(head)), "")
