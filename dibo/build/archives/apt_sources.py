"""Sources of packages, in both of the formats that apt reads: sources.list(5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_ONE_LINE: Final = re.compile(
    r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<address>\S+)\s+(?P<suite>\S+)(?:\s+(?P<components>.+))?"
)
_COMMENT: Final = re.compile(r"(\[[^]]*\])|#.*")
"""None begins within options."""
_WITH_LOGIN: Final = re.compile(r"//\S*@")
_NAMES: Final = {"architectures": "arch"}
"""Of options that the two formats name differently: as those of one line are named."""
_NO: Final = ("no", "false", "0", "off", "disable", "without")


@dataclass(frozen=True, slots=True, kw_only=True)
class AptSource:
    """A suite at an address. `options` by their names of one line, in small letters; a key may be in `signed-by`."""

    address: str
    suite: str
    components: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


def apt_sources(file_name: str, text: str) -> Iterator[AptSource]:
    """The sources of binary packages in a file, which is read as its name ends; none in one that apt does not read. An
    option that adds to a list or takes from it keeps its sign. Raises ValueError where apt would read none."""
    if file_name.endswith(".list"):
        yield from _one_line(text)
    elif file_name.endswith(".sources"):
        yield from _deb822(text)


def says_no(option: str | None) -> bool:
    """Whether an option is said to be off."""
    return option is not None and option.strip().lower() in _NO


def _one_line(text: str) -> Iterator[AptSource]:
    for line in text.splitlines():
        words = _COMMENT.sub(r"\1", line).strip()
        if not words or words.split()[0] == "deb-src":
            continue
        match = _ONE_LINE.fullmatch(words)
        if match is None:
            raise ValueError(f"{_WITH_LOGIN.sub('//', words)[:80]!r} is no source")
        pairs = (word.partition("=") for word in (match["options"] or "").split())
        yield AptSource(
            address=match["address"],
            suite=match["suite"],
            components=tuple((match["components"] or "").split()),
            options={name.lower(): value for name, sign, value in pairs if sign},
        )


def _deb822(text: str) -> Iterator[AptSource]:
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        fields = _fields(stanza)
        if fields and not all(fields.get(name, "").strip() for name in ("types", "uris", "suites")):
            raise ValueError("types, an address or a suite is missing")
        if "deb" not in fields.get("types", "").split() or says_no(fields.get("enabled")):
            continue
        options = {
            _NAMES.get(name, name): value.strip()
            for name, value in fields.items()
            if name not in ("types", "uris", "suites", "components", "enabled")
        }
        for address in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield AptSource(
                    address=address,
                    suite=suite,
                    components=tuple(fields.get("components", "").split()),
                    options=options,
                )


def _fields(stanza: str) -> dict[str, str]:
    """By their names in small letters; lines that go on as they are, but for the blank before them and the dot that
    stands for an empty one (deb822(5))."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')}\n{'' if line.strip() == '.' else line[1:]}"
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value
    return fields
