"""What an image inherits: layers of keys, the lowest first, and how the values of a key combine.

    defaults of including files, then of its own file  <  templates and images of `extends`, in order  <  the image
    <  the variants of its matrix

Flavours, secrets, tests, variables and options of boots add to those below; of all other keys the topmost value counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dibo.flavours.located_yaml import YamlKind
from dibo.flavours.schema import nearest
from dibo.projects.entry import ProjectEntry
from dibo.projects.keys import DEFAULT_KEYS, IMAGE_KEYS, IMAGE_NAME, NAME_TEXT, TEMPLATE_KEYS

Layer = Mapping[str, ProjectEntry]
_NULL: Layer = {}
_DEEPEST: Final = 64
"""Templates that extend each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The keys of one image, the lowest layer first."""

    layers: tuple[Layer, ...]

    def every(self, key: str) -> Iterator[ProjectEntry]:
        """The values of a key, the lowest first."""
        return (layer[key] for layer in self.layers if key in layer)

    def top(self, *keys: str) -> ProjectEntry | None:
        """The value of the topmost layer that has one of the keys."""
        for layer in reversed(self.layers):
            for key in keys:
                if key in layer:
                    return layer[key]
        return None

    def place(self, key: str) -> int:
        """The number of the topmost layer that has a key; -1 if none has."""
        return max((number for number, layer in enumerate(self.layers) if key in layer), default=-1)

    def without(self, keys: Iterable[str], *, below: int) -> Layers:
        """The same, where layers below that number have none of the keys."""
        dropped = frozenset(keys)
        return Layers(
            layers=tuple(
                {key: entry for key, entry in layer.items() if number >= below or key not in dropped}
                for number, layer in enumerate(self.layers)
            )
        )

    def with_top(self, layers: Iterable[Layer]) -> Layers:
        return Layers(layers=(*self.layers, *layers))


def keys_of(entry: ProjectEntry, known: tuple[str, ...]) -> Layer:
    """The keys of an image or a template; nothing for one that says nothing. Raises ProjectError."""
    return _NULL if entry.kind is YamlKind.NULL else entry.mapping(known)


def named_entries(entry: ProjectEntry | None) -> dict[str, ProjectEntry]:
    """Entries by their names. Raises ProjectError."""
    if entry is None:
        return {}
    entries = dict(entry.mapping())
    for name, item in entries.items():
        if IMAGE_NAME.fullmatch(name) is None:
            item.fail(f"{name!r} cannot be a name", hint=f"a name has {NAME_TEXT}")
    return entries


class Inheritance:
    """The entries of all files, and what each image inherits."""

    def __init__(self) -> None:
        self.images: dict[str, tuple[ProjectEntry, tuple[Layer, ...]]] = {}
        """With the defaults of its file and of those that include it."""
        self._templates: dict[str, ProjectEntry] = {}

    def add(
        self,
        templates: Mapping[str, ProjectEntry],
        images: Mapping[str, ProjectEntry],
        defaults: tuple[Layer, ...],
    ) -> None:
        """Those of one file. Raises ProjectError for a name that is taken."""
        for name, entry in templates.items():
            self._refuse_taken(name, entry)
            self._templates[name] = entry
        for name, entry in images.items():
            self._refuse_taken(name, entry)
            self.images[name] = entry, defaults

    def _refuse_taken(self, name: str, entry: ProjectEntry) -> None:
        earlier = self._templates.get(name) or (self.images[name][0] if name in self.images else None)
        if earlier is not None:
            entry.fail(
                f"the name {name} is taken: {earlier.position} has it", hint="give each a name of its own"
            )

    def layers(self, name: str) -> Layers:
        """Those of an image. Raises ProjectError."""
        entry, defaults = self.images[name]
        own = keys_of(entry, IMAGE_KEYS)
        keeps = own["defaults"].flag() if "defaults" in own else True
        inherited: dict[str, Layer] = {}
        self._collect(name, own, inherited, chain=(name,))
        below = [
            layer if origin in self._templates else _without_name(layer)
            for origin, layer in inherited.items()
        ]
        return Layers(layers=(*(defaults if keeps else ()), *below, own))

    def _collect(
        self, name: str, keys: Layer, inherited: dict[str, Layer], *, chain: tuple[str, ...]
    ) -> None:
        """What `keys` extends, each once, the lowest first."""
        if "extends" not in keys:
            return
        for word, entry in extended_names(keys["extends"]):
            if word in chain:
                entry.fail(f"{name} extends itself: {' → '.join((*chain, word))}")
            if len(chain) > _DEEPEST:
                entry.fail(f"more than {_DEEPEST} templates extend each other")
            if word in inherited:
                continue
            layer = self._layer(word, entry)
            self._collect(word, layer, inherited, chain=(*chain, word))
            inherited[word] = layer

    def _layer(self, name: str, entry: ProjectEntry) -> Layer:
        if name in self._templates:
            return keys_of(self._templates[name], TEMPLATE_KEYS)
        if name in self.images:
            return keys_of(self.images[name][0], IMAGE_KEYS)
        known = (*self._templates, *self.images)
        problem = f"there is no template or image {name!r}{nearest(name, known)}"
        return entry.fail(problem, hint="templates stand under `templates:`")

    def check_templates(self) -> None:
        """Those that no image uses, too. Raises ProjectError."""
        for name, entry in self._templates.items():
            self._collect(name, keys_of(entry, TEMPLATE_KEYS), {}, chain=(name,))

    @property
    def templates(self) -> Iterator[Layers]:
        """The keys of each template, alone."""
        return (Layers(layers=(keys_of(entry, TEMPLATE_KEYS),)) for entry in self._templates.values())


def defaults_of(entry: ProjectEntry | None) -> Layer:
    """Raises ProjectError."""
    return _NULL if entry is None else keys_of(entry, DEFAULT_KEYS)


def extended_names(entry: ProjectEntry) -> tuple[tuple[str, ProjectEntry], ...]:
    """The names under `extends`: a list or one. Raises ProjectError."""
    expected = f"a name: {NAME_TEXT}"
    items = tuple(entry.items()) if entry.kind is YamlKind.LIST else (entry,)
    return tuple((item.text(IMAGE_NAME, expected), item) for item in items)


def _without_name(layer: Layer) -> Layer:
    return {key: entry for key, entry in layer.items() if key != "name"}
