"""GRUB's core image for BIOS, made of the files of its package: what `grub-mkimage -O i386-pc` does, without it.

    diskboot.img            the first sector, which reads the rest; u16 at 0x1fc: sectors of the rest. Where they are is
                            set when the image is placed (dibo.formats.grub_images)
    lzma_decompress.img     u32 at 0x08: bytes of the compressed payload; u32 at 0x0c: bytes of the payload
    payload                 raw LZMA1: lc 3, lp 0, pb 2, dictionary 64 KiB

    payload, before it is compressed
        kernel.img          the loaded sections of this ELF file, from the lowest address on
        "mimg"              u32 magic, u32 offset of the objects (12), u32 bytes of this header and the objects
        objects             u32 type, u32 bytes with these eight, data padded with zeros to four bytes
                            type 0 a module, an ELF file; 2 the early configuration; 3 the prefix; both end in NUL

All little-endian. GRUB: util/mkimage.c, include/grub/kernel.h, include/grub/offsets.h; the names are those below
/usr/lib/grub/i386-pc. The payload equals grub-mkimage's; compressed it may differ by a few bytes.
"""

from __future__ import annotations

import lzma
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from dibo.errors import LayoutError
from dibo.formats import magic
from dibo.units import SECTOR

LIST: Final = "moddep.lst"
DISK_BOOT: Final = "diskboot.img"
DECOMPRESSOR: Final = "lzma_decompress.img"
KERNEL: Final = "kernel.img"

_LZMA: Final = ({"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2},)
_SIZES: Final = struct.Struct("<II")
_SIZES_AT: Final = 0x08
_LENGTH: Final = struct.Struct("<H")
_LENGTH_AT: Final = 0x1FC
_MODULES_MAGIC: Final = 0x676D696D
_MODULES: Final = struct.Struct("<III")
_OBJECT: Final = struct.Struct("<II")
_ELF_OBJECT, _CONFIG_OBJECT, _PREFIX_OBJECT = 0, 2, 3
_ALLOCATED: Final = 0x2  # SHF_ALLOC
_NO_BITS: Final = 8  # SHT_NOBITS


class _ElfHeader(NamedTuple):
    """Elf32_Ehdr, elf(5)."""

    ident: bytes
    kind: int
    machine: int
    version: int
    entry: int
    program_headers: int
    section_headers: int
    flags: int
    size: int
    program_header_size: int
    program_header_count: int
    section_header_size: int
    section_header_count: int
    names_index: int


class _Section(NamedTuple):
    """Elf32_Shdr, elf(5)."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


_ELF: Final = struct.Struct("<16sHHIIIIIHHHHHH")
_SECTION: Final = struct.Struct("<10I")


def core_image(
    files: Mapping[str, bytes], *, modules: Sequence[str], prefix: str, config: bytes = b""
) -> bytes:
    """A core image with `modules` and what they depend on, its block list not set yet.

    `files` are those of /usr/lib/grub/i386-pc, by name. `config` runs before anything else is read. Raises
    LayoutError for a file that is missing or not what it should be.
    """
    packed = payload(files, modules=modules, prefix=prefix, config=config)
    compressed = lzma.compress(packed, format=lzma.FORMAT_RAW, filters=list(_LZMA))
    decompressor = bytearray(_file(files, DECOMPRESSOR))
    disk_boot = _file(files, DISK_BOOT)
    if len(disk_boot) != SECTOR or len(decompressor) < _SIZES_AT + _SIZES.size:
        raise LayoutError(
            f"GRUB's {DISK_BOOT} has {len(disk_boot)} bytes and its {DECOMPRESSOR} {len(decompressor)}: "
            f"expected {SECTOR}, and more than {_SIZES_AT + _SIZES.size}"
        )
    _SIZES.pack_into(decompressor, _SIZES_AT, len(compressed), len(packed))
    rest = bytes(decompressor) + compressed
    first = bytearray(disk_boot)
    _LENGTH.pack_into(first, _LENGTH_AT, -(-len(rest) // SECTOR))
    return bytes(first) + rest


def payload(files: Mapping[str, bytes], *, modules: Sequence[str], prefix: str, config: bytes = b"") -> bytes:
    """What the core image holds compressed. Raises LayoutError."""
    names = in_order(modules, _file(files, LIST))
    objects = b"".join(_object(_ELF_OBJECT, _file(files, f"{name}.mod")) for name in names)
    if config:
        objects += _object(_CONFIG_OBJECT, config + b"\0")
    objects += _object(_PREFIX_OBJECT, prefix.encode() + b"\0")
    header = _MODULES.pack(_MODULES_MAGIC, _MODULES.size, _MODULES.size + len(objects))
    return loaded(_file(files, KERNEL)) + header + objects


def in_order(modules: Sequence[str], dependencies: bytes) -> list[str]:
    """`modules` and all that they need, each after what it needs itself. `dependencies` is moddep.lst: a line for each
    module, its name, a colon, and the names of those that it needs directly. Raises LayoutError."""
    needs: dict[str, list[str]] = {}
    for line in dependencies.decode(errors="replace").splitlines():
        name, _, needed = line.partition(":")
        needs[name.strip()] = needed.split()
    order: dict[str, None] = {}
    open_modules: list[str] = []

    def add(name: str) -> None:
        if name in order:
            return
        if name not in needs or name in open_modules:
            raise LayoutError(f"GRUB's {LIST} does not say what the module {name!r} depends on")
        open_modules.append(name)
        for needed in needs[name]:
            add(needed)
        open_modules.pop()
        order[name] = None

    for name in modules:
        add(name)
    return list(order)


def loaded(elf: bytes) -> bytes:
    """The sections of a 32-bit ELF file that are loaded, at their addresses from the lowest on. Raises LayoutError."""
    sections = list(_loaded_sections(elf))
    if not sections:
        raise LayoutError(f"GRUB's {KERNEL} has nothing to load")
    start = min(section.address for section in sections)
    end = max(section.address + section.size for section in sections)
    if end - start > len(elf):
        raise LayoutError(f"GRUB's {KERNEL} spreads over {end - start} bytes, more than the file has")
    image = bytearray(end - start)
    for section in sections:
        data = elf[section.offset : section.offset + section.size]
        if len(data) != section.size:
            raise LayoutError(f"GRUB's {KERNEL} ends inside a section")
        image[section.address - start : section.address - start + section.size] = data
    return bytes(image) + bytes(-len(image) % 4)


def _loaded_sections(elf: bytes) -> Iterator[_Section]:
    if len(elf) < _ELF.size or not elf.startswith(magic.ELF + b"\x01\x01"):
        raise LayoutError(f"GRUB's {KERNEL} is no little-endian ELF file of 32 bits")
    header = _ElfHeader(*_ELF.unpack_from(elf))
    for index in range(header.section_header_count):
        offset = header.section_headers + index * header.section_header_size
        if header.section_header_size < _SECTION.size or offset + _SECTION.size > len(elf):
            raise LayoutError(f"GRUB's {KERNEL} ends inside its table of sections")
        section = _Section(*_SECTION.unpack_from(elf, offset))
        if section.flags & _ALLOCATED and section.kind != _NO_BITS and section.size:
            yield section


def _object(kind: int, data: bytes) -> bytes:
    padded = data + bytes(-len(data) % 4)
    return _OBJECT.pack(kind, _OBJECT.size + len(padded)) + padded


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise LayoutError(
            f"GRUB's {name} is missing", hint="the package grub-pc-bin has it, below /usr/lib/grub/i386-pc"
        )
    return files[name]
