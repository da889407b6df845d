"""The ingredients of layers that were planned here, so that `dibo why` can compare with them.

    ~/.cache/dibo/keys/KEY.json     a document, canonical: its sha256 is KEY; its time is that of the last build with it

In a registry the same text is a label of the image. It has no bound, and so is no label in an engine's store.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from dibo.build import step_times
from dibo.plan.keys import Document
from dibo.plan.plan import Plan


def save_plan(directory: Path, plan: Plan) -> None:
    """Keep the ingredients of every layer of a plan, and that it is used now."""
    save(directory, plan.base_key, plan.base_ingredients)
    for planned in plan.steps:
        save(directory, planned.key, planned.ingredients)
    now = time.time()
    for key in plan.keys:  # at one time, so that no layer is older than one on it
        with contextlib.suppress(OSError):
            os.utime(_path(directory, key), (now, now))


def save(directory: Path, key: str, ingredients: str) -> None:
    """A full disk is no reason to fail: all it costs is an explanation."""
    path = _path(directory, key)
    with contextlib.suppress(OSError):
        if not path.exists():
            directory.mkdir(exist_ok=True)
            path.write_text(ingredients)


def load(directory: Path, keys: Iterable[str]) -> dict[str, Document]:
    """Those that are there and whole."""
    stored: dict[str, Document] = {}
    for key in keys:
        with contextlib.suppress(OSError, ValueError):
            text = _path(directory, key).read_bytes()
            if hashlib.sha256(text).hexdigest() == key:
                stored[key] = json.loads(text)
    return stored


def last_used(directory: Path, keys: Iterable[str]) -> dict[str, float]:
    """When each layer was last planned by a build, in seconds since 1970, of those that ever were."""
    times: dict[str, float] = {}
    for key in keys:
        with contextlib.suppress(OSError):
            times[key] = _path(directory, key).stat().st_mtime
    return times


def forget(directory: Path, key: str) -> None:
    """The layer is no more."""
    notes = (
        directory / f"{key}.origin",
        *step_times.paths(directory, key),
    )  # the former: dibo.build.layer_origins
    for path in (_path(directory, key), *notes):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _path(directory: Path, key: str) -> Path:
    return directory / f"{key}.json"
