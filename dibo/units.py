"""Sizes as text and as bytes.

Inside dibo a size is an int of bytes. Users write `64MiB`, `1.5GiB`, `2G`; a bare number in
IMAGE_SIZE means GiB (as in `qemu-img create … ${IMAGE_SIZE}G`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from dibo.errors import UsageError

OnBytes = Callable[[int, int | None], None]
"""Gets the bytes that are done, and of how many; None where that is not known."""
SECTOR = 512
KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

_FACTORS = {"": 1, "B": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?:(?P<prefix>[KMGT])(?:iB|B)?|B)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of `64MiB`, `64M`, `1.5G` or `4096`. Every prefix is binary. Raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a size", hint="write a number and a unit, such as 64MiB or 1.5GiB")
    return int(Decimal(match["number"]) * _FACTORS[(match["prefix"] or "").upper()])


def parse_gb(text: str, *, name: str) -> int:
    """Bytes of the value of an option that is a number of GB, `10` or `0.5`, which may be 0. Raises UsageError."""
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text.strip()) is None:
        raise UsageError(
            f"{name} {text!r} is not a number of GB", hint="write a number without a unit, such as 10 or 0.5"
        )
    return int(Decimal(text.strip()) * GIB)


def parse_gib(text: str, *, name: str) -> int:
    """Bytes of the value of `name`, an option or a variable that is a number of GiB with or without a fraction, larger
    than 0. Raises UsageError.

    The result is rounded up to whole MiB, so that partitions end on their alignment.
    """
    is_number = re.fullmatch(r"\d{1,6}(?:\.\d{1,12})?|\.\d{1,12}", text.strip()) is not None
    size = -(-int(Decimal(text.strip()) * GIB) // MIB) * MIB if is_number else 0
    if size == 0:
        expected = "more than 0" if is_number else "a number of"
        raise UsageError(
            f"{name}: expected {expected} GB, got {text!r}", hint="such as 2 or 1.5; a GB is 2^30 bytes"
        )
    return size


def format_gib(size: int) -> str:
    """What parse_gib reads back: GiB, without needless digits."""
    text = format(Decimal(size) / GIB, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def exact_size(size: int) -> str:
    """What parse_size reads back, in the largest unit that leaves no fraction. `size` is in whole KiB."""
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB)):
        if size % factor == 0 and size:
            return f"{size // factor}{unit}"
    return f"{size // KIB}KiB"


def human_size(size: int) -> str:
    """For people: three digits and a binary unit."""
    if size < KIB:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"
    return f"{value / 1024:.3g} TiB"


def counted(count: int, noun: str) -> str:
    """For people: `1 layer`, `2 layers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def human_time(seconds: float) -> str:
    """For people: `0.4 s`, `2 min 5 s`, `1 h 2 min`; of a whole number of seconds without a fraction."""
    if seconds < 60:
        return f"{seconds} s" if isinstance(seconds, int) else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
