"""What a machine says on its console: made readable, and read for signs that it has died.

A kernel or a firmware that has given up keeps its processor running, so QEMU does not end: only its words say that
there is nothing left to wait for.
"""

from __future__ import annotations

import codecs
import re

# Of the kernel (what die() in arch/x86/kernel/dumpstack.c prints for every kind of oops: "int3: 0000 [#1]", and a
# panic), GRUB, initramfs-tools, systemd, SeaBIOS, OVMF.
_HOPELESS = re.compile(
    r": [0-9a-f]{4} \[#\d+\]"
    r"|Kernel panic - not syncing"
    r"|end Kernel panic"
    r"|grub rescue>"
    r"|\(initramfs\) "
    r"|You are in (?:emergency|rescue) mode"
    r"|No bootable device"
    r"|UEFI Interactive Shell"
)
_LONGEST = 200  # characters of a sign, and more
_MOVES = re.compile(r"\x1b\[[0-9;]*H")  # the cursor goes elsewhere, as in GRUB's menu
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[=>78cM])|[\x00\x07\x0e\x0f]")
_BEGUN = re.compile(r"\x1b(?:\[[0-9;?=]{0,30}|[()])?\Z")  # a sequence of which more may come


def clean(text: str) -> str:
    """A terminal's text without escape sequences and carriage returns, blank lines and the frame of a menu."""
    text = _ESCAPES.sub("", _MOVES.sub("\n", text)).replace("\r", "")
    return re.sub(r"\n(?:[ \t|]*\n)+", "\n", text)


class ConsoleText:
    """Cleans a console that comes in pieces: an escape sequence or a character may begin in one and end in the next."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""

    def more(self, data: bytes) -> str:
        """The clean text that a piece adds."""
        text = self._begun + self._decoder.decode(data)
        begun = _BEGUN.search(text)
        self._begun = begun[0] if begun else ""
        return clean(text.removesuffix(self._begun))


class CrashDetector:
    """Is given a console as it comes, in pieces."""

    def __init__(self) -> None:
        self._before = ""

    def hopeless(self, text: str) -> str | None:
        """The sign of a dead machine that this text ends or holds, or None. The text is a clean one."""
        recent = self._before + text
        self._before = recent[-_LONGEST:]
        sign = _HOPELESS.search(recent)
        return sign[0].strip(": ") if sign else None
