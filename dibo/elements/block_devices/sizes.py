"""Sizes in block-device files: `T`, `G`, `M`, `K` count in powers of 1000, `TiB` to `KiB` in powers of 1024, `B` and
nothing in bytes; `54%` is a share of what the partitions before it leave."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from dibo.errors import LayoutError

_UNITS: Final = {"": 1, "B": 1} | {
    f"{prefix}{ending}": base**power
    for power, prefix in enumerate("KMGT", start=1)
    for ending, base in (("", 1000), ("B", 1000), ("iB", 1024))
}
_SIZE: Final = re.compile(r"(?P<number>[0-9.]*) ?(?P<unit>[A-Za-z]*)")


def parse_size(value: object, place: str) -> int:
    """Bytes; a unit alone is one of it. Raises LayoutError."""
    text = str(value)
    match = _SIZE.fullmatch(text) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if match is None or not text:
        raise LayoutError(f"{place}: expected a size such as 8MiB or 4G, got {value!r}")
    if match["unit"] not in _UNITS:
        raise LayoutError(
            f"{place}: unknown unit {match['unit']!r}", hint=f"units: {', '.join(_UNITS)}".rstrip()
        )
    return int(_number(match["number"] or "1", place) * _UNITS[match["unit"]])


def parse_share(value: object, place: str) -> Decimal | int:
    """Bytes as an int, or a percentage as a Decimal. Raises LayoutError."""
    if isinstance(value, str) and value.endswith("%"):
        percentage = _number(value.removesuffix("%").strip(), place)
        if not 0 < percentage <= 100:
            raise LayoutError(f"{place}: expected a share of 0% to 100%, got {value!r}")
        return percentage
    return parse_size(value, place)


def _number(text: str, place: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise LayoutError(f"{place}: expected a number, got {text!r}") from None
