"""Graphs as pipelines get them: nothing is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dibo.bake.graph import ArtefactTask, Graph, LayerState, LayerTask

STACKS = {
    "web": ("base debian:trixie", "vm install.d: 10-kernel", "web-server install.d: 50-site"),
    "db": (
        "base debian:trixie",
        "vm install.d: 10-kernel",
        "mysql install.d: 50-mysql",
        "mysql install.d: 60-tune",
    ),
    "plain": ("base debian:trixie", "vm install.d: 10-kernel"),
}


def graph_of(
    stacks: Mapping[str, Sequence[str]] = STACKS,
    *,
    architectures: Mapping[str, str] = {},
    local: Sequence[str] = (),
) -> Graph:
    """The graph of images, each with the titles of its layers."""
    layers: dict[str, LayerTask] = {}
    artefacts = []
    for image, titles in stacks.items():
        architecture, parent = architectures.get(image, "amd64"), None
        for title in titles:
            key = f"{parent or architecture}/{title}"
            known = layers.get(key)
            images = (*known.images, image) if known is not None else (image,)
            layer = LayerTask(
                key=key,
                parent=parent,
                title=title,
                images=images,
                builder=images[0],
                architecture=architecture,
                state=LayerState.MISSING,
                local=title in local,
            )
            layers[key] = replace(known, images=images) if known is not None else layer
            parent = key
        artefacts.append(
            ArtefactTask(
                image=image,
                types=("qcow2",),
                root=parent,
                architecture=architecture,
                destination=f"out/{image}",
            )
        )
    return Graph(layers=tuple(layers.values()), artefacts=tuple(artefacts))
