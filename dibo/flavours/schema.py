"""flavour.yaml: its schema, and the checked way from it to values.

The schema is the one description of the file: the reader refuses what is not in it, naming the nearest key that is,
and `dibo schema flavour` prints it (JSON Schema 2020-12) for editors.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dibo.errors import FlavourError
from dibo.flavours.fetch import FETCH_SCHEMA, parse_fetch
from dibo.flavours.model import (
    ARCHITECTURES,
    FLAVOUR_NAME,
    NAME_FORM,
    NETWORK_PHASES,
    SECRET_NAME,
    FetchedFile,
    Secret,
)
from dibo.layout.parse import Statement, parse_statement
from dibo.layout.schema import LAYOUT_SCHEMA

_PACKAGE = r"^[a-z0-9$][A-Za-z0-9.+:=~${}_-]*$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_DISTRIBUTION = r"^[a-z][a-z0-9.-]*$"
_NAMES: Final = {"type": "array", "items": {"type": "string", "pattern": f"^{FLAVOUR_NAME.pattern}$"}}
_PACKAGES: Final = {"type": "array", "items": {"type": "string", "pattern": _PACKAGE}}
_SECRET_NAME: Final = {"type": "string", "pattern": f"^{SECRET_NAME.pattern}$"}

SCHEMA: Final[dict[str, object]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "flavour.yaml of dibo",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "summary": {
            "type": "string",
            "pattern": r"^\s*[^\n]*\s*$",
            "description": "What the flavour does, in one line.",
        },
        "packages": {
            "description": "Packages installed at the start of the install phase: a list, or lists by distribution "
            "(ubuntu-noble, ubuntu, debian, default; the first that fits).",
            "oneOf": [
                _PACKAGES,
                {
                    "type": "object",
                    "propertyNames": {"pattern": _DISTRIBUTION},
                    "additionalProperties": _PACKAGES,
                },
            ],
        },
        "needs": {**_NAMES, "description": "Flavours that must be in the stack, before this one."},
        "clashes": {**_NAMES, "description": "Flavours that must not be in the same stack."},
        "environment": {
            "type": "object",
            "description": "Variables that the hooks read, with their defaults.",
            "propertyNames": {"pattern": _VARIABLE},
            "additionalProperties": {
                "type": ["string", "number", "boolean", "null"],
                "not": {"type": "string", "pattern": r"[\n\x00]"},
            },
        },
        "secrets": {
            "type": "array",
            "description": "Values that a step sees at /run/secrets/NAME, and that are nowhere else: names, or "
            "mappings with `name` and `rebuild`.",
            "items": {
                "oneOf": [
                    _SECRET_NAME,
                    {
                        "type": "object",
                        "required": ["name"],
                        "additionalProperties": False,
                        "properties": {
                            "name": _SECRET_NAME,
                            "rebuild": {
                                "type": "boolean",
                                "description": "Build layers again when the value changes.",
                            },
                        },
                    },
                ]
            },
        },
        "local": {"type": "boolean", "description": "Its layers hold data of this user or machine."},
        "architectures": {
            "type": "array",
            "items": {"enum": list(ARCHITECTURES)},
            "minItems": 1,
            "description": "What it can be built for; without it everything.",
        },
        "fetch": FETCH_SCHEMA,
        "network": {
            "description": "Whether its steps may use the network, or the phases in which they may. Layers of steps "
            "without network are of no epoch.",
            "oneOf": [
                {"type": "boolean"},
                {"type": "array", "items": {"enum": list(NETWORK_PHASES)}, "uniqueItems": True},
            ],
        },
        "disk": {
            **LAYOUT_SCHEMA,
            "description": "The disk; or in a layout.yaml beside.",
        },
    },
}
_KEYS = tuple(SCHEMA["properties"])  # type: ignore[arg-type, var-annotated]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlavourManifest:
    """What flavour.yaml says."""

    summary: str = ""
    packages: tuple[tuple[str, tuple[str, ...]], ...] = ()
    needs: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()
    local: bool = False
    architectures: tuple[str, ...] = ()
    fetch: tuple[FetchedFile, ...] = ()
    network: tuple[str, ...] | None = None
    disk: Statement | None = None


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for a word that is nearly one of `known`, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def parse_manifest(data: object, *, origin: str) -> FlavourManifest:
    """A Manifest of what YAML gave. `origin` is for messages. Raises FlavourError, LayoutError."""
    if data is None:
        return FlavourManifest()
    if not isinstance(data, dict):
        raise FlavourError(f"{origin} is not a mapping of keys to values")
    for key in data:
        if key not in _KEYS:
            raise FlavourError(
                f"{origin}: unknown key {key!r}{nearest(str(key), _KEYS)}",
                hint=f"known keys: {', '.join(_KEYS)}",
            )
    return FlavourManifest(
        summary=_summary(data.get("summary", ""), origin),
        packages=_packages(data.get("packages", []), origin),
        needs=_words(data.get("needs", []), f"{origin}: needs", FLAVOUR_NAME.pattern),
        clashes=_words(data.get("clashes", []), f"{origin}: clashes", FLAVOUR_NAME.pattern),
        environment=_environment(data.get("environment", {}), origin),
        secrets=_secrets(data.get("secrets", []), f"{origin}: secrets"),
        local=_flag(data.get("local", False), f"{origin}: local"),
        architectures=_architectures(data["architectures"], origin) if "architectures" in data else (),
        fetch=parse_fetch(data.get("fetch", []), place=f"{origin}: fetch"),
        network=_network(data["network"], f"{origin}: network") if "network" in data else None,
        disk=parse_statement(data["disk"], origin=origin, path="disk") if "disk" in data else None,
    )


def _summary(value: object, origin: str) -> str:
    if not isinstance(value, str) or "\n" in value.strip():
        raise FlavourError(f"{origin}: summary is one line of text, not {value!r}")
    return value.strip()


def _packages(value: object, origin: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    place = f"{origin}: packages"
    if isinstance(value, list):
        return (("default", _words(value, place, _PACKAGE)),) if value else ()
    if not isinstance(value, dict):
        raise FlavourError(f"{place} is a list, or lists by distribution, not {value!r}")
    for name in value:
        if not isinstance(name, str) or re.fullmatch(_DISTRIBUTION, name) is None:
            raise FlavourError(
                f"{place}: {name!r} is no distribution", hint="such as debian, ubuntu-noble, default"
            )
    return tuple((name, _words(value[name], f"{place}.{name}", _PACKAGE)) for name in sorted(value))


def _words(value: object, place: str, pattern: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise FlavourError(f"{place} is a list, not {value!r}")
    for word in value:
        if not isinstance(word, str) or re.fullmatch(pattern, word) is None:
            if pattern == FLAVOUR_NAME.pattern:
                raise FlavourError(f"{place}: {word!r} cannot be the name of a flavour", hint=NAME_FORM)
            raise FlavourError(f"{place}: {word!r} is not a name that can stand there")
    return tuple(dict.fromkeys(value))


def _environment(value: object, origin: str) -> tuple[tuple[str, str], ...]:
    place = f"{origin}: environment"
    if not isinstance(value, dict):
        raise FlavourError(f"{place} maps names to defaults; it is not {value!r}")
    result = {}
    for name, default in value.items():
        if not isinstance(name, str) or re.fullmatch(_VARIABLE, name) is None:
            raise FlavourError(f"{place}: {name!r} is not the name of a variable")
        if not isinstance(default, str | int | float | bool | None):
            raise FlavourError(f"{place}.{name}: the default is text, not {default!r}")
        result[name] = _text(default)
        if "\n" in result[name] or "\0" in result[name]:
            raise FlavourError(f"{place}.{name}: the default is one line")
    return tuple(sorted(result.items()))


def _text(value: str | float | bool | None) -> str:
    """YAML's scalars as text for a shell: nothing for null, true and false as written."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _secrets(value: object, place: str) -> tuple[Secret, ...]:
    if not isinstance(value, list):
        raise FlavourError(f"{place}: expected a list, got {value!r}")
    secrets: dict[str, Secret] = {}
    for item in value:
        secret = _secret(item, place)
        if secret.name in secrets:
            raise FlavourError(f"{place}: {secret.name!r} is listed twice")
        secrets[secret.name] = secret
    return tuple(sorted(secrets.values()))


def _secret(item: object, place: str) -> Secret:
    fields = {"name": item} if isinstance(item, str) else item
    if not isinstance(fields, dict) or "name" not in fields or not set(fields) <= {"name", "rebuild"}:
        raise FlavourError(
            f"{place}: expected a name or a mapping with `name` and `rebuild`, got {item!r}",
            hint="secrets: [token], or secrets: [{name: token, rebuild: true}]",
        )
    name = fields["name"]
    if not isinstance(name, str) or SECRET_NAME.fullmatch(name) is None:
        raise FlavourError(
            f"{place}: {name!r} cannot be the name of a secret",
            hint="use letters, digits, '_', '.' and '-', at most 64, and begin with a letter or digit",
        )
    return Secret(name=name, rebuild=_flag(fields.get("rebuild", False), f"{place}: {name}: rebuild"))


def _flag(value: object, place: str) -> bool:
    if not isinstance(value, bool):
        raise FlavourError(f"{place} is true or false, not {value!r}")
    return value


def _architectures(value: object, origin: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or any(item not in ARCHITECTURES for item in value):
        raise FlavourError(f"{origin}: architectures is a list of {', '.join(ARCHITECTURES)}, not {value!r}")
    return tuple(dict.fromkeys(value))


def _network(value: object, place: str) -> tuple[str, ...]:
    """The phases with a network."""
    if isinstance(value, bool):
        return NETWORK_PHASES if value else ()
    if not isinstance(value, list) or any(phase not in NETWORK_PHASES for phase in value):
        raise FlavourError(
            f"{place}: expected true, false or a list of {', '.join(NETWORK_PHASES)}, got {value!r}"
        )
    return tuple(phase for phase in NETWORK_PHASES if phase in value)
