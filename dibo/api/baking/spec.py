"""What is said of a task: small values that can be pickled, to another process or to another machine."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dibo.errors import DiboError
from dibo.settings.settings import Settings
from dibo.system.task import LayerOutcome

if TYPE_CHECKING:  # a worker imports what its task takes
    from dibo.api.conversion import ConvertRequest
    from dibo.api.machines.request import BootRequest
    from dibo.build.context import ExtraFiles
    from dibo.disk.layout_choice import GivenLayout
    from dibo.disk.request import DiskRequest
    from dibo.plan.plan import Plan
    from dibo.ramdisk.settings import RamdiskSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTest:
    """One boot of an image with its steps. The request names an artefact of the image."""

    name: str
    request: BootRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """An image of a bake: flavours on a base, with `ramdisk` a ramdisk of them; with `conversion` an image that
    exists."""

    name: str
    settings: Settings
    """With the output and the types."""
    layout: GivenLayout | None = None
    ramdisk: RamdiskSettings | None = None
    conversion: ConvertRequest | None = None
    tests: tuple[ImageTest, ...] = ()
    registry: str | None = None
    """Where artefacts go besides: HOST/PATH[:TAG]."""


class TaskKind(enum.Enum):
    LAYERS = "layers"
    ARTEFACTS = "artefacts"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One task of a graph, as a worker gets it."""

    id: str
    kind: TaskKind
    image: ImageSpec
    """Whose plan has the layers, or whose artefacts are made or booted."""
    keys: tuple[str, ...] = ()
    """Of layers: those to build, the lowest first; of artefacts: that of the root, if it is of layers."""
    test: str = ""
    """The name of the test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What the process that made the graph decided of an image, for workers of its run on the same machine. Without
    it, a worker plans the image again, and hooks on the host run there."""

    plan: Plan
    extra: ExtraFiles
    request: DiskRequest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResult:
    """A layer, and where it came from."""

    outcome: LayerOutcome
    seconds: float | None
    """What building or pulling it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutcome:
    """How a task ended."""

    id: str
    seconds: float
    layers: tuple[LayerResult, ...] = ()
    """Of a task of layers: those that are there now."""
    artefacts: tuple[Path, ...] = ()
    error: DiboError | None = None
    """Why it failed; None if it did not."""
