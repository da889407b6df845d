"""The values of options and variables, checked: pure functions of what the user wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dibo.errors import UsageError
from dibo.flavours.epoch import start_of
from dibo.flavours.model import ARCHITECTURES
from dibo.flavours.schema import nearest
from dibo.images.platforms import split_architecture
from dibo.system.resources import expanded
from dibo.units import parse_gib

MACHINES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "armhf",
    "i386": "i386",
    "i686": "i386",
    "riscv64": "riscv64",
}
"""The architecture in Debian's words, by the kernel's."""
LAYER_COMPRESSIONS: Final = ("zstd", "gzip", "none")
_PACKAGE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+:=~-]*")
_EPOCH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}")


def store_limit(text: str) -> int | None:
    """Bytes from a number of GiB; None for 0. Raises UsageError."""
    if text.strip() == "0":
        return None
    try:
        return parse_gib(text, name="DIBO_STORE_LIMIT")
    except UsageError as error:
        raise UsageError(error.message, hint="such as 20 or 1.5; 0 is no limit") from error


def architecture_and_variant(name: str, *, set_by: str = "-a") -> tuple[str, str]:
    """Debian's word, and the variant, of `amd64`, `x86_64` or `amd64/v2`; `set_by` is the option or variable. Raises
    UsageError."""
    architecture, variant = split_architecture(name)
    if architecture not in ARCHITECTURES:
        raise UsageError(
            f"{name!r} is no architecture dibo knows{nearest(name, ARCHITECTURES)}",
            hint=f"{set_by} takes {', '.join(ARCHITECTURES)}, and a variant after a slash: amd64/v2",
        )
    return architecture, variant


def epoch_name(epoch: str) -> str:
    """Raises UsageError."""
    if _EPOCH.fullmatch(epoch) is None:
        raise UsageError(
            f"{epoch!r} cannot be an epoch", hint="use letters, digits, dots and dashes: 2026-11, build-7"
        )
    return epoch


def one_of(name: str, value: str, possible: Sequence[str]) -> str:
    """The value of `name`, an option or a variable. Raises UsageError, with what it takes."""
    if value not in possible:
        raise UsageError(f"{value!r} is no value of {name}", hint=f"{name} takes {', '.join(possible)}")
    return value


def artefact_types(text: str, *, set_by: str = "-t") -> tuple[str, ...]:
    """Each once, from words between commas; `set_by` is the option or variable. Raises UsageError."""
    types = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not types:
        raise UsageError(
            f"{set_by} names no type of artefact", hint="such as qcow2, or several: raw,qcow2,tar"
        )
    return types


def package_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Those of -p: each text has one, or several with commas between. Raises UsageError for what is none."""
    names = tuple(name for text in texts for name in text.replace(",", " ").split())
    for name in names:
        if _PACKAGE_NAME.fullmatch(name) is None:
            raise UsageError(
                f"{name!r} is not the name of a package", hint="-p takes names, separated by commas"
            )
    return names


def source_date_epoch(text: str | None, epoch: str, now: datetime) -> int:
    """SOURCE_DATE_EPOCH when it is set, else the start of an epoch that is a date, else the start of this month; in
    seconds since 1970. Raises UsageError."""
    if text:
        if re.fullmatch(r"[0-9]{1,12}", text) is None:
            raise UsageError(f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds since 1970")
        return int(text)
    seconds = start_of(epoch)
    return seconds if seconds is not None else int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp())


def enough_hint(set_by: str, size: float) -> str:
    """For an image that is too small: what set its size, and that `size`, in GiB, is enough."""
    if set_by in ("--image-size", "IMAGE_SIZE"):
        return f"{set_by}{'=' if set_by == 'IMAGE_SIZE' else ' '}{size:g} is enough"
    return f"{set_by} set the size; --image-size {size:g} (or IMAGE_SIZE={size:g}) is enough"


def paths_of(words: Iterable[str]) -> tuple[Path, ...]:
    """Those that are not empty."""
    return tuple(Path(word) for word in words if word)


def signers(
    named: str | None, keys_named: Sequence[str], environment: Mapping[str, str]
) -> tuple[tuple[Path, ...], Path | None]:
    """The public keys that count, or the policy that says which. `named` and `keys_named` are of options; one of either
    kind overrides the variables of both. Raises UsageError where both are given."""
    policy = named
    if named is None and not keys_named:
        policy = environment.get("DIBO_POLICY") or None
        keys = paths_of(environment.get("DIBO_VERIFY_KEYS", "").split(":"))
    else:
        keys = paths_of(keys_named)
    if keys and policy is not None:
        raise UsageError(
            "keys to verify with and a policy are both given",
            hint="name the keys in the policy, or leave the policy out",
        )
    return keys, expanded(policy) if policy else None
