"""The keys of layers.

A key is the sha256 of a JSON document of named ingredients, written in one way only (RFC 8785 in spirit: sorted
names, no spaces, ASCII): nothing is joined by a separator that a value could hold. The document is kept, so that
`dibo why` can say which ingredient made a layer necessary: in a registry as a label of the image, on this machine in
dibo.build.ingredients_store. What it holds, and why nothing else, is docs/explanation/caching.md; golden files in
tests/golden pin it, since a change throws every cache away.

Keys and labels are public: they stand in registries. So values of variables are in them as digests, secrets as names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dibo.elements.steps import ElementStep
from dibo.flavours.model import FlavourFile, Phase, is_seen
from dibo.plan.base import Ingredients
from dibo.plan.labels import EPOCH_LABEL, INGREDIENTS_LABEL, KEY_LABEL, LOCAL_LABEL
from dibo.plan.packages import Packages, identities, package_changes
from dibo.plan.recipe import Recipe, Step

FORMAT: Final = 3

Document = dict[str, object]
ExtraData = Mapping[str, tuple[FlavourFile, ...]]
"""What each flavour's extra-data.d hooks made, by the flavour's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInputs:
    """What keys cover beside the recipe."""

    runner: str
    """The digest of the scripts that run hooks."""
    epoch: str
    extra: ExtraData = field(default_factory=dict)
    element_runner: str = ""
    """The digest of the scripts that run elements, where the stack has any."""
    revisions: Mapping[str, str] = field(default_factory=dict)
    """Of secrets with `rebuild`, by name: what changes with the value and does not tell it."""


def labels_of_layer(key: str, *, epoch: str = "", local: bool = False) -> dict[str, str]:
    """The labels of a layer in an engine's store. An empty one takes away what the layer below has of that name."""
    return {
        KEY_LABEL: key,
        EPOCH_LABEL: epoch,
        LOCAL_LABEL: "true" if local else "",
        INGREDIENTS_LABEL: "",
    }


def canonical(document: Mapping[str, object]) -> str:
    """The one way to write a document."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def key_of(document: Mapping[str, object]) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def base_document(ingredients: Ingredients, *, architecture: str, resolved: Packages = ()) -> Document:
    """The ingredients of the first layer; `resolved` are its packages, where dibo chooses them."""
    document: Document = {"format": FORMAT, "architecture": architecture, "base": dict(ingredients)}
    return document | ({"resolved": identities(resolved)} if resolved else {})


def step_documents(recipe: Recipe, *, base_key: str, inputs: KeyInputs) -> tuple[tuple[str, Document], ...]:
    """(key, ingredients) of each step."""
    result = []
    parent = base_key
    for step in recipe.steps:
        document = _document(step, recipe, parent=parent, inputs=inputs)
        parent = key_of(document)
        result.append((parent, document))
    return tuple(result)


def _document(step: Step, recipe: Recipe, *, parent: str, inputs: KeyInputs) -> Document:
    document: Document = {
        "format": FORMAT,
        "parent": parent,
        "architecture": recipe.architecture,
        "runner": inputs.runner,
        "phase": step.phase,
    }
    if step.dated:
        document["epoch"] = inputs.epoch
    if recipe.chosen:
        document["chosen"] = True
    if not step.network:
        document["network"] = False
    if step.resolved is not None:
        document["resolved"] = identities(step.resolved)
    if step.element is not None:
        return document | _element_ingredients(step.element, inputs, local=step.local)
    if not step.flavour:
        return document
    phase = Phase(step.phase)
    own = recipe.stack.get(step.flavour)
    files = {name: recipe.stack.get(name).seen_in(phase) for name in step.seen}
    extra = {
        name: [_file(file) for file in inputs.extra.get(name, ()) if is_seen(file.path, phase)]
        for name in step.seen
    }
    hooks = {file.path: file for file in own.files}
    document |= {
        "flavour": step.flavour,
        "packages": [[name, list(words)] for name, words in own.packages] if step.packages else [],
        "hooks": [_file(hooks[f"{step.phase}/{name}"]) for name in step.hooks],
        "files": {name: [_file(file) for file in seen] for name, seen in files.items()},
        "extra-data": {name: listed for name, listed in extra.items() if listed},
        "environment": {name: _digest_of_variable(name, value) for name, value in step.environment},
        "secrets": {
            secret.name: inputs.revisions[secret.name] if secret.rebuild else "" for secret in step.secrets
        },
        "local": step.local,
    }
    if step.fetched:
        document["fetched"] = {
            name: [[file.name, file.executable, file.sha256] for file in files]
            for name, files in step.fetched
        }
    if phase is Phase.FIRST_BOOT:
        document["place"] = step.place
    return document


def _element_ingredients(step: ElementStep, inputs: KeyInputs, *, local: bool) -> Document:
    return {
        "element-runner": inputs.element_runner,
        "scripts": list(step.scripts),
        "between": [step.after, step.until],
        "packages": list(step.packages),
        "fstab": step.fstab,
        "elements": list(step.elements) if step.sources else [],
        "hooks": [_file(hook.file) for hook in step.hooks],
        "sources": {name: [_file(file) for file in files] for name, files in step.sources},
        "environment": {name: _digest_of_variable(name, value) for name, value in step.variables},
        "granted": {file.target: file.digest for file in step.granted},
        "local": local,
    }


def _digest_of_variable(name: str, value: str) -> str:
    """The name is in it, so that equal values of two variables do not show."""
    return key_of({"variable": name, "value": value})


def _file(file: FlavourFile) -> list[object]:
    private = ["private"] if file.private else []
    return [file.path, file.kind.value, file.executable, file.digest, *private]


def difference(
    expected_document: Document,
    actual_document: Document,
    *,
    security: frozenset[tuple[str, str]] = frozenset(),
) -> tuple[str, ...]:
    """What differs between two documents, one line each, by the names of the ingredients. `security` names packages, by
    name and version, that security updates bring."""
    lines = []
    for name in sorted(expected_document.keys() | actual_document.keys()):
        expected, actual = expected_document.get(name), actual_document.get(name)
        if expected == actual:
            continue
        if name == "resolved":
            lines += package_changes(_entries(expected), _entries(actual), security)
        elif name in _NAMED and isinstance(expected, dict) and isinstance(actual, dict):
            lines += _named_difference(_NAMED[name], expected, actual)
        elif isinstance(expected, dict) and isinstance(actual, dict):
            lines += [f"{name}.{line}" for line in difference(expected, actual)]
        elif isinstance(expected, list) and isinstance(actual, list):
            lines += _list_difference(name, expected, actual)
        else:
            lines.append(f"{name}: {_short(actual)} -> {_short(expected)}")
    return tuple(lines)


_NAMED: Final = {"environment": "variable", "secrets": "secret"}
"""Ingredients whose values are digests, and what one of them is called."""


def _named_difference(kind: str, expected: Mapping[str, object], actual: Mapping[str, object]) -> list[str]:
    lines = [f"{kind} {name} is new" for name in sorted(expected.keys() - actual.keys())]
    lines += [f"{kind} {name} is gone" for name in sorted(actual.keys() - expected.keys())]
    both = sorted(expected.keys() & actual.keys())
    return lines + [f"{kind} {name} differs" for name in both if expected[name] != actual[name]]


def _list_difference(name: str, expected: list[object], actual: list[object]) -> list[str]:
    """Of lists of files, by path; of other lists, as a whole."""
    new = {str(entry[0]): entry[1:] for entry in expected if isinstance(entry, list) and entry}
    old = {str(entry[0]): entry[1:] for entry in actual if isinstance(entry, list) and entry}
    if len(new) != len(expected) or len(old) != len(actual):
        return [f"{name}: {_short(actual)} -> {_short(expected)}"]
    added = [f"{name}: {path} is new" for path in sorted(new.keys() - old.keys())]
    removed = [f"{name}: {path} is gone" for path in sorted(old.keys() - new.keys())]
    changed = [
        f"{name}: {path} changed" for path in sorted(new.keys() & old.keys()) if new[path] != old[path]
    ]
    if not (added or removed or changed):
        return [f"{name}: another order"]
    return added + removed + changed


def _entries(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 70 else text[:67] + "..."
