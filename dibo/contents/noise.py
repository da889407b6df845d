"""Files that differ between any two images, even of the same recipe: logs, caches, ids of machines.

`dibo diff` leaves them out unless it is told to show all, and says how many they are.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import Final

_ALWAYS: Final = (
    b"run/",
    b"tmp/",
    b"var/tmp/",
    b"var/log/",
    b"var/cache/",
    b"var/lib/apt/lists/",
    b"lost+found",
    b".dockerenv",
)
"""Whatever is there, whole or in part."""
_CONTENT: Final = re.compile(
    rb"etc/machine-id|var/lib/dbus/machine-id"  # machine-id(5)
    rb"|etc/ssh/ssh_host_[a-z0-9]+_key(?:\.pub)?"
    rb"|var/lib/systemd/(?:random-seed|catalo[g]/database)"
    rb"|etc/(?:passwd|shadow|group|gshadow|subuid|subgid)-"  # copies that passwd(1) keeps
    rb"|var/lib/dpkg/.+-old"
    rb"|.+/__pycache__/.+\.pyc"  # has the time of its source (PEP 552)
    rb"|(?:usr/)?lib/modules/[^/]+/modules\.[a-z.]+\.bin"
)
"""Whose bytes differ; that they are there at all, and their owners and modes, counts."""


def is_noise(path: bytes) -> bool:
    """Whether no difference of the file says anything."""
    return path.startswith(_ALWAYS)


def is_noisy_content(path: bytes) -> bool:
    """Whether other bytes of the file say nothing."""
    return _CONTENT.fullmatch(path) is not None


class Excluded:
    """What users exclude: globs as in fnmatch(3), of whole paths, `*` also over slashes; without a slash in them, of
    names; a directory stands for all that is in it."""

    def __init__(self, globs: Sequence[str]) -> None:
        expressions = [_expression(glob) for glob in globs]
        self._pattern = re.compile("|".join(expressions).encode()) if expressions else None

    def __call__(self, path: bytes) -> bool:
        return self._pattern is not None and self._pattern.fullmatch(path) is not None


def _expression(glob: str) -> str:
    text = glob.strip("/")
    body = fnmatch.translate(text).removeprefix("(?s:").removesuffix(r")\Z")
    above = "" if "/" in glob.rstrip("/") else "(?:.*/)?"
    return rf"(?s:{above}(?:{body})(?:/.*)?)"
