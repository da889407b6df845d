"""The values of options and variables, checked: pure functions of what the user wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dibo.errors import UsageError
from dibo.flavours.epoch import start_of
from dibo.flavours.model import ARCHITECTURES
from dibo.flavours.schema import nearest
from dibo.images.platforms import split_architecture
from dibo.units import parse_gib

LAYER_COMPRESSIONS: Final = ("zstd", "gzip", "none")
_EPOCH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}")


def compression(name: str) -> str:
    """Raises UsageError."""
    if name not in LAYER_COMPRESSIONS:
        raise UsageError(
            f"{name!r} is no compression of layers", hint=f"use one of {', '.join(LAYER_COMPRESSIONS)}"
        )
    return name


def store_limit(text: str) -> int | None:
    """Bytes from a number of GiB; None for 0. Raises UsageError."""
    if text.strip() == "0":
        return None
    try:
        return parse_gib(text)
    except UsageError as error:
        raise UsageError(
            f"DIBO_STORE_LIMIT is {text!r}, not a number of GB", hint="such as 20 or 1.5; 0 is no limit"
        ) from error


def architecture_and_variant(name: str) -> tuple[str, str]:
    """Debian's word, and the variant, of `amd64`, `x86_64` or `amd64/v2`. Raises UsageError."""
    architecture, variant = split_architecture(name)
    if architecture not in ARCHITECTURES:
        raise UsageError(
            f"{name!r} is no architecture dibo knows{nearest(name, ARCHITECTURES)}",
            hint=f"-a takes {', '.join(ARCHITECTURES)}, and a variant after a slash: amd64/v2",
        )
    return architecture, variant


def epoch_name(epoch: str) -> str:
    """Raises UsageError."""
    if _EPOCH.fullmatch(epoch) is None:
        raise UsageError(
            f"{epoch!r} cannot be an epoch", hint="use letters, digits, dots and dashes: 2026-11, build-7"
        )
    return epoch


def one_of(option: str, value: str, possible: Sequence[str]) -> str:
    """Raises UsageError, with what `option` takes."""
    if value not in possible:
        raise UsageError(f"{value!r} is no value of {option}", hint=f"{option} takes {', '.join(possible)}")
    return value


def artefact_types(text: str) -> tuple[str, ...]:
    """Each once, from words between commas. Raises UsageError."""
    types = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not types:
        raise UsageError("no type of artefact is named", hint="-t qcow2, or several: -t raw,qcow2,tar")
    return types


def source_date_epoch(text: str | None, epoch: str, now: datetime) -> int:
    """SOURCE_DATE_EPOCH when it is set, else the start of an epoch that is a date, else the start of this month; in
    seconds since 1970. Raises UsageError."""
    if text:
        if re.fullmatch(r"[0-9]{1,12}", text) is None:
            raise UsageError(f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds since 1970")
        return int(text)
    seconds = start_of(epoch)
    return seconds if seconds is not None else int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp())


def paths_of(words: Iterable[str]) -> tuple[Path, ...]:
    """Those that are not empty."""
    return tuple(Path(word) for word in words if word)
