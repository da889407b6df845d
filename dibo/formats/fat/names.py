"""Names in a FAT directory: the 8.3 alias of every file, and the entries that carry its long name.

A long name lies in entries of 32 bytes before the entry that it belongs to, its last part first:

     0 u8 number of the part, from 1; 0x40 added on the last part      13 u8 checksum of the alias
     1 5 units UTF-16LE    11 u8 0x0f    12 u8 0                       14 6 units    26 u16 0    28 2 units

A name that ends inside a part is followed by 0x0000 and then 0xffff. The alias is what old readers see, and
the checksum ties the two together. Microsoft, "FAT: General Overview of On-Disk Format" 1.03 (fatgen103),
"Long Directory Entries" and "The Basis-Name Generation Algorithm".
"""

from __future__ import annotations

import re
from collections.abc import Collection

from dibo.errors import OutputError

MAX_UNITS = 255
_UNITS_PER_ENTRY = 13
_LAST = 0x40
_ATTR_LONG_NAME = 0x0F
_FORBIDDEN = re.compile(r'[\x00-\x1f"*/:<>?\\|\x7f]')
_SHORT = re.compile(r"[A-Z0-9$%'\-_@~`!(){}^#&]")


def check_name(name: str, *, path: str) -> None:
    """Raise OutputError if FAT cannot hold `name`, the last part of `path`."""
    match = _FORBIDDEN.search(name)
    units = _units(name)
    if name in ("", ".", ".."):
        problem = f"{name!r} cannot be a name"
    elif match is not None:
        problem = f"the character {match[0]!r} is not allowed"
    elif name[-1] in ". ":
        problem = "readers cut a dot or a space at the end of a name off"
    elif units is None:
        problem = "the name is not Unicode"
    elif len(units) > 2 * MAX_UNITS:
        problem = f"the name is longer than {MAX_UNITS} UTF-16 units"
    else:
        return
    raise OutputError(f"FAT cannot hold {path!r}: {problem}")


def fold(name: str) -> str:
    """What FAT compares names by: capitals, one character for one."""
    return "".join(upper if len(upper := character.upper()) == 1 else character for character in name)


def short_names(names: Collection[str]) -> dict[str, bytes]:
    """The alias of each of the names in one directory, as 11 bytes. The order of `names` does not matter.

    Names that are 8.3 but for their case keep themselves; the others get a number (`LONGNA~1.TXT`).
    """
    aliases = {name: basis for name in names if (basis := _exact(name)) is not None}
    taken = set(aliases.values())
    for name in sorted(set(names) - set(aliases)):
        aliases[name] = _numbered(*_basis(name), taken)
        taken.add(aliases[name])
    return aliases


def long_entries(name: str, alias: bytes) -> bytes:
    """The entries that go before the one of `name`; none if its alias says all."""
    if _exact(name) == alias and name == name.upper():
        return b""
    units = (_units(name) or b"") + b"\0\0"
    count = -(-(len(units) - 2) // (2 * _UNITS_PER_ENTRY))
    units = units[: count * 2 * _UNITS_PER_ENTRY].ljust(count * 2 * _UNITS_PER_ENTRY, b"\xff")
    entries = [_long_entry(units, number, checksum(alias)) for number in range(1, count + 1)]
    entries[-1] = bytes([count | _LAST]) + entries[-1][1:]
    return b"".join(reversed(entries))


def checksum(alias: bytes) -> int:
    """fatgen103, ChkSum(): rotate right, add."""
    value = 0
    for byte in alias:
        value = ((value >> 1 | value << 7) + byte) & 0xFF
    return value


def _long_entry(units: bytes, number: int, alias_checksum: int) -> bytes:
    part = units[(number - 1) * 2 * _UNITS_PER_ENTRY : number * 2 * _UNITS_PER_ENTRY]
    head = bytes([_ATTR_LONG_NAME, 0, alias_checksum])
    return bytes([number]) + part[:10] + head + part[10:22] + b"\0\0" + part[22:]


def _units(name: str) -> bytes | None:
    try:
        return name.encode("utf-16-le")
    except UnicodeEncodeError:  # a lone surrogate: a byte of a file name that was not UTF-8
        return None


def _exact(name: str) -> bytes | None:
    """The alias of a name that is 8.3 already, whatever its case."""
    stem, dot, extension = name.upper().partition(".")
    fits = 1 <= len(stem) <= 8 and len(extension) <= 3 and bool(extension or not dot)
    if not fits or not name.isascii() or not all(map(_SHORT.fullmatch, stem + extension)):
        return None
    return _join(stem, extension)


def _basis(name: str) -> tuple[str, str]:
    """Stem and extension of a name that needs a number."""
    plain = fold(name).replace(" ", "").lstrip(".")
    stem, _, extension = plain.rpartition(".") if "." in plain else (plain, "", "")
    return _replace(stem.replace(".", "")), _replace(extension)[:3]


def _replace(text: str) -> str:
    return "".join(character if _SHORT.fullmatch(character) else "_" for character in text)


def _numbered(stem: str, extension: str, taken: set[bytes]) -> bytes:
    number = 1
    while True:  # ends: a directory has fewer than 65,536 entries, the numbers go to 999,999
        tail = f"~{number}"
        alias = _join(stem[: 8 - len(tail)] + tail, extension)
        if alias not in taken:
            return alias
        number += 1


def _join(stem: str, extension: str) -> bytes:
    return stem.ljust(8).encode("ascii") + extension.ljust(3).encode("ascii")
