"""What a flavour requests in a ramdisk, as its author wrote it.

    my-flavour/
        binary-deps          programs by name, one or several a line; `#` begins a comment
        modules              kernel modules, the same way: a name, an alias, dir:drivers/net; ?name if it may be missing
        init                 a fragment of /init, POSIX shell
        udev/50-my.rules     udev rules

None of it is seen by hooks, and none of it is in the key of a layer: a change takes effect without building one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dibo.errors import FlavourError

FILES: Final = ("binary-deps", "modules", "init")
UDEV: Final = "udev"
_PROGRAM: Final = re.compile(r"(/[^\s\0]*[^/\s\0]|[A-Za-z0-9_\[][A-Za-z0-9_.+@\[-]*)")
_MODULE: Final = re.compile(r"\??(dir:[A-Za-z0-9_][A-Za-z0-9_./-]*|(?!dir:)[A-Za-z0-9_][^\s\0]*)")


def is_ramdisk_file(path: str) -> bool:
    """Whether a file of a flavour, by its path in there, is for ramdisks only."""
    return path in FILES or path.startswith(f"{UDEV}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedName:
    """A requested program or module, and where the request is written."""

    text: str
    flavour: str
    file: str
    line: int

    @property
    def origin(self) -> str:
        """For messages."""
        return f"{self.file}:{self.line} of the flavour {self.flavour!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A flavour's part of /init."""

    flavour: str
    path: str
    """Where a user finds it."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RamdiskRequests:
    """What one flavour requests in a ramdisk."""

    flavour: str
    programs: tuple[RequestedName, ...] = ()
    modules: tuple[RequestedName, ...] = ()
    init: Fragment | None = None
    rules: tuple[tuple[str, bytes], ...] = ()
    """(name, bytes) of udev rules."""


def parse_wishes(flavour: str, files: Mapping[str, bytes], *, origin: str) -> RamdiskRequests:
    """`files` are the flavour's files for ramdisks, by their paths there; `origin` is its directory, for messages.
    Raises FlavourError."""
    init = files.get("init")
    return RamdiskRequests(
        flavour=flavour,
        programs=_words(flavour, files, "binary-deps", _PROGRAM, origin),
        modules=_words(flavour, files, "modules", _MODULE, origin),
        init=_fragment(flavour, init, origin) if init is not None else None,
        rules=_rules(files, origin),
    )


def _words(
    flavour: str, files: Mapping[str, bytes], name: str, pattern: re.Pattern[str], origin: str
) -> tuple[RequestedName, ...]:
    words: dict[str, RequestedName] = {}
    for number, line in enumerate(_text(files.get(name, b""), f"{origin}/{name}").splitlines(), start=1):
        for word in line.partition("#")[0].split():
            if pattern.fullmatch(word) is None:
                raise FlavourError(
                    f"{origin}/{name}:{number}: {word!r} cannot stand there",
                    hint="names, divided by blanks or in lines of their own; # begins a comment",
                )
            words.setdefault(word, RequestedName(text=word, flavour=flavour, file=name, line=number))
    return tuple(words.values())


def _fragment(flavour: str, data: bytes, origin: str) -> Fragment:
    text = _text(data, f"{origin}/init")
    if "\0" in text or "\r" in text:
        raise FlavourError(
            f"{origin}/init is no shell script with Unix line ends", hint="write it anew in an editor"
        )
    return Fragment(flavour=flavour, path=f"{origin}/init", text=text)


def _text(data: bytes, path: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FlavourError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error


def _rules(files: Mapping[str, bytes], origin: str) -> tuple[tuple[str, bytes], ...]:
    rules = []
    for path, data in sorted(files.items()):
        if not path.startswith(f"{UDEV}/"):
            continue
        name = path.removeprefix(f"{UDEV}/")
        if "/" in name or not name.endswith(".rules"):
            raise FlavourError(
                f"{origin}/{path} is not a file of udev rules",
                hint="udev/ holds rules only, with names such as 81-my-card.rules",
            )
        rules.append((name, data))
    return tuple(rules)
