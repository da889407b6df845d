"""`fetch` in flavour.yaml: files that dibo fetches for hooks, each known by its sha256.

    fetch:
      - url: https://example.org/tool-1.2-amd64.tar.gz     # or a list: mirrors
        sha256: 64 hexadecimal digits
        name: tool.tar.gz                                  # else the last part of the URL
        mode: "0755"                                       # else "0644"
        architectures: [amd64]                             # else for all
        phases: [install.d]                                # else for all hooks in the root

Keys cover name, mode and digest. Where a file is does not matter, so the URL is in no key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from dibo.errors import FlavourError
from dibo.flavours.model import ARCHITECTURES, FetchedFile, Phase

_URL: Final = r"^https?://[^\s@/?#]+([/?][^\s#]*)?$"
_SHA256: Final = r"^[0-9a-fA-F]{64}$"
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.+~-]{0,127}$"
_MODES: Final = ("0644", "0755")
_PHASES: Final = (Phase.PRE_INSTALL.value, Phase.INSTALL.value)

FETCH_SCHEMA: Final[dict[str, object]] = {
    "type": "array",
    "description": "Files that dibo fetches, for hooks to find in the directory that DIBO_FETCHED names.",
    "items": {
        "type": "object",
        "required": ["url", "sha256"],
        "additionalProperties": False,
        "properties": {
            "url": {
                "description": "Where the file is: an address, or several, of which the first counts that has it.",
                "oneOf": [
                    {"type": "string", "pattern": _URL},
                    {"type": "array", "items": {"type": "string", "pattern": _URL}, "minItems": 1},
                ],
            },
            "sha256": {"type": "string", "pattern": _SHA256, "description": "Of the file: sha256sum FILE."},
            "name": {
                "type": "string",
                "pattern": _NAME,
                "description": "What hooks find it as; without it, the last part of the first address.",
            },
            "mode": {"enum": list(_MODES), "description": "0755 for a program; without it, 0644."},
            "architectures": {
                "type": "array",
                "items": {"enum": list(ARCHITECTURES)},
                "minItems": 1,
                "description": "What it is for; without it everything.",
            },
            "phases": {
                "type": "array",
                "items": {"enum": list(_PHASES)},
                "minItems": 1,
                "description": "Whose hooks see it; without it all.",
            },
        },
    },
}
_KEYS: Final = ("url", "sha256", "name", "mode", "architectures", "phases")


def parse_fetch(value: object, *, place: str) -> tuple[FetchedFile, ...]:
    """The files of `fetch`, sorted. `place` is for messages. Raises FlavourError."""
    if not isinstance(value, list):
        raise FlavourError(f"{place}: expected a list, got {value!r}")
    files = [_file(entry, f"{place}[{number}]") for number, entry in enumerate(value)]
    _refuse_twice(files, place)
    return tuple(sorted(files))


def _file(entry: object, place: str) -> FetchedFile:
    if not isinstance(entry, dict) or not {"url", "sha256"} <= set(entry):
        raise FlavourError(
            f"{place}: expected a mapping with `url` and `sha256`, got {entry!r}",
            hint="sha256sum FILE prints the sha256",
        )
    for key in entry:
        if key not in _KEYS:
            raise FlavourError(f"{place}: unknown key {key!r}", hint=f"known keys: {', '.join(_KEYS)}")
    urls = _urls(entry["url"], f"{place}.url")
    sha256 = entry["sha256"]
    if not isinstance(sha256, str) or re.fullmatch(_SHA256, sha256) is None:
        raise FlavourError(
            f"{place}.sha256: expected 64 hexadecimal digits, got {sha256!r}",
            hint="sha256sum FILE prints them",
        )
    return FetchedFile(
        name=_name(entry, urls[0], place),
        sha256=sha256.lower(),
        executable=_is_executable(entry.get("mode", _MODES[0]), f"{place}.mode"),
        urls=urls,
        architectures=_some_of(entry, "architectures", ARCHITECTURES, place),
        phases=_some_of(entry, "phases", _PHASES, place),
    )


def _urls(value: object, place: str) -> tuple[str, ...]:
    urls = value if isinstance(value, list) else [value]
    for url in urls:
        if not isinstance(url, str) or re.fullmatch(_URL, url) is None or not _is_address(url):
            named = "an address with a login" if isinstance(url, str) and "@" in url else repr(url)
            raise FlavourError(
                f"{place}: expected an http or https address, got {named}",
                hint="a login does not belong there: flavours are public",
            )
    if not urls:
        raise FlavourError(f"{place}: expected an address, got none")
    return tuple(dict.fromkeys(urls))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _name(entry: Mapping[Any, Any], url: str, place: str) -> str:
    name = entry.get("name", PurePosixPath(unquote(urlsplit(url).path)).name)
    if not isinstance(name, str) or re.fullmatch(_NAME, name) is None:
        raise FlavourError(
            f"{place}: {name!r} cannot be the name of a fetched file",
            hint="`name` says another: letters, digits, '_', '.', '+', '~' and '-', at most 128, and it begins with "
            "a letter or digit",
        )
    return name


def _is_executable(value: object, place: str) -> bool:
    if value not in _MODES:
        raise FlavourError(f'{place}: expected "{_MODES[0]}" or "{_MODES[1]}", in quotes, got {value!r}')
    return value == _MODES[1]


def _some_of(entry: Mapping[Any, Any], key: str, words: Iterable[str], place: str) -> tuple[str, ...]:
    if key not in entry:
        return ()
    value = entry[key]
    if not isinstance(value, list) or not value or any(word not in words for word in value):
        raise FlavourError(f"{place}.{key}: expected a list of {', '.join(words)}, got {value!r}")
    return tuple(word for word in words if word in value)


def _refuse_twice(files: Iterable[FetchedFile], place: str) -> None:
    taken: set[tuple[str, str]] = set()
    for file in files:
        for architecture in file.architectures or ARCHITECTURES:
            if (file.name, architecture) in taken:
                raise FlavourError(
                    f"{place}: {file.name!r} is listed twice for {architecture}",
                    hint="`name` gives one of them another name",
                )
            taken.add((file.name, architecture))
