"""A graph for people: layers as trees, indented where they branch, with what is made of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dibo.bake.graph import Graph, LayerState, LayerTask, tasks_of
from dibo.bake.schedule import Schedule
from dibo.units import counted, human_time

_STATES: Final = {LayerState.MISSING: "build", LayerState.HERE: "cached", LayerState.REGISTRY: "pull"}
_INDENT: Final = "  "
_FEW: Final = 4


def draw(graph: Graph, reasons: Mapping[str, Sequence[str]]) -> str:
    """Each layer once, below its parent; artefacts and tests below the last layer of their image. `reasons` say why
    images are in it, by name."""
    keys = {layer.key for layer in graph.layers}
    starts = [layer for layer in graph.layers if layer.parent not in keys]
    lines = [line for layer in starts for line in _tree(layer, graph, 0)]
    for artefact in graph.artefacts:
        if artefact.root not in keys:
            lines += _artefacts(graph, artefact.root, artefact.image, 0)
    why = [f"{name}: {text}" for name, texts in reasons.items() for text in texts]
    return "\n".join([*lines, "", *why, *([""] if why else []), _counts(graph)])


def _tree(layer: LayerTask, graph: Graph, depth: int) -> Iterator[str]:
    images = ", ".join(layer.images) if len(layer.images) <= _FEW else counted(len(layer.images), "image")
    local = "  (local)" if layer.local else ""
    yield f"{layer.key[:12]}  {_STATES[layer.state]:6}  {_INDENT * depth}{layer.title}{local}  ({images})"
    above = [other_layer for other_layer in graph.layers if other_layer.parent == layer.key]
    made = _artefacts(graph, layer.key, None, depth + 1)
    yield from made
    deeper = depth + (len(above) + bool(made) > 1)
    for child in above:
        yield from _tree(child, graph, deeper)


def _artefacts(graph: Graph, root: str | None, image: str | None, depth: int) -> list[str]:
    """What is made of a root."""
    lines = []
    for artefact in graph.artefacts:
        if artefact.root == root and image in (None, artefact.image):
            types = ", ".join(artefact.types)
            lines.append(f"{'':22}{_INDENT * depth}{artefact.image}: {types}  {artefact.destination}")
            lines += [
                f"{'':22}{_INDENT * (depth + 1)}test {test.name}"
                for test in graph.tests
                if test.image == artefact.image
            ]
    return lines


def _counts(graph: Graph) -> str:
    tasks = tasks_of(graph)
    work = sum(task.seconds for task in tasks)
    longest = Schedule(tasks).critical_seconds
    return (
        f"{counted(len(graph.artefacts), 'image')}, {counted(len(graph.to_build), 'layer')} to build, "
        f"{counted(len(tasks), 'task')}; about {human_time(work)} of work, at least {human_time(longest)}"
    )
