"""What the spine asks of engines: protocols, so that variants know of it and it not of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

from dibo.images.image import Image, Layer
from dibo.plan.base import Source
from dibo.plan.plan import PlannedStep
from dibo.system.process import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """One step to run: on which layer, with which context, and who hears of it."""

    planned: PlannedStep
    parent: str
    """The key of the layer below."""
    context: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """For the run only: proxies. In neither key nor layer, and, since a proxy's address may hold a password, in no
    argument of a command."""
    secrets: Mapping[str, Path] = field(default_factory=dict)
    """Files of mode 0400 in one directory of a tmpfs, by name: the engine binds each, read-only, at /run/secrets/NAME.
    In neither key nor layer."""
    mask: Callable[[str], str] = str
    """Applied to each line of output before anybody sees it: replaces the values of secrets."""
    log: Path
    """The full output is kept here when the step fails."""
    on_line: Callable[[str], None]
    on_hook: Callable[[str], None]


class Directory(Protocol):
    """A file tree in a directory that only commands started by `process` can see."""

    def process(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
        on_line: Callable[[str], None] | None = None,
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
    directory: Callable[[], AbstractContextManager[Directory]] | None = None
    """The same tree in a directory, where there can be one."""


class Engine(Protocol):
    """What runs steps and keeps layers. Every method may raise EngineError or ToolMissing."""

    name: str

    def check(self) -> None:
        """Refuse to go on where the engine cannot work on this machine."""

    def held(self) -> Mapping[str, float]:
        """The keys of the layers in the local store, and when each was made, in seconds since the epoch."""

    def import_base(self, source: Source, *, key: str, labels: Mapping[str, str]) -> None:
        """Make the first layer."""

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


@runtime_checkable
class Store(Protocol):
    """The images that an engine keeps, as a cache takes and gives them. May raise EngineError, ToolMissing."""

    def image(self, key: str) -> Image:
        """The image that ends with the layer `key`. All its layers say their `diff_id`. Raises ImageError."""

    def take(self, image: Image, *, key: str) -> None:
        """Keep `image` as the one that ends with the layer `key`. Only layers that are not here yet are opened, and
        each is checked before it counts. Raises VerificationFailed, and what opening a layer raises."""
