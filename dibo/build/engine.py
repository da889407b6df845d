"""The contract of engines: what dibo asks of whatever runs steps and keeps layers.

A new engine is one folder in dibo/build/engines and one line in the table there (engines/table.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

from dibo.build.finding import Finding
from dibo.build.sandbox import Confinement
from dibo.errors import DiboError
from dibo.images.image import Image, Layer
from dibo.plan.base import NoStore, ResolutionStore, Source
from dibo.system.process import OnOutput, Process
from dibo.system.report import Report
from dibo.system.workspace import Run

if TYPE_CHECKING:
    from dibo.plan.plan import PlannedStep

SECRETS: Final = "/run/secrets"
"""Where a step sees its secrets, each a file of mode 0400 on a file system in memory."""


OnHook = Callable[[str], None]
"""Gets the name of each hook that starts."""


def _ignore(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """One step to run: on which layer, with which context, and who hears of it."""

    planned: PlannedStep
    labels: Mapping[str, str]
    """Of the image that the step makes; an empty one takes away what the parent has of that name."""
    parent: str
    """The key of the layer below."""
    context: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """For the run only: proxies. In neither key nor layer, and, since a proxy's address may hold a password, in no
    argument of a command."""
    secrets: Mapping[str, Path] = field(default_factory=dict)
    """Files of mode 0400 in one directory of a tmpfs, by name: the step sees each at SECRETS/NAME. In neither key nor
    layer."""
    mask: Callable[[str], str] = str
    """Applied to each line of output before anybody sees it: replaces the values of secrets."""
    log: Path
    """The output is kept here when the step fails, of a long one the beginning and the end."""
    on_output: OnOutput
    """Gets each line that hooks write."""
    on_hook: OnHook
    """Gets the name of each hook that starts."""
    on_stage: OnOutput = _ignore
    """Gets what the engine does next, for profiles."""


class BuildDirectory(Protocol):
    """A file tree in a directory that only commands started by `process` can see."""

    def process(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
        on_output: OnOutput | None = None,
    ) -> Process:
        """Start a command that finds the tree at $ROOT, with the ids that the tree has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A finished file tree, as the layers that it is made of, the lowest first."""

    name: str
    """For messages."""
    layers: tuple[Layer, ...]
    built: bool
    """Whether dibo built it: then what engines leave in a tree is taken out."""
    directory: Callable[[], AbstractContextManager[BuildDirectory]] | None = None
    """The same tree in a directory, where there can be one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image that dibo made, as it lies in an engine's store."""

    identity: str
    """What the engine knows it by."""
    names: tuple[str, ...]
    """As `Engine.names` has them; none, where another image took its name."""
    tagged: bool
    """Whether the user gave it a name."""
    created: float
    """In seconds since 1970."""
    layers: tuple[tuple[str, int], ...]
    """(identity, bytes) of each layer, the lowest first."""


class Engine(Protocol):
    """Runs steps and keeps layers. Every method may raise EngineError or ToolMissing."""

    name: str
    runs_outside: bool
    """Whether the engine runs steps of elements on the tree of an image, outside of it."""
    gives_directory: bool
    """Whether the engine can give a root as a directory: `Root.directory`."""
    reads_beside: bool
    """Whether layers that are held can be read while a step runs, each by itself."""

    def check(self) -> None:
        """Refuse to go on where the engine cannot work on this machine."""

    def held(self) -> Mapping[str, float]:
        """The keys of the layers in the local store, and when each was made, in seconds since the epoch."""

    def identities(self, keys: Collection[str]) -> Mapping[str, str]:
        """What the engine knows the images by that end with these layers, of those that it has: digests of their
        configs, or of their manifests."""

    def import_base(self, source: Source, *, key: str, labels: Mapping[str, str], architecture: str) -> None:
        """Make the first layer. An empty label takes away what an image that is the base has of that name."""

    def run_step(self, step: StepRun) -> None:
        """Make a layer. Raises HookFailed; the state that the hook left can then be looked at with `shell`."""

    def tag(self, key: str, name: str) -> None:
        """Give the image that ends with the layer `key` a name of the user's."""

    def reference(self, key: str) -> str:
        """How other programs on this machine call the image that ends with the layer `key`."""

    def root(self, key: str, *, architecture: str) -> AbstractContextManager[Root]:
        """The tree of the image that ends with the layer `key`."""

    def shell(self, name: str, *, context: Path | None, mount_point: str, argv: Sequence[str]) -> int:
        """A shell in a throw-away copy of a layer (a key) or of a failed state; its exit code."""

    def names(self) -> Sequence[str]:
        """What `shell` takes: keys, and `failed-…` for states that hooks left."""

    def remove(self, name: str) -> None:
        """Forget a layer or a failed state. Layers above it stay."""

    def stored(self) -> Sequence[StoredImage]:
        """All images of dibo's in the local store, with their sizes, those without a name included."""

    def discard(self, identity: str) -> None:
        """Remove an image that has no name."""

    def store(self, *, architecture: str) -> Store:
        """The images that this engine keeps, for caches and registries."""


class Store(Protocol):
    """The images that an engine keeps, as a cache takes and gives them. May raise EngineError, ToolMissing."""

    def image(self, key: str) -> Image:
        """The image that ends with the layer `key`. All its layers say their `diff_id`. Raises ImageError."""

    def take(self, image: Image, *, key: str) -> None:
        """Keep `image` as the one that ends with the layer `key`. Only layers that are not here yet are opened, and
        each is checked before it counts. Raises VerificationFailed, and what opening a layer raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """All that an engine is opened with."""

    run: Run
    report: Report
    confinement: Confinement = field(default_factory=Confinement)
    """How far steps are shut off from the machine."""
    resolutions: ResolutionStore = field(default_factory=NoStore)
    """Where packages may have been chosen before."""


class EngineKind(Protocol):
    """A kind of engine: what can be known before one is opened."""

    name: str
    journal_kind: str
    """The kind of the things that a run's journal lists for this engine to remove."""

    def open(self, setup: Setup) -> AbstractContextManager[Engine]:
        """The engine. Raises EngineError or ToolMissing where it cannot be had."""

    def seems_there(self) -> bool:
        """Whether this machine shows a sign of the engine, which costs nothing to look for."""

    def why_not(self, confinement: Confinement, *, alternatives: bool) -> DiboError | None:
        """What can be seen at once to keep the engine from building. With `alternatives`, other engines could build
        instead, so that a closer look is worth its time."""

    def examine(self, confinement: Confinement) -> Iterator[Finding]:
        """Try what a build takes, for `dibo doctor`; change nothing."""

    def sweep(self, value: str) -> None:
        """Remove what a killed run left: `value` is what its journal says. Raises DiboError where that must wait."""
