"""The order of kernel versions, in one place: a root, a ramdisk and a disk image choose the same kernel.

    5.10.0-8  <  6.1.0-rc1, 6.1.0~rc2  <  6.1.0-9-amd64  <  6.1.0-13-rt-amd64 | -cloud-amd64 | -amd64  <  6.10

Numbers count as numbers; what is not released yet comes before the release. One release is often built several times,
and which of these builds a machine starts its boot loader says: those are ordered by `default_order`, and where that
does not name them, backwards by their names, so that the plain build (-amd64, -generic) comes last and is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

_RELEASE: Final = re.compile(r"\d[^-+]*(?:-(?:rc)?\d[^-+]*)*")
_UNFINISHED: Final = ("~", "-rc")
_LINUX_LINE: Final = re.compile(
    r"^\s*linux(?:16|efi)?\s+\S*?/?(?:vmlinuz|vmlinux|Image|kernel)-(\S+)", re.MULTILINE
)


def newest_last(versions: Iterable[str], *, default_order: Sequence[str] = ()) -> tuple[str, ...]:
    """`versions` in their order. `default_order` has versions as the boot loader offers them, its default first."""
    return tuple(sorted(versions, key=lambda version: sort_key(version, default_order=default_order)))


def sort_key(version: str, *, default_order: Sequence[str] = ()) -> Any:
    """What `newest_last` sorts by."""
    match = _RELEASE.match(version)
    release = match[0] if match else ""
    rank = default_order.index(version) if version in default_order else len(default_order)
    backwards = (*(-ord(character) for character in version[len(release) :]), 1)
    return _release_key(release), -rank, backwards


def grub_order(config: str) -> tuple[str, ...]:
    """The versions that a grub.cfg loads, in its order."""
    return tuple(dict.fromkeys(_LINUX_LINE.findall(config)))


def _release_key(release: str) -> list[tuple[int, int | str]]:
    parts = re.findall(r"[0-9]+|[^0-9]+", release)
    return [
        (2, int(part)) if "0" <= part[0] <= "9" else (0 if part.startswith(_UNFINISHED) else 3, part)
        for part in parts
    ] + [(1, "")]
