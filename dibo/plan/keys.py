"""The keys of layers.

A key is the sha256 of a JSON document of named ingredients, written in one way only (RFC 8785 in spirit: sorted
names, no spaces, ASCII): nothing is joined by a separator that a value could hold. The document goes with the layer as
a label, so that `dibo plan` can say which ingredient made a layer necessary. What it holds, and why nothing else, is
docs/explanation/caching.md; golden files in tests/golden pin it, since a change throws every cache away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from dibo.flavours.model import File, Flavour, Phase
from dibo.plan.base import Ingredients
from dibo.plan.recipe import Recipe, Step

FORMAT: Final = 1
KEY_LABEL: Final = "io.dibo.key"
INGREDIENTS_LABEL: Final = "io.dibo.ingredients"
LOCAL_LABEL: Final = "io.dibo.local"
LAYOUT_LABEL: Final = "io.dibo.layout"
"""Of a pushed image: the layout of its disk, as JSON. In no key: it changes no layer."""

Document = dict[str, object]
ExtraData = Mapping[str, tuple[File, ...]]
"""What each flavour's extra-data.d hooks made, by the flavour's name."""


def canonical(document: Mapping[str, object]) -> str:
    """The one way to write a document."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def key_of(document: Mapping[str, object]) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def base_document(ingredients: Ingredients, *, architecture: str) -> Document:
    """The ingredients of the first layer."""
    return {"format": FORMAT, "architecture": architecture, "base": dict(ingredients)}


def step_documents(
    recipe: Recipe, *, base_key: str, extra: ExtraData, runner: str, epoch: str
) -> tuple[tuple[str, Document], ...]:
    """(key, ingredients) of each step. `runner` is the digest of the scripts that run hooks."""
    result = []
    parent = base_key
    for step in recipe.steps:
        document = _document(step, recipe, parent=parent, extra=extra, runner=runner, epoch=epoch)
        parent = key_of(document)
        result.append((parent, document))
    return tuple(result)


def _document(
    step: Step, recipe: Recipe, *, parent: str, extra: ExtraData, runner: str, epoch: str
) -> Document:
    document: Document = {
        "format": FORMAT,
        "parent": parent,
        "architecture": recipe.architecture,
        "runner": runner,
        "phase": step.phase,
        "epoch": epoch,
    }
    if not step.flavour:
        return document
    own = recipe.stack.get(step.flavour)
    document |= {
        "flavour": step.flavour,
        "packages": [[name, list(words)] for name, words in own.packages] if step.packages else [],
        "hooks": [_hook(own, f"{step.phase}/{name}") for name in step.hooks],
        "files": {name: [_file(file) for file in recipe.stack.get(name).files] for name in step.seen},
        "extra-data": {name: [_file(file) for file in extra[name]] for name in step.seen if extra.get(name)},
        "environment": dict(step.environment),
        "local": step.local,
    }
    if step.phase == Phase.FIRST_BOOT:
        document["place"] = step.place
    return document


def _hook(flavour: Flavour, path: str) -> list[object]:
    return _file(next(file for file in flavour.files if file.path == path))


def _file(file: File) -> list[object]:
    return [file.path, file.kind.value, file.executable, file.digest]


def difference(wanted: Document, other: Document) -> tuple[str, ...]:
    """What differs between two documents, one line each, by the names of the ingredients."""
    lines = []
    for name in sorted(wanted.keys() | other.keys()):
        mine, theirs = wanted.get(name), other.get(name)
        if mine == theirs:
            continue
        if isinstance(mine, dict) and isinstance(theirs, dict):
            lines += [f"{name}.{line}" for line in difference(mine, theirs)]
        elif isinstance(mine, list) and isinstance(theirs, list):
            lines += _list_difference(name, mine, theirs)
        else:
            lines.append(f"{name}: {_short(theirs)} -> {_short(mine)}")
    return tuple(lines)


def _list_difference(name: str, mine: list[object], theirs: list[object]) -> list[str]:
    """Of lists of files, by path; of other lists, as a whole."""
    new = {str(each[0]): each[1:] for each in mine if isinstance(each, list) and each}
    old = {str(each[0]): each[1:] for each in theirs if isinstance(each, list) and each}
    if len(new) != len(mine) or len(old) != len(theirs):
        return [f"{name}: {_short(theirs)} -> {_short(mine)}"]
    added = [f"{name}: {path} is new" for path in sorted(new.keys() - old.keys())]
    removed = [f"{name}: {path} is gone" for path in sorted(old.keys() - new.keys())]
    changed = [
        f"{name}: {path} changed" for path in sorted(new.keys() & old.keys()) if new[path] != old[path]
    ]
    if not (added or removed or changed):
        return [f"{name}: another order"]
    return added + removed + changed


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 70 else text[:67] + "..."
