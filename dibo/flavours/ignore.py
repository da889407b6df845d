"""What of a flavour's directory is no part of the flavour: hooks do not see it, and it is in no key.

    built in        README.md, flavour.yaml, layout.yaml at the top, the files of editors, of git and its kin, of macOS
    .dibo-ignore    more of it, in the syntax of .gitignore; `!pattern` takes something back

flavour.yaml and layout.yaml are read by dibo; what they say reaches keys as the ingredients that it decides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pathspec import GitIgnoreSpec

from dibo.errors import FlavourError

IGNORE_FILE: Final = ".dibo-ignore"
BUILT_IN: Final = (
    "/README.md",
    "/flavour.yaml",
    "/layout.yaml",
    f"/{IGNORE_FILE}",
    ".git",
    ".hg/",
    ".svn/",
    "*~",
    ".*.sw[a-p]",
    "#*#",
    ".#*",
    ".DS_Store",
    "__pycache__/",
)
"""As in .gitignore. A # at the start of a line begins a comment, so that pattern is escaped when it is read."""


class Ignore:
    """Answers for the paths of one flavour, relative to it; those of directories end with a slash."""

    def __init__(self, directory: Path) -> None:
        built_in = [f"\\{line}" if line.startswith("#") else line for line in BUILT_IN]
        self._spec = GitIgnoreSpec.from_lines([*built_in, *_lines(directory / IGNORE_FILE)])

    def __call__(self, path: str) -> bool:
        return self._spec.match_file(path)


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise FlavourError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError as error:
            raise FlavourError(
                f"{path}:{number}: {line!r} is not a pattern", hint="the syntax is that of .gitignore"
            ) from error
    return lines
