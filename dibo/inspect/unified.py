"""Unified kernel images: a kernel, its ramdisk and its command line in the sections of one program for UEFI.

    .linux   .initrd   .cmdline   .uname   .ucode (microcode, which comes before the ramdisk)

They are /EFI/Linux/*.efi of the EFI system partition. UAPI Group Specifications, "Unified Kernel Image"; the
format is in dibo.formats.pe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dibo.errors import DiskImageError, LayoutError
from dibo.formats import pe
from dibo.formats.filesystem import FileEntry, FileSystem, Kind, find, names_in

_PLACES: Final = ("/EFI/Linux", "/boot/efi/EFI/Linux", "/efi/EFI/Linux")
_MOST_IMAGES: Final = 64
_MOST_TEXT: Final = 64 << 10
_HEAD: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class _Part:
    """A section: where it is in the file."""

    offset: int


class Unified:
    """An image, as a FileSystem of the volume that it is on: its sections can be read like files."""

    def __init__(
        self, system: FileSystem, path: str, file: FileEntry, sections: dict[str, FileEntry]
    ) -> None:
        self._system, self._file = system, file
        self.path = path
        self.name = path.rpartition("/")[2].removesuffix(".efi")
        self.kernel = sections[".linux"]
        self.ramdisks = tuple((name, sections[name]) for name in (".ucode", ".initrd") if name in sections)
        self.version = self._text(sections.get(".uname"))
        self.arguments = tuple(self._text(sections.get(".cmdline")).split())

    @property
    def root(self) -> FileEntry:
        return self._system.root

    def names(self, directory: FileEntry) -> tuple[bytes, ...]:
        return self._system.names(directory)

    def lookup(self, directory: FileEntry, name: bytes) -> FileEntry | None:
        return self._system.lookup(directory, name)

    def target(self, link: FileEntry) -> bytes:
        return self._system.target(link)

    def content(self, file: FileEntry) -> Iterator[bytes]:
        if not isinstance(file.handle, _Part):
            yield from self._system.content(file)
            return
        skip, left = file.handle.offset, file.size
        for piece in self._system.content(self._file):
            part = piece[skip : skip + left]
            skip = max(0, skip - len(piece))
            left -= len(part)
            yield part
            if not left:
                return

    def _text(self, section: FileEntry | None) -> str:
        if section is None or section.size > _MOST_TEXT:
            return ""
        return b"".join(self.content(section)).split(b"\0")[0].decode(errors="replace").strip()


def unified_images(system: FileSystem) -> Iterator[Unified]:
    """Those of a volume that have a kernel in them."""
    for place in _PLACES:
        names = [name for name in names_in(system, place) if name.lower().endswith(b".efi")]
        for name in names[:_MOST_IMAGES]:
            path = f"{place}/{name.decode(errors='replace')}"
            file = find(system, path)
            if file is None or file.kind is not Kind.FILE:
                continue
            sections = _sections(system, file)
            if ".linux" in sections:
                yield Unified(system, path, file, sections)


def _sections(system: FileSystem, file: FileEntry) -> dict[str, FileEntry]:
    """By name; none for what is no program for UEFI. Raises DiskImageError for one that is cut short."""
    try:
        headers = pe.read_headers(_head(system, file))
    except LayoutError:
        return {}
    sections: dict[str, FileEntry] = {}
    for section in headers.sections if headers is not None else ():
        if section.offset + section.length > file.size:
            end = section.offset + section.length
            raise DiskImageError(f"a unified kernel image ends before byte {end}: is it whole?")
        part = FileEntry(kind=Kind.FILE, size=section.length, handle=_Part(section.offset))
        sections.setdefault(section.name, part)
    return sections


def _head(system: FileSystem, file: FileEntry) -> bytes:
    head = b""
    for piece in system.content(file):
        head += piece
        if len(head) >= _HEAD:
            break
    return head[:_HEAD]
