"""A disk that holds one UEFI program, which nobody signed: it prints some words and stops the processor.

The program is a PE32+ image of one section (Microsoft, "PE Format") whose entry point gets the system table in rdx
(UEFI specification 2.10, 2.3.4 and 4.3): ConOut at 0x40, in it OutputString at 8.

    0       MZ header, of which only e_lfanew at 0x3c counts
    0x40    "PE\\0\\0", file header, optional header, one section header
    0x200   .text, at the address 0x1000: code, words in UTF-16
"""

from __future__ import annotations

import struct
from pathlib import Path
from uuid import UUID

from dibo.formats.fat.build import FatNode, FatVolume, add_file, write_tree
from dibo.formats.fat.geometry import choose_geometry
from dibo.formats.partitions import gpt
from dibo.formats.raw import RawFile
from dibo.system import process

_CODE_AT, _FILE_AT, _SIZE = 0x1000, 0x200, 0x200
_CODE = bytes.fromhex(
    "4883ec28"  # sub  rsp, 0x28
    "488b4a40"  # mov  rcx, [rdx + 0x40]
    "488d1506000000"  # lea  rdx, [rip + 6]: the words
    "ff5108"  # call [rcx + 8]
    "f4ebfd"  # hlt; jmp to the hlt
)


def program(words: str) -> bytes:
    """The bytes of the program; `words` are ASCII."""
    text = _CODE + f"{words}\r\n\0".encode("utf-16-le")
    assert len(text) <= _SIZE
    file_header = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 112 + 16 * 8, 0x0022)  # x86-64, executable
    optional_header = struct.pack(
        "<HBBIIIIIQIIHHHHHHIIIIHHQQQQII",
        *(0x20B, 0, 0, _SIZE, 0, 0, _CODE_AT, _CODE_AT, 0x400000, 0x1000, 0x200),
        *(0, 0, 0, 0, 0, 0, 0, 2 * 0x1000, _FILE_AT, 0),
        *(10, 0, 0, 0, 0, 0, 0, 16),  # subsystem: EFI application; no data directory is used
    ) + bytes(16 * 8)
    section = struct.pack(
        "<8sIIIIIIHHI", b".text", len(text), _CODE_AT, _SIZE, _FILE_AT, 0, 0, 0, 0, 0x60000020
    )
    header = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    headers = header + b"PE\0\0" + file_header + optional_header + section
    return headers.ljust(_FILE_AT, b"\0") + text.ljust(_SIZE, b"\0")


def large_sector_disk(image: Path, words: str) -> None:
    """A disk with sectors of 4096 bytes, whose only partition is an EFI system partition with that program."""
    size, start, sector = 64 << 20, 1 << 20, 4096
    esp = gpt.Entry(
        number=1,
        type_guid=UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
        guid=UUID(int=1),
        first_lba=start // sector,
        last_lba=(size - start) // sector - 1,
        attributes=0,
        name="esp",
    )
    table = gpt.encode([esp], size=size, disk_guid=UUID(int=2), sector=sector)
    with RawFile(image, size) as target:
        target.write(0, [table.head])
        target.write(table.tail_offset, [table.tail])
        root = FatNode(name="", path="", mtime=0)
        add_file(root, "EFI/BOOT/BOOTX64.EFI", program(words), mtime=0)
        volume = FatVolume(target=target, offset=start, label="ESP", serial=1)
        write_tree(volume, root, choose_geometry(size - 2 * start, sector=sector), cursor=0)


def removable_disk(image: Path, words: str) -> None:
    """A FAT file system with that program where firmware looks on removable media (3.5.1.1): EFI/BOOT/BOOTX64.EFI."""
    source = image.with_suffix(".efi")
    source.write_bytes(program(words))
    process.run(["mformat", "-C", "-i", str(image), "-T", "8192", "::"])
    process.run(["mmd", "-i", str(image), "::EFI", "::EFI/BOOT"])
    process.run(["mcopy", "-i", str(image), str(source), "::EFI/BOOT/BOOTX64.EFI"])
