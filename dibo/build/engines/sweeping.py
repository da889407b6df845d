"""What removes the things that killed runs left. It is imported when a run left such things, which is rare."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from dibo.system.workspace import Sweeper

_OF_ENGINES: Final = ("container", "docker")
"""`journal_kind` of each engine."""
_LOOP: Final = "loop"


def sweepers() -> Mapping[str, Sweeper]:
    """What removes the things that a killed run's journal lists, by the kind of thing."""
    return {kind: partial(_sweep, kind) for kind in (*_OF_ENGINES, _LOOP)}


def _sweep(kind: str, value: str) -> None:
    if kind == _LOOP:
        from dibo.system.loop.sweep import sweep

        sweep(value)
        return
    from dibo.build.engines.table import ENGINES

    next(engine for engine in ENGINES if engine.journal_kind == kind).sweep(value)
