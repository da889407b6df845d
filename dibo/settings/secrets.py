"""Where the values of secrets come from, as `--secret NAME=FILE|env:VARIABLE` says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.errors import UsageError
from dibo.flavours.model import SECRET_NAME
from dibo.system.resources import expanded

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FROM_ENVIRONMENT: Final = "env:"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSource:
    """A file or a variable of the environment."""

    name: str
    file: Path | None = None
    variable: str = ""


def parse_secrets(words: Iterable[str]) -> tuple[SecretSource, ...]:
    """The sources that were named. Raises UsageError."""
    sources: dict[str, SecretSource] = {}
    for word in words:
        source = _parse(word)
        if source.name in sources:
            raise UsageError(f"the secret {source.name!r} is given twice")
        sources[source.name] = source
    return tuple(sources.values())


def _parse(word: str) -> SecretSource:
    name, equals, origin = word.partition("=")
    if not equals or not origin or SECRET_NAME.fullmatch(name) is None:
        # The word itself is not shown: whoever wrote NAME=VALUE would find the value in a log.
        raise UsageError(
            "--secret: expected NAME=FILE or NAME=env:VARIABLE",
            hint="a name has letters, digits, '_', '.' and '-', at most 64, and begins with a letter or digit",
        )
    if not origin.startswith(_FROM_ENVIRONMENT):
        return SecretSource(name=name, file=expanded(origin))
    variable = origin.removeprefix(_FROM_ENVIRONMENT)
    if _VARIABLE.fullmatch(variable) is None:
        raise UsageError(f"--secret {name}: expected the name of a variable after env:, got {variable!r}")
    return SecretSource(name=name, variable=variable)
