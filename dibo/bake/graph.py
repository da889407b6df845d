"""The graph of many images: the layers of all plans, each once, and what is made of them.

Layers are merged by their keys. A key covers all that is below it, so equal keys have equal keys below, and what is
shared is always the beginning of plans: the layers are trees, one for each base.

Layers that follow one another and that no other layer or artefact waits for are one task, a chain: one worker builds
them without starting again. A chain ends where others branch off, and where an artefact can begin.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dibo.plan.keys import Document
from dibo.plan.plan import Plan

Estimate = Callable[[str], float | None]
"""Seconds that making something took before, by its name (work_name); None if not known."""


class LayerState(enum.Enum):
    """Where a layer is before the bake."""

    MISSING = "missing"
    """It is built."""
    HERE = "here"
    """The engine's store has it."""
    REGISTRY = "registry"
    """A cache has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTask:
    """A layer that at least one image needs."""

    key: str
    parent: str | None
    """The key of the layer below; None for a base."""
    title: str
    images: tuple[str, ...]
    """Those that have it, by name."""
    builder: str
    """The image whose plan it is built by."""
    architecture: str
    state: LayerState
    local: bool = False
    """Whether it can hold data of this user or machine, so that no cache may have it."""
    seconds: float | None = None
    """What building it took before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactTask:
    """All artefacts of an image: its root is read once for all of them."""

    image: str
    types: tuple[str, ...]
    root: str | None
    """The key of its last layer; None where an existing image is converted."""
    architecture: str
    destination: str
    """The path without the type."""
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TestTask:
    """Boots an artefact of an image, and carries out the steps of its test."""

    __test__ = False  # for pytest: it is no test of dibo's

    image: str
    name: str
    architecture: str
    memory: int
    """Bytes that the machine has."""
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTasks:
    """An image as the graph takes it: its plan, and what is made of its root."""

    name: str
    plan: Plan | None
    """None where an existing image is converted."""
    artefact: ArtefactTask | None
    tests: tuple[TestTask, ...] = ()
    in_registry: frozenset[str] = frozenset()
    """Keys of the layers that only a cache in a registry has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Layers that one worker builds one after the other, the lowest first; at least one."""

    layers: tuple[LayerTask, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(layer.key for layer in self.layers)

    @property
    def builder(self) -> str:
        """The image whose plan has all of them."""
        return self.layers[-1].builder

    @property
    def images(self) -> tuple[str, ...]:
        return self.layers[-1].images


Work = Chain | ArtefactTask | TestTask


@dataclass(frozen=True, slots=True, kw_only=True)
class BakeTask:
    """What one worker does at a time."""

    id: str
    needs: tuple[str, ...]
    """Tasks that must be done before."""
    work: Work
    seconds: float
    """An estimate."""
    memory: int
    """Bytes; an estimate."""

    @property
    def architecture(self) -> str:
        return self.work.layers[-1].architecture if isinstance(self.work, Chain) else self.work.architecture

    @property
    def images(self) -> tuple[str, ...]:
        return self.work.images if isinstance(self.work, Chain) else (self.work.image,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Each layer once, parents before their children; artefacts and tests in the order of the images."""

    layers: tuple[LayerTask, ...]
    artefacts: tuple[ArtefactTask, ...]
    tests: tuple[TestTask, ...] = ()

    @property
    def to_build(self) -> tuple[LayerTask, ...]:
        return tuple(layer for layer in self.layers if layer.state is LayerState.MISSING)

    def layer(self, key: str) -> LayerTask:
        return next(layer for layer in self.layers if layer.key == key)


SECONDS_BASE: Final = 60.0
SECONDS_LAYER: Final = 10.0
SECONDS_PULL: Final = 5.0
SECONDS_ARTEFACT: Final = 15.0
SECONDS_TEST: Final = 90.0
"""Guesses, where nothing is known: what matters is their order."""
_MIB: Final = 1 << 20
MEMORY_LAYER: Final = 400 * _MIB
"""apt with its lists and dpkg, or mmdebstrap, and the worker itself."""
MEMORY_ARTEFACT: Final = 600 * _MIB
"""A root's names and inodes, decompressed layers in flight, converters."""
MEMORY_VM_EXTRA: Final = 256 * _MIB
"""What QEMU takes besides the memory of the machine."""


def work_name(ingredients: Document) -> str:
    """What tells work apart whose time is remembered: the same step of the same flavour, whatever has changed in it,
    or the same release. `ingredients` are those of a layer."""
    words = [str(ingredients.get("architecture"))]
    base = ingredients.get("base")
    if isinstance(base, dict):
        return " ".join((*words, "base", str(base.get("kind")), str(base.get("suite", ""))))
    words += [str(ingredients.get("phase")), str(ingredients.get("flavour", ""))]
    hooks = ingredients.get("hooks")
    if isinstance(hooks, list) and hooks:
        return " ".join((*words, *(str(hook[0]) for hook in hooks if isinstance(hook, list) and hook)))
    return " ".join((*words, "packages" if ingredients.get("packages") else ""))


def make_graph(images: Sequence[ImageTasks], estimate: Estimate = lambda _: None) -> Graph:
    """One graph of all images. A layer that is below the deepest one which is held is in it only if another image
    needs it."""
    merged: dict[str, tuple[int, LayerTask]] = {}
    for image in images:
        for depth, layer in _layers_of(image, estimate):
            _, known = merged.get(layer.key, (depth, layer))
            worse = known if known.state is LayerState.MISSING else layer
            together = tuple(dict.fromkeys((*known.images, image.name)))
            merged[layer.key] = depth, replace(worse, images=together)
    in_order = sorted(merged.values(), key=lambda entry: entry[0])
    return Graph(
        layers=tuple(layer for _, layer in in_order),
        artefacts=tuple(image.artefact for image in images if image.artefact is not None),
        tests=tuple(test for image in images for test in image.tests),
    )


def _layers_of(image: ImageTasks, estimate: Estimate) -> Iterator[tuple[int, LayerTask]]:
    """From the layer on which building begins; if all is held, only the last one. With the number of layers below."""
    plan = image.plan
    if plan is None:
        return
    architecture = plan.recipe.architecture
    titles = (f"base {plan.base_name}", *(planned.step.title for planned in plan.steps))
    local = (False, *(planned.step.local for planned in plan.steps))
    ingredients = (plan.base_ingredients, *(planned.ingredients for planned in plan.steps))
    for depth in range(plan.resume, len(plan.keys)):
        key = plan.keys[depth]
        state = LayerState.MISSING
        if plan.base_held and depth == plan.resume:
            state = LayerState.REGISTRY if key in image.in_registry else LayerState.HERE
        yield (
            depth,
            LayerTask(
                key=key,
                parent=plan.keys[depth - 1] if depth else None,
                title=titles[depth],
                images=(image.name,),
                builder=image.name,
                architecture=architecture,
                state=state,
                local=local[depth],
                seconds=estimate(work_name(json.loads(ingredients[depth]))),
            ),
        )


def shared_layers(graph: Graph, images: Sequence[str]) -> Graph:
    """Of a graph: only the layers that all of these images have."""
    return Graph(
        layers=tuple(layer for layer in graph.layers if set(images) <= set(layer.images)), artefacts=()
    )


def chains_of(graph: Graph) -> tuple[Chain, ...]:
    """The layers to make, in chains. A layer that only a cache has is one of its own where several chains begin on it,
    so that it is fetched once."""
    missing = {layer.key: layer for layer in graph.to_build}
    above: dict[str, list[LayerTask]] = {}
    for layer in missing.values():
        if layer.parent is not None:
            above.setdefault(layer.parent, []).append(layer)
    roots = {artefact.root for artefact in graph.artefacts}
    fetched = [
        Chain(layers=(layer,))
        for layer in graph.layers
        if layer.state is LayerState.REGISTRY and len(above.get(layer.key, ())) > 1
    ]

    def goes_on(layer: LayerTask) -> bool:
        """Whether the chain that ends with it takes the one layer above."""
        next_layers = above.get(layer.key, ())
        return len(next_layers) == 1 and next_layers[0].images == layer.images and layer.key not in roots

    chains = []
    for layer in missing.values():
        below = missing.get(layer.parent or "")
        if below is not None and goes_on(below):
            continue  # it is in the chain of that one
        chain = [layer]
        while goes_on(chain[-1]):
            chain += above[chain[-1].key]
        chains.append(Chain(layers=tuple(chain)))
    return (*fetched, *chains)


def tasks_of(graph: Graph) -> tuple[BakeTask, ...]:
    """What workers do, in an order in which it could be done by one."""
    chains = chains_of(graph)
    maker = {key: chain.keys[-1] for chain in chains for key in chain.keys}
    tasks = [
        BakeTask(
            id=chain.keys[-1],
            needs=_known(maker, chain.layers[0].parent),
            work=chain,
            seconds=sum(map(_seconds_of_layer, chain.layers)),
            memory=MEMORY_LAYER,
        )
        for chain in chains
    ]
    tasks += [
        BakeTask(
            id=f"image:{artefact.image}",
            needs=_known(maker, artefact.root),
            work=artefact,
            seconds=_or(artefact.seconds, SECONDS_ARTEFACT * len(artefact.types)),
            memory=MEMORY_ARTEFACT,
        )
        for artefact in graph.artefacts
    ]
    tasks += [
        BakeTask(
            id=f"test:{test.image}:{test.name}",
            needs=(f"image:{test.image}",),
            work=test,
            seconds=_or(test.seconds, SECONDS_TEST),
            memory=test.memory + MEMORY_VM_EXTRA,
        )
        for test in graph.tests
    ]
    return tuple(tasks)


def _known(maker: Mapping[str, str], key: str | None) -> tuple[str, ...]:
    """The task that makes the layer, if one does."""
    return (maker[key],) if key is not None and key in maker else ()


def _seconds_of_layer(layer: LayerTask) -> float:
    if layer.state is LayerState.REGISTRY:
        return SECONDS_PULL
    guess = SECONDS_BASE if layer.parent is None else SECONDS_LAYER
    return _or(layer.seconds, guess)


def _or(seconds: float | None, guess: float) -> float:
    return guess if seconds is None else seconds
