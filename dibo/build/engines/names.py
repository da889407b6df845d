"""Names of engines. Engines themselves (dibo.build.engines.table) are imported when one is opened."""

from __future__ import annotations

from typing import Final

from dibo.errors import UsageError
from dibo.flavours.schema import nearest
from dibo.settings.settings import AUTO

NAMES: Final = ("buildah", "docker")
"""Of each engine, in the order of the table."""


def names() -> tuple[str, ...]:
    """What --engine takes."""
    return (*NAMES, AUTO)


def require_known(name: str, *, set_by: str = "--engine") -> None:
    """Raises UsageError for what is no engine's name; `set_by` is the option or variable."""
    if name not in names():
        raise unknown(name, set_by=set_by)


def unknown(name: str, *, set_by: str = "--engine") -> UsageError:
    message = f"{name!r} is no engine dibo knows{nearest(name, names())}"
    return UsageError(message, hint=f"{set_by} takes {', '.join(names())}")
