"""The ingredients of layers that were planned here, so that `dibo why` can compare with them.

    ~/.cache/dibo/keys/KEY.json     a document, canonical: its sha256 is KEY

Engines keep the same text as a label; to read a hundred labels takes them seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from dibo.plan.keys import Document
from dibo.plan.plan import Plan


def save_plan(directory: Path, plan: Plan) -> None:
    """Keep the ingredients of every layer of a plan."""
    save(directory, plan.base_key, plan.base_ingredients)
    for planned in plan.steps:
        save(directory, planned.key, planned.ingredients)


def save(directory: Path, key: str, ingredients: str) -> None:
    """A full disk is no reason to fail: all it costs is an explanation."""
    path = directory / f"{key}.json"
    with contextlib.suppress(OSError):
        if not path.exists():
            directory.mkdir(exist_ok=True)
            path.write_text(ingredients)


def load(directory: Path, keys: Iterable[str]) -> dict[str, Document]:
    """Those that are there and whole."""
    found: dict[str, Document] = {}
    for key in keys:
        with contextlib.suppress(OSError, ValueError):
            text = (directory / f"{key}.json").read_bytes()
            if hashlib.sha256(text).hexdigest() == key:
                found[key] = json.loads(text)
    return found
