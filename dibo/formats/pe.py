"""PE/COFF images: programs for UEFI, and unified kernel images, which are such programs with more sections.

    0x3c u32 offset of:
        "PE\\0\\0"         u16 machine, u16 sections, u32 time, u32 and u32 of symbols, u16 optional header, u16 flags
        optional header  so many bytes; u16 magic (0x20b: PE32+, 0x10b: PE32), sizes, alignments, data directories
        sections         8s name, u32 size, u32 address, u32 bytes in the file, u32 where, 12 bytes, u32 flags
    the bytes of sections, each from a multiple of FileAlignment on

    a unified kernel image: systemd-stub, and behind its sections
        .osrel .cmdline .uname .initrd      text, text, the kernel's version, a cpio
        .linux                              the kernel, itself such an image: last, since it may unpack in place

All little-endian. PE Format (Microsoft): "COFF File Header", "Optional Header", "Section Table". UAPI Group
Specifications: "Unified Kernel Image". Fields are set as systemd's ukify and `objcopy --add-section` set them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from dibo.errors import LayoutError
from dibo.formats import magic

MACHINES: Final = {
    "amd64": 0x8664,
    "arm64": 0xAA64,
    "i386": 0x14C,
    "armhf": 0x1C2,
    "riscv64": 0x5064,
    "loong64": 0x6264,
}
"""IMAGE_FILE_MACHINE_*: what firmware of an architecture starts."""
UNIFIED_SECTIONS: Final = (".osrel", ".cmdline", ".uname", ".initrd", ".linux")
MOST_SECTIONS: Final = 96
"""The Windows loader's limit; firmware has none that is written down."""

_NEW_HEADER_AT: Final = struct.Struct("<60xI")
_COFF: Final = struct.Struct("<4sHHIIIHH")
_SECTION: Final = struct.Struct("<8sIIII12xI")
_SIGNATURE: Final = b"PE\0\0"
_PE32, _PE32_PLUS = 0x10B, 0x20B
_CODE_SIZE_AT, _DATA_SIZE_AT = 4, 8
_ALIGNMENTS_AT, _IMAGE_SIZE_AT, _HEADERS_SIZE_AT, CHECKSUM_AT = 32, 56, 60, 64
"""Offsets in the optional header; these are the same in both kinds."""
_DIRECTORIES_AT: Final = {_PE32: 96, _PE32_PLUS: 112}
_CERTIFICATES: Final = 4  # IMAGE_DIRECTORY_ENTRY_SECURITY
_PAGE: Final = 4096
_MOST_ALIGNMENT: Final = 1 << 21
"""Programs for UEFI have 64 KiB at most."""
_CODE_FLAGS: Final = 0x60000020  # code, may be executed and read
_DATA_FLAGS: Final = 0x40000040  # initialised data, may be read


class Section(NamedTuple):
    """A row of the section table."""

    name: str
    size: int
    address: int
    stored: int
    offset: int
    flags: int

    @property
    def length(self) -> int:
        """Bytes in the file that are the section's, without padding."""
        return min(self.size, self.stored) or self.stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """The headers of an image, and where what changes of them is. Offsets in bytes from the beginning of the file."""

    machine: int
    coff_at: int
    optional_at: int
    is_plus: bool
    section_alignment: int
    file_alignment: int
    headers_size: int
    image_size: int
    directories: int
    """How many data directories the optional header has."""
    table_at: int
    sections: tuple[Section, ...]

    @property
    def certificates_at(self) -> int | None:
        """Where u32 offset and u32 size of the certificate table are; None where the image has no such directory."""
        if self.directories <= _CERTIFICATES:
            return None
        kind = _PE32_PLUS if self.is_plus else _PE32
        return self.optional_at + _DIRECTORIES_AT[kind] + 8 * _CERTIFICATES


def read_headers(head: bytes) -> Headers | None:
    """The headers of an image that begins with `head`; None for what is no such image. Raises LayoutError for one whose
    headers are damaged, or longer than `head`."""
    if not head.startswith(magic.PE) or len(head) < _NEW_HEADER_AT.size:
        return None
    (coff_at,) = _NEW_HEADER_AT.unpack_from(head)
    if coff_at + _COFF.size > len(head) or not head.startswith(_SIGNATURE, coff_at):
        return None
    _, machine, count, _, _, _, optional_size, _ = _COFF.unpack_from(head, coff_at)
    optional_at = coff_at + _COFF.size
    table_at = optional_at + optional_size
    if count > MOST_SECTIONS or table_at + count * _SECTION.size > len(head):
        raise LayoutError("the headers of a PE image are cut short, or have too many sections")
    kind = int.from_bytes(head[optional_at : optional_at + 2], "little")
    if kind not in _DIRECTORIES_AT or optional_size < _DIRECTORIES_AT[kind]:
        raise LayoutError(f"a PE image has an optional header of kind {kind:#x}: expected 0x10b or 0x20b")
    alignments = struct.unpack_from("<II", head, optional_at + _ALIGNMENTS_AT)
    image_size, headers_size = struct.unpack_from("<II", head, optional_at + _IMAGE_SIZE_AT)
    (directories,) = struct.unpack_from("<I", head, optional_at + _DIRECTORIES_AT[kind] - 4)
    rows = (_SECTION.unpack_from(head, table_at + number * _SECTION.size) for number in range(count))
    return Headers(
        machine=machine,
        coff_at=coff_at,
        optional_at=optional_at,
        is_plus=kind == _PE32_PLUS,
        section_alignment=alignments[0],
        file_alignment=alignments[1],
        headers_size=headers_size,
        image_size=image_size,
        directories=min(directories, (optional_size - _DIRECTORIES_AT[kind]) // 8),
        table_at=table_at,
        sections=tuple(
            Section(raw.rstrip(b"\0").decode(errors="replace"), *numbers) for raw, *numbers in rows
        ),
    )


def sections(image: bytes) -> dict[str, bytes]:
    """The bytes of each section, by name; nothing for what is no image. Raises LayoutError."""
    headers = read_headers(image)
    return {
        section.name: image[section.offset : section.offset + section.length]
        for section in (headers.sections if headers is not None else ())
    }


def unified_image(stub: bytes, *, architecture: str, parts: Mapping[str, bytes]) -> bytes:
    """A unified kernel image: `stub` with a section for each of `parts`, whose names are those of UNIFIED_SECTIONS.

    The same input gives the same bytes. Raises LayoutError for a stub that is none for `architecture`, or that has no
    room for more sections.
    """
    headers = read_headers(stub)
    if headers is None or headers.machine != MACHINES.get(architecture):
        raise LayoutError(
            f"systemd-stub is no program for UEFI on {architecture}",
            hint="the package systemd-boot-efi (Debian) or systemd-boot-unsigned (Fedora) has linux*.efi.stub",
        )
    names = [name for name in UNIFIED_SECTIONS if name in parts]
    present = {section.name for section in headers.sections}.intersection(names)
    _require_sound(headers, len(stub))
    first = min((section.offset for section in headers.sections if section.stored), default=0)
    room = min(headers.headers_size, first) - headers.table_at - len(headers.sections) * _SECTION.size
    if present or len(names) * _SECTION.size > room:
        reason = f"it has {min(present)} already" if present else "its headers have no room for more sections"
        raise _unusable(reason)
    try:
        return _with_sections(stub, headers, {name: parts[name] for name in names})
    except struct.error:
        raise _unusable("with its kernel it takes more than 4 GiB") from None


def _unusable(reason: str) -> LayoutError:
    return LayoutError(
        f"no unified kernel image can be made of systemd-stub: {reason}",
        hint="install systemd-boot-efi (Debian) or systemd-boot-unsigned (Fedora) anew in the image",
    )


def _require_sound(headers: Headers, size: int) -> None:
    """Raises LayoutError for a stub of `size` bytes whose headers contradict each other or the file."""
    if not headers.sections:
        raise _unusable("it has no sections")
    for name, number in (
        ("FileAlignment", headers.file_alignment),
        ("SectionAlignment", headers.section_alignment),
    ):
        if not 0 < number <= _MOST_ALIGNMENT or number & number - 1:
            raise _unusable(f"its {name} is {number}: expected a power of 2, {_MOST_ALIGNMENT} at most")
    for section in headers.sections:
        if section.stored and not headers.headers_size <= section.offset <= size - section.stored:
            raise _unusable(f"its section {section.name!a} lies outside of the file, or on its headers")


def _with_sections(stub: bytes, headers: Headers, parts: Mapping[str, bytes]) -> bytes:
    """Raises struct.error for numbers that are too large."""
    last = max(section.offset + section.stored for section in headers.sections)
    head = bytearray(stub[:last])
    at = _up(last, headers.file_alignment)
    pieces: list[bytes] = [bytes(at - len(head))]
    end = max(section.address + section.size for section in headers.sections)
    code = data = 0
    for number, (name, content) in enumerate(parts.items(), start=len(headers.sections)):
        stored = len(content) + -len(content) % headers.file_alignment
        size = max(len(content), _size_in_memory(content)) if name == ".linux" else len(content)
        address = _up(end, max(headers.section_alignment, _PAGE))
        flags = _CODE_FLAGS if name == ".linux" else _DATA_FLAGS
        code, data = (code + stored, data) if name == ".linux" else (code, data + stored)
        row = headers.table_at + number * _SECTION.size
        _SECTION.pack_into(head, row, name.encode(), size, address, stored, at, flags)
        pieces += [content, bytes(stored - len(content))]
        at, end = at + stored, address + size
    _update(head, headers, count=len(headers.sections) + len(parts), image_end=end, sizes=(code, data))
    return b"".join([bytes(head), *pieces])


def _size_in_memory(kernel: bytes) -> int:
    """What a kernel takes when it is unpacked in place: its own SizeOfImage."""
    headers = read_headers(kernel)
    return headers.image_size if headers is not None else 0


def _update(head: bytearray, headers: Headers, *, count: int, image_end: int, sizes: tuple[int, int]) -> None:
    """The fields that more sections change. The checksum is not looked at for programs of UEFI: zero says that there is
    none. So does an empty certificate table: signatures cover the whole file. Symbols for debuggers, which lie behind
    the sections, go: the digest of a signature knows no gaps between sections."""
    struct.pack_into("<H", head, headers.coff_at + 6, count)
    struct.pack_into("<II", head, headers.coff_at + 12, 0, 0)
    for offset, more in zip((_CODE_SIZE_AT, _DATA_SIZE_AT), sizes, strict=True):
        (old,) = struct.unpack_from("<I", head, headers.optional_at + offset)
        struct.pack_into("<I", head, headers.optional_at + offset, old + more)
    image_size = _up(image_end, headers.section_alignment)
    struct.pack_into("<I", head, headers.optional_at + _IMAGE_SIZE_AT, image_size)
    struct.pack_into("<I", head, headers.optional_at + CHECKSUM_AT, 0)
    if headers.certificates_at is not None:
        struct.pack_into("<II", head, headers.certificates_at, 0, 0)


def _up(number: int, unit: int) -> int:
    return number + -number % unit
