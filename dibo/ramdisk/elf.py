"""What an ELF file says that it needs (System V ABI, chapter 5; ld.so(8)).

Only the program headers and the dynamic section are read, by pyelftools. Some things a program needs are in no header:
the C library opens modules of its name service switch when names are looked up, and libgcc_s when a thread ends in
the middle of its work. The names of the functions that lead there are in the table of strings, and that is looked at.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from dibo.formats import magic

MAGIC: Final = magic.ELF
_RESOLVERS: Final = (
    b"getaddrinfo",
    b"getnameinfo",
    b"gethostbyname",
    b"gethostbyname_r",
    b"gethostbyname2_r",
    b"getpwnam",
    b"getpwnam_r",
    b"getpwuid",
    b"getpwuid_r",
    b"getgrnam",
    b"getgrnam_r",
)
_MOST_TAGS: Final = 10_000
_UNWINDERS: Final = (b"pthread_exit", b"pthread_cancel", b"backtrace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """One file. Names as they are written there, `$ORIGIN` and all."""

    kind: tuple[int, str]
    """Bits and machine: a program can only use libraries of its kind."""
    interpreter: str | None
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]
    resolves: bool
    """Whether it looks up names of hosts or users through the C library."""
    unwinds: bool
    """Whether it may need libgcc_s while it runs."""


def read_elf(data: bytes) -> Elf:
    """Raises ValueError for what is not a whole ELF file."""
    from elftools.elf.elffile import ELFFile

    with _whole():
        return _read(ELFFile(io.BytesIO(data)))


def with_interpreter(data: bytes, path: str) -> bytes:
    """The program with another loader, whose path must be no longer than the former one's. The kernel takes the
    segment PT_INTERP up to its first zero (System V ABI, chapter 5). Raises ValueError."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.segments import InterpSegment

    with _whole():
        segments = ELFFile(io.BytesIO(data)).iter_segments()
        place = next((segment for segment in segments if isinstance(segment, InterpSegment)), None)
        if place is None:
            raise ValueError("it has no loader")
        start, size = place["p_offset"], place["p_filesz"]
    text = path.encode() + b"\0"
    if len(text) > size or start + size > len(data):
        raise ValueError(f"{path} is longer than the path of its loader, which has {size - 1} bytes")
    return data[:start] + text.ljust(size, b"\0") + data[start + size :]


@contextmanager
def _whole() -> Iterator[None]:
    """pyelftools trusts what it reads: a damaged file makes it raise whatever fails first, assertions among it."""
    try:
        yield
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"incomplete ELF file: {reason}") from error


def _read(file: object) -> Elf:
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile
    from elftools.elf.segments import InterpSegment

    assert isinstance(file, ELFFile)
    interpreter: str | None = None
    tags: dict[str, list[str]] = {"DT_NEEDED": [], "DT_RPATH": [], "DT_RUNPATH": []}
    strings = b""
    for segment in file.iter_segments():
        if isinstance(segment, InterpSegment):
            interpreter = segment.get_interp_name()
        elif isinstance(segment, DynamicSegment):
            numbers: dict[str, int] = {}
            for tag in islice(segment.iter_tags(), _MOST_TAGS):
                name = tag.entry.d_tag
                if name in tags:
                    tags[name].append(getattr(tag, name[3:].lower()))
                elif name in ("DT_STRTAB", "DT_STRSZ"):
                    numbers[name] = tag.entry.d_val
            strings = _strings(file, numbers)
    return Elf(
        kind=(file.elfclass, file["e_machine"]),
        interpreter=interpreter,
        needed=tuple(tags["DT_NEEDED"]),
        rpath=_split(tags["DT_RPATH"]),
        runpath=_split(tags["DT_RUNPATH"]),
        resolves=_any_of(_RESOLVERS, strings),
        unwinds=_any_of(_UNWINDERS, strings) or "libpthread.so.0" in tags["DT_NEEDED"],
    )


def _strings(file: object, numbers: dict[str, int]) -> bytes:
    from elftools.elf.elffile import ELFFile

    assert isinstance(file, ELFFile)
    if "DT_STRTAB" not in numbers:
        return b""
    offset = next(iter(file.address_offsets(numbers["DT_STRTAB"])), None)
    if offset is None:
        return b""
    file.stream.seek(offset)
    return bytes(file.stream.read(numbers.get("DT_STRSZ", 0)))


def _any_of(names: tuple[bytes, ...], strings: bytes) -> bool:
    return any(b"\0" + name + b"\0" in strings for name in names)


def _split(values: list[str]) -> tuple[str, ...]:
    return tuple(part for value in values for part in value.split(":") if part)


def modinfo(data: bytes) -> dict[str, list[str]]:
    """What a kernel module says of itself (.modinfo: `name=value`, ended by zeros). Raises ValueError."""
    from elftools.elf.elffile import ELFFile

    with _whole():
        section = ELFFile(io.BytesIO(data)).get_section_by_name(".modinfo")
        records = section.data() if section is not None else b""
    fields: dict[str, list[str]] = {}
    for record in records.split(b"\0"):
        name, sign, value = record.partition(b"=")
        if sign:
            fields.setdefault(name.decode(errors="replace"), []).append(value.decode(errors="replace"))
    return fields
