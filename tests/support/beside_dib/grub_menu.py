"""What a grub.cfg does: its first entry, how long it waits, and the serial port."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GrubMenu:
    kernel: str
    arguments: tuple[str, ...]
    initrd: str
    timeout: str
    serial: str


def read_menu(text: str) -> GrubMenu:
    """Of the text of a grub.cfg. Raises AssertionError where a line is missing."""
    kernel, arguments = _first(r"^\s*linux\s+(\S+)\s+(.*)$", text)
    return GrubMenu(
        kernel=kernel,
        arguments=tuple(arguments.split()),
        initrd=_first(r"^\s*initrd\s+(\S+)(.*)$", text)[0],
        timeout=re.findall(r"^\s*set timeout=(\d+)", text, re.MULTILINE)[-1],
        serial=_first(r"^[^#\n]*\b(serial (--[^\s;]+ ?)+)", text)[0],
    )


def _first(pattern: str, text: str) -> tuple[str, str]:
    match = re.search(pattern, text, re.MULTILINE)
    assert match is not None, f"no line is {pattern!r}"
    return match[1].strip(), match[2].strip()
