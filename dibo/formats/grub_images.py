"""GRUB's two images for BIOS, patched for where they lie on the disk.

What `grub-install` does on a machine that boots from the disk, done to bytes. Both images come from the root
(GRUB's boot.img; core.img made by `grub-mkimage -O i386-pc`); here they learn their sectors.

    boot.img, sector 0 of the disk                core.img, the BIOS boot partition
    0x000 jmp 0x65                                first sector (diskboot.img): reads the rest
    0x003 BIOS parameter block, of a FAT only     0x1f4 the block list, one record, growing down:
    0x05a u16 0x8000, where to load                       u64 first sector, u16 sectors, u16 segment
    0x05c u64 first sector of core.img            0x200 kernel and modules, compressed
    0x064 u8  0xff: the drive the BIOS names      0x214 u16 bytes before Reed-Solomon cover, not 0xffff
    0x066 jmp over a check of the drive number
    0x1b8 disk signature and partition table: the disk's own
    0x1fe 55 aa

Offsets: include/grub/i386/pc/boot.h, boot.S, diskboot.S; what is patched: util/setup.c (write_rootdev,
save_blocklists, and "enable the workaround, which is for buggy BIOSes"). setup.c copies bytes 3 to 0x59 from
the sector that it replaces, for a FAT that may be there; on a partitioned disk there is none, and boot.img
keeps its own scratch space. Like `grub-install --no-rs-codes`, no Reed-Solomon codes are added.
"""

from __future__ import annotations

import struct

from dibo.errors import LayoutError
from dibo.formats import magic
from dibo.units import SECTOR

_KERNEL_ADDRESS = 0x5A
_KERNEL_SECTOR = 0x5C
_BOOT_DRIVE = 0x64
_DRIVE_CHECK = 0x66
_NT_MAGIC = 0x1B8  # where the disk's own bytes start: its signature, then the partition table
_SIGNATURE = magic.BOOT_SIGNATURE
_JMP_SHORT = 0xEB
_NOPS = b"\x90\x90"
_LOAD_ADDRESS = 0x8000

_BLOCK = struct.Struct("<QHH")
_BLOCK_LIST = SECTOR - _BLOCK.size
_SEGMENT = (_LOAD_ADDRESS + SECTOR) >> 4  # 0x820
_NO_REED_SOLOMON_LENGTH = SECTOR + 0x14
_MAX_CORE = 0x78000 - 0x9000  # util/mkimage.c: what fits between the link address and the disk buffer


def boot_sector(boot_img: bytes, mbr: bytes, *, core_lba: int) -> bytes:
    """Sector 0: GRUB's boot.img around the disk signature and partition table of `mbr`.

    `core_lba` is the sector where core_image() lies. Raises LayoutError if boot.img is not one.
    """
    if len(boot_img) != SECTOR or len(mbr) != SECTOR:
        raise LayoutError(f"GRUB's boot.img has {len(boot_img)} bytes, not {SECTOR}")
    (address,) = struct.unpack_from("<H", boot_img, _KERNEL_ADDRESS)
    if (
        boot_img[-2:] != _SIGNATURE
        or boot_img[0] != _JMP_SHORT
        or address != _LOAD_ADDRESS
        or boot_img[_DRIVE_CHECK] != _JMP_SHORT
    ):
        raise LayoutError(
            "GRUB's boot.img does not look like one",
            hint="take boot.img of GRUB 2 for i386-pc, from before any installation",
        )
    sector = bytearray(boot_img)
    struct.pack_into("<Q", sector, _KERNEL_SECTOR, core_lba)
    sector[_BOOT_DRIVE] = 0xFF
    sector[_DRIVE_CHECK : _DRIVE_CHECK + 2] = _NOPS
    sector[_NT_MAGIC:-2] = mbr[_NT_MAGIC:-2]
    return bytes(sector)


def core_image(core: bytes, *, lba: int, available_sectors: int) -> bytes:
    """GRUB's core.img for sector `lba`, padded to whole sectors.

    Raises LayoutError if it has not the form of an i386-pc core image, or does not fit.
    """
    sectors = -(-len(core) // SECTOR)
    if len(core) > _MAX_CORE:
        raise LayoutError(f"GRUB's core.img has {len(core)} bytes, BIOS loads at most {_MAX_CORE}")
    if not _looks_like_core(core, sectors):
        raise LayoutError(
            "GRUB's core.img does not look like one", hint="make it with grub-mkimage -O i386-pc"
        )
    if sectors > available_sectors:
        raise LayoutError(
            f"GRUB's core.img takes {sectors} sectors, its partition has {available_sectors}",
            hint="make the partition with content: grub-core larger",
        )
    image = bytearray(core.ljust(sectors * SECTOR, b"\0"))
    _BLOCK.pack_into(image, _BLOCK_LIST, lba + 1, sectors - 1, _SEGMENT)
    return bytes(image)


def _looks_like_core(core: bytes, sectors: int) -> bool:
    """grub-mkimage fills in one record, with the length of all that follows; the one below it ends the list.

    Images for PXE and El Torito start with other code, and have no list there.
    """
    if sectors < 2 or len(core) < _NO_REED_SOLOMON_LENGTH + 2:
        return False
    _, length, segment = _BLOCK.unpack_from(core, _BLOCK_LIST)
    _, below, _ = _BLOCK.unpack_from(core, _BLOCK_LIST - _BLOCK.size)
    (uncovered,) = struct.unpack_from("<H", core, _NO_REED_SOLOMON_LENGTH)
    return bool(length == sectors - 1 and segment == _SEGMENT and below == 0 and uncovered != 0xFFFF)
