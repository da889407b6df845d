"""What travels through the scheduler: small values, that say where the large ones are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dibo.api.baking.spec import LayerResult, TaskKind
from dibo.build.sandbox import Confinement
from dibo.errors import DiboError

LARGEST: Final = 64 << 10
"""Bytes of an order or an outcome, pickled. What is larger belongs into the registry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParcelName:
    """A parcel in a registry."""

    repository: str
    tag: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOrder:
    """One task, for a worker. What its image is, is in the bundle: in a registry, or, for workers that share the file
    system and the store of this machine, in a file."""

    id: str
    kind: TaskKind
    image: str
    keys: tuple[str, ...] = ()
    test: str = ""
    bundle: ParcelName | None = None
    file: Path | None = None
    artefacts: ParcelName | None = None
    """Of a test: where what it boots is."""
    reply_tag: str = ""
    """Under which artefacts are to be pushed, beside the bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOutcome:
    """How a task ended."""

    id: str
    seconds: float
    layers: tuple[LayerResult, ...] = ()
    artefacts: tuple[Path, ...] = ()
    """Of workers that share the file system: where they are; else their names in the parcel."""
    parcel: ParcelName | None = None
    error: DiboError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsOrder:
    """What has the worker? Of the settings of a bake, what decides."""

    engine: str
    confinement: Confinement
    architectures: tuple[str, ...]
    repository: str | None
    """The registry that it must reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """What a worker is and has."""

    version: str
    """Of dibo."""
    python: str
    runner: str
    """The digest of what runs hooks: it is part of every key."""
    user: str
    builds: str = ""
    """Why it cannot build; empty if it can."""
    reaches: str = ""
    """Why it cannot reach the registry; empty if it can."""
    boots: bool = False
    architectures: frozenset[str] = field(default_factory=frozenset)
