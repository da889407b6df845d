"""How long a step will take: as long as the same step of the same flavour took last, whatever has changed in it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from dibo.bake.graph import Estimate, work_name
from dibo.build import ingredients_store
from dibo.build.step_times import StepTimes

_MOST: Final = 500
"""Layers that are looked at, the newest: reading what they are made of takes time."""


def estimates(directory: Path) -> Estimate:
    """From what is noted of layers that were built with this cache directory."""
    with contextlib.suppress(OSError):
        files = sorted(directory.glob("*.time"), key=lambda path: path.stat().st_mtime)[-_MOST:]
        return _known(directory, [path.stem for path in files]).get
    return lambda _: None


def _known(directory: Path, keys: list[str]) -> dict[str, float]:
    """Seconds by the name of the work; what was built last counts."""
    times = StepTimes(directory)
    documents = ingredients_store.load(directory, set(keys))
    known: dict[str, float] = {}
    for key in keys:
        took = times.load(key)
        if took is not None and key in documents:
            known[work_name(documents[key])] = took.seconds
    return known
