"""What the outputs of several images are called, and lists of images."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.errors import UsageError
from dibo.images.sources.table import SOURCES

_ENDINGS: Final = (".gz", ".zst", ".tgz", ".tar", ".oci")
_DIGITS: Final = 12
"""Of a digest that are part of a name."""
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedImage:
    """An image, and the name of what it becomes, without a type."""

    reference: str
    name: str


def named(reference: str) -> NamedImage:
    """The image, under the last part of its own name, with its tag: `registry.example/images/web:1` becomes `web-1`,
    `oci:web-layout` becomes `web-layout`."""
    prefix = max((prefix for prefix in SOURCES if reference.startswith(prefix)), key=len)
    path, _, digest = reference.removeprefix(prefix).partition("@")
    last = path.rstrip("/").rpartition("/")[2]
    base, _, tag = last.partition(":")
    for ending in _ENDINGS:
        base = base.removesuffix(ending)
    parts = [base, tag, digest.rpartition(":")[2][:_DIGITS]]
    name = "-".join(_UNUSUAL.sub("-", part).strip("-") for part in parts if part)
    return NamedImage(reference=reference, name=name.strip(".-") or "image")


def listed(text: str, *, origin: str) -> Iterator[NamedImage]:
    """The images of a list: on each line `IMAGE` or `IMAGE NAME`, in quotes where they have spaces; `#` begins a
    comment. Raises UsageError."""
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{origin}, line {number}"
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise UsageError(f"{place}: {error}", hint="quotes come in pairs") from error
        if len(words) > 2:
            raise UsageError(
                f"{place}: expected IMAGE, or IMAGE NAME, got {line.strip()!r}",
                hint="write what has spaces in quotes",
            )
        if not words:
            continue
        reference, *names = words
        if not all(word.isprintable() for word in words):
            raise UsageError(
                f"{place}: {line.strip()!a} has control characters", hint="write it without them"
            )
        if names and (Path(names[0]).name != names[0] or names[0] in (".", "..")):
            raise UsageError(
                f"{place}: {names[0]!r} is not the name of a file",
                hint="-o names the directory; a list has names in it",
            )
        yield NamedImage(reference=reference, name=names[0]) if names else named(reference)
