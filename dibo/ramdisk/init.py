"""/init of a ramdisk: a common beginning, the fragments of flavours in the order of the stack, a common end.

Each fragment is a function that runs in a shell of its own, so that variables, functions and directories of one do
not leak into the next; what it exports is carried over (run_fragment in converters/initramfs/init.d/begin.d). Where
each line is from is remembered, so that an error names the flavour and the line in its file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dibo.flavours.ramdisk_requests import Fragment


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Lines of the script that are from one file. Lines count from 1."""

    first: int
    lines: int
    fragment: Fragment

    def location(self, line: int) -> str:
        """For messages: a line of the fragment."""
        flavour = self.fragment.flavour
        return f"{self.fragment.path}:{line}" + (f", of the flavour {flavour!r}" if flavour else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A whole /init."""

    text: str
    pieces: tuple[Piece, ...]

    def location(self, line: int) -> str:
        """Where a line of the script is from."""
        for piece in self.pieces:
            if piece.first <= line < piece.first + piece.lines:
                return piece.location(line - piece.first + 1)
        return f"/init:{line}"


def assemble(begin: Sequence[Fragment], fragments: Sequence[Fragment], end: Fragment) -> Script:
    """The script of all pieces. `begin` and `end` are put in as they are."""
    lines: list[str] = []
    pieces: list[Piece] = []

    def add(fragment: Fragment, text: list[str]) -> None:
        pieces.append(Piece(first=len(lines) + 1, lines=len(text), fragment=fragment))
        lines.extend(text)

    for part in begin:
        add(part, part.text.splitlines())
    for number, fragment in enumerate(fragments, start=1):
        lines.append("")
        lines.append(f"# init fragment from flavour {fragment.flavour}")
        lines.append(f"fragment_{number}() {{")
        lines.append(":")  # a function must have a command
        add(fragment, [_no_shebang(n, line) for n, line in enumerate(fragment.text.splitlines())])
        lines.append("}")
        lines.append(f"run_fragment fragment_{number} {fragment.flavour}")
    lines.append("")
    add(end, end.text.splitlines())
    return Script(text="".join(f"{line}\n" for line in lines), pieces=tuple(pieces))


def whole(fragment: Fragment) -> Piece:
    """A fragment that stands alone."""
    return Piece(first=1, lines=len(fragment.text.splitlines()) + 1, fragment=fragment)


def _no_shebang(number: int, line: str) -> str:
    """A first line that names a shell means nothing in the middle of a script, and shellcheck says so."""
    return f"#{line[2:]}" if number == 0 and line.startswith("#!") else line


_SYNTAX = re.compile(r": (?:line )?(?P<line>[0-9]+): (?P<text>.*)")


def syntax_error(message: str) -> tuple[int, str] | None:
    """(line, what is wrong) of a line that `sh -n` printed: dash's, bash's and busybox's forms."""
    match = _SYNTAX.search(message)
    return (int(match["line"]), match["text"]) if match else None
