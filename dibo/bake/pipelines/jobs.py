"""The jobs of a pipeline: one for all layers that the same images share, one for the artefacts of each image.

The layers of all images are trees. Where images part, one job ends and several begin; in between, layers are built by
one job, as a chain. Jobs say which images they are for, and no keys: these change with every change of a flavour, and
with the month; which images share the beginning of their stacks seldom changes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dibo.bake.graph import ArtefactTask, Graph, LayerTask

_NO_NAME: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerJob:
    """Builds the layers that all of its images have in common, and stores them in the cache."""

    name: str
    images: tuple[str, ...]
    below: str | None
    """The job whose layers these are built on."""
    architecture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageJob:
    """Makes the artefacts of an image, and tries them."""

    image: str
    layers: str | None
    """The job that builds the last of its layers; None where an existing image is converted."""
    architecture: str
    destination: str
    """Where its artefacts go, without the type."""
    types: tuple[str, ...]
    builds: bool
    """Whether it has to build layers: those that no cache may have."""

    @property
    def files(self) -> str:
        """A pattern that its artefacts match."""
        return f"{self.destination}.*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """In an order in which they could run one after the other."""

    layers: tuple[LayerJob, ...]
    images: tuple[ImageJob, ...]

    @property
    def architectures(self) -> tuple[str, ...]:
        return tuple(
            sorted({job.architecture for job in self.layers} | {job.architecture for job in self.images})
        )

    def shared(self, image: ImageJob) -> str | None:
        """The last job with layers of the image that another image has, too."""
        by_name = {job.name: job for job in self.layers}
        name = image.layers
        while name is not None and len(by_name[name].images) == 1:
            name = by_name[name].below
        return name


def jobs_of(graph: Graph) -> Jobs:
    """The jobs of a graph of which nothing is built."""
    stored = [layer for layer in graph.layers if not layer.local]
    names = _Names(several=len({layer.architecture for layer in stored}) > 1)
    job_of: dict[str, str] = {}
    jobs: dict[str, LayerJob] = {}
    for first in stored:  # parents come before their children
        if first.key in job_of:
            continue
        chain = _chain(first, stored)
        job = LayerJob(
            name=names.new(chain),
            images=first.images,
            below=job_of.get(first.parent or ""),
            architecture=first.architecture,
        )
        jobs[job.name] = job
        job_of.update(dict.fromkeys((layer.key for layer in chain), job.name))
    return Jobs(
        layers=tuple(jobs.values()),
        images=tuple(_image_job(artefact, graph, job_of) for artefact in graph.artefacts),
    )


def _chain(first: LayerTask, layers: Sequence[LayerTask]) -> list[LayerTask]:
    """The layers from this one on that the same images have."""
    chain = [first]
    for layer in layers:
        if layer.parent == chain[-1].key and layer.images == first.images:
            chain.append(layer)
    return chain


def _image_job(artefact: ArtefactTask, graph: Graph, job_of: dict[str, str]) -> ImageJob:
    parents = {layer.key: layer.parent for layer in graph.layers}
    key = artefact.root
    while key is not None and key not in job_of:
        key = parents[key]
    return ImageJob(
        image=artefact.image,
        layers=None if key is None else job_of[key],
        architecture=artefact.architecture,
        destination=artefact.destination,
        types=artefact.types,
        builds=key != artefact.root,
    )


class _Names:
    """Names of jobs, each once: after the image, or, where several share the layers, after the last flavour."""

    def __init__(self, *, several: bool) -> None:
        """With `several` architectures, names have theirs."""
        self._several = several
        self._taken: set[str] = set()

    def new(self, chain: Sequence[LayerTask]) -> str:
        subject = chain[-1].images[0] if len(chain[-1].images) == 1 else _subject(chain)
        words = ["layers", subject, *([chain[-1].architecture] if self._several else [])]
        name = stem = _NO_NAME.sub("-", "-".join(words).lower()).strip("-")
        number = 1
        while name in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(name)
        return name


def _subject(chain: Sequence[LayerTask]) -> str:
    """The flavour of the last layer that has one, or the base."""
    flavours = [layer.title.partition(" ")[0] for layer in chain if " " in layer.title and layer.parent]
    return flavours[-1] if flavours else chain[0].title
