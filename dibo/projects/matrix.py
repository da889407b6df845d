"""Several images of one entry: each combination of the values of its axes.

    matrix:
      release: [bookworm, trixie]                 a list: values of the key of that name
      role:                                       a mapping: variants, each with keys of its own
        web: {flavours: [web-server]}
        db: {flavours: [mysql], size: 8}
      exclude:
        - {release: bookworm, role: db}

`architectures` with several values is an axis, too, called arch. The last axis changes fastest.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dibo.flavours.located_yaml import YamlKind
from dibo.flavours.schema import nearest
from dibo.projects import keys
from dibo.projects.entry import ProjectEntry
from dibo.projects.layers import Layer, Layers

_UNUSUAL = re.compile(r"[^A-Za-z0-9_.+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisValue:
    """A value of an axis, as texts show it, and the keys that it sets."""

    text: str
    layer: Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """One value of each axis."""

    axes: tuple[tuple[str, str], ...]
    layers: tuple[Layer, ...]

    def name(self, entry: str) -> str:
        """What the image is called unless it has a name: that of the entry, and its values."""
        words = (_UNUSUAL.sub("-", text).strip("-.") for _, text in self.axes)
        return "-".join((entry, *words))


def combinations(layers: Layers) -> Iterator[Combination]:
    """Those of an entry; one without values where it has no axes. Raises ProjectError."""
    axes, excluded = _axes(layers)
    matrix = layers.top("matrix")
    count = math.prod(map(len, axes.values()))
    if matrix is not None and count > keys.MOST_IMAGES:
        matrix.fail(f"the matrix has {count} combinations, more than {keys.MOST_IMAGES}")
    left_out = _left_out(axes, excluded)
    left = 0
    for values in itertools.product(*axes.values()):
        texts = tuple(value.text for value in values)
        if texts in left_out:
            continue
        left += 1
        yield Combination(
            axes=tuple(zip(axes, texts, strict=True)), layers=tuple(value.layer for value in values)
        )
    if not left and matrix is not None:
        matrix.fail("exclude leaves out every combination")


def _left_out(
    axes: Mapping[str, tuple[AxisValue, ...]], excluded: Iterable[Mapping[str, frozenset[str]]]
) -> set[tuple[str, ...]]:
    """The values of each combination that rules exclude. Made from the rules: thousands of these may each exclude one
    combination of thousands."""
    every = {axis: tuple(value.text for value in values) for axis, values in axes.items()}
    return {
        texts
        for rule in excluded
        for texts in itertools.product(*(rule.get(axis, words) for axis, words in every.items()))
    }


def check_matrix(layer: Layer) -> Iterator[Layer]:
    """Check the axes that one place says; the keys of their variants. Raises ProjectError."""
    axes, _ = _axes(Layers(layers=(layer,)))
    return (value.layer for values in axes.values() for value in values)


def _axes(
    layers: Layers,
) -> tuple[dict[str, tuple[AxisValue, ...]], tuple[Mapping[str, frozenset[str]], ...]]:
    matrix = layers.top("matrix")
    given = {} if matrix is None else dict(matrix.mapping())
    exclude = given.pop(keys.EXCLUDE, None)
    if matrix is not None and not given:
        matrix.fail("a matrix has at least one axis", hint="such as release: [bookworm, trixie]")
    axes = {axis: _values(axis, entry) for axis, entry in given.items()}
    for layer in layers.layers:
        if "arch" in layer and "architectures" in layer:
            layer["arch"].fail("arch and architectures are both given", hint="leave out one of them")
    architectures = layers.top("arch", "architectures")
    if architectures is not None and architectures.path.endswith("architectures"):
        several = _architectures(architectures)
        if len(several) > 1:
            if "arch" in axes:
                architectures.fail(
                    "the matrix has an axis arch, too", hint="leave out one of architectures and arch"
                )
            axes["arch"] = several
    return axes, () if exclude is None else tuple(_rule(item, axes) for item in exclude.items())


def _architectures(entry: ProjectEntry) -> tuple[AxisValue, ...]:
    texts = entry.texts(keys.ARCHITECTURE, "an architecture, such as amd64 or arm64/v8")
    if len(texts) != len(entry.value.items) or not texts:
        entry.fail("expected at least one architecture, and each once")
    return _listed("arch", entry)


def _values(axis: str, entry: ProjectEntry) -> tuple[AxisValue, ...]:
    if keys.AXIS_NAME.fullmatch(axis) is None or axis in ("image", "name"):
        entry.fail(
            f"{axis!r} cannot be an axis", hint="an axis has small letters, digits, _ and -, at most 31"
        )
    if entry.kind is YamlKind.LIST:
        if axis not in keys.TEXT_KEYS:
            entry.fail(
                f"{axis} is no key that a list of values can set{nearest(axis, keys.TEXT_KEYS)}",
                hint=f"a list is for one of {', '.join(keys.TEXT_KEYS)}; other axes are mappings of names to keys",
            )
        return _listed(axis, entry)
    if entry.kind is not YamlKind.MAPPING:
        entry.fail_kind("a list of values, or a mapping of names to keys")
    values = []
    for name, variant in entry.mapping().items():
        if keys.IMAGE_NAME.fullmatch(name) is None:
            variant.fail(f"{name!r} cannot be a name", hint=f"a name has {keys.NAME_TEXT}")
        values.append(AxisValue(text=name, layer=variant.mapping(keys.VARIANT_KEYS)))
    if not values:
        entry.fail("an axis has at least one value")
    return tuple(values)


def _listed(axis: str, entry: ProjectEntry) -> tuple[AxisValue, ...]:
    values: dict[str, AxisValue] = {}
    for item in entry.items():
        if item.kind in (YamlKind.LIST, YamlKind.MAPPING, YamlKind.NULL):
            item.fail_kind("text")
        if item.value.text in values:
            item.fail(f"the value {item.value.text} stands there twice")
        values[item.value.text] = AxisValue(text=item.value.text, layer={axis: item})
    if not values:
        entry.fail("an axis has at least one value")
    return tuple(values.values())


def _rule(entry: ProjectEntry, axes: Mapping[str, tuple[AxisValue, ...]]) -> Mapping[str, frozenset[str]]:
    rule = {}
    for axis, item in entry.mapping(tuple(axes)).items():
        words = []
        for value in item.items() if item.kind is YamlKind.LIST else (item,):
            known = [axis_value.text for axis_value in axes[axis]]
            if value.value.text not in known:
                value.fail(
                    f"{axis} has no value {value.value.text!r}{nearest(value.value.text, known)}",
                    hint=f"it has {', '.join(known)}",
                )
            words.append(value.value.text)
        rule[axis] = frozenset(words)
    if not rule:
        entry.fail("expected values of axes, such as {release: bookworm}")
    return rule
