"""A report on an image, as values: what the page and the JSON document are written from.

Sizes are bytes, times seconds. Layers are meant by their place in `ReportedImage.layers`, packages by name. Texts
are as the image has them, controls included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dibo.contents.inventory import (
    KernelRecord,
    PartitionRecord,
    Totals,
    UserRecord,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeNode:
    """A part of the space: `size` and `files` are those of all below it. What `parts` do not have is in none of
    them."""

    name: str
    size: int
    files: int
    parts: tuple[SizeNode, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedLayer:
    """A layer with what it brought that is still there, the lowest first. `stored` is 0 where it is not known;
    `origin`, `registry` and `took` are of the last build here: empty and None where nothing is known of one."""

    number: int
    title: str
    key: str
    flavour: str
    local: bool
    stored: int
    size: int
    files: int
    packages: int
    seconds: float | None = None
    """How long building it took, wherever that was."""
    hooks: tuple[tuple[str, float], ...] = ()
    origin: str = ""
    registry: str = ""
    took: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedFlavour:
    """`requested`: the user named it, and it is not there for another one alone; `built_in`: it comes with dibo; None
    without a manifest. Sizes are of what its layers brought; None where layers of files are not known."""

    name: str
    requested: bool | None
    built_in: bool | None
    size: int | None
    files: int | None
    packages: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSummary:
    """The last build here of this image."""

    seconds: float
    """Of all of its steps."""
    saved: float
    """What it was shorter for layers that it did not build."""
    unknown: int
    """Layers of which it is not known how long building them takes."""
    steps: tuple[tuple[str, float], ...]
    """What was done besides layers."""
    ended: float
    """In seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedPackage:
    """`size` and `files` are of the files that it owns; where none of them is known, `size` is its own account."""

    name: str
    version: str
    architecture: str
    manager: str
    source: str
    summary: str
    size: int
    files: int
    layer: int
    flavour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedUnit:
    """A unit that the machine starts by itself, and what pulls it in. `on_demand`: a unit that another one of the list
    starts, such as the service of a socket."""

    name: str
    state: str
    """As dibo.contents.inventory.Unit has it: `enabled` by a link of the administrator, `static` without."""
    description: str
    command: str
    wanted_by: tuple[str, ...]
    on_demand: str
    package: str
    layer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningPort:
    """What a unit's files say it listens on. `port` is 0 for what is no number; `starts`: whether it does so at boot;
    `said_by`: what says so, a path or words; `condition`: what it depends on."""

    unit: str
    address: str
    port: int
    protocol: str
    said_by: str
    starts: bool
    condition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivilegedFile:
    """A file that gives rights to its users: set-user-id or set-group-id (inode(7)), capabilities(7)."""

    path: bytes
    mode: int
    owner: str
    group: str
    capabilities: tuple[str, ...]
    size: int
    package: str
    layer: int
    flavour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstBootHook:
    """What runs at the first boot alone: a hook of a flavour, or a part of cloud-init."""

    name: str
    path: bytes
    flavour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedFile:
    """A name in the image. `kind` as in dibo.tree.node.TYPE_NAMES; the size of a hard link counts at its first name."""

    path: bytes
    kind: str
    mode: int
    owner: str
    group: str
    size: int
    layer: int
    package: str
    target: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeViews:
    """The same space, divided in four ways; those that an image says nothing of are None."""

    directories: SizeNode
    packages: SizeNode | None
    flavours: SizeNode | None
    layers: SizeNode | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedImage:
    """`packages` is None where there is no database that dibo reads."""

    name: str
    form: str
    format: str
    architecture: str
    system: str
    digest: str
    totals: Totals
    views: SizeViews
    files: tuple[ReportedFile, ...] = field(repr=False)
    """By path, its parts sorted."""
    layers: tuple[ReportedLayer, ...] = ()
    layers_of_files: bool = False
    """Whether it is known which layer brought a file."""
    flavours: tuple[ReportedFlavour, ...] = ()
    build: BuildSummary | None = None
    packages: tuple[ReportedPackage, ...] | None = None
    units: tuple[StartedUnit, ...] = ()
    ports: tuple[ListeningPort, ...] = ()
    first_boot: tuple[FirstBootHook, ...] = ()
    kernels: tuple[KernelRecord, ...] = ()
    cmdline: tuple[str, ...] | None = None
    users: tuple[UserRecord, ...] = ()
    privileged: tuple[PrivilegedFile, ...] = ()
    partitions: tuple[PartitionRecord, ...] = ()
    command: tuple[str, ...] = ()
    """What a container of it runs: entry point and arguments."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
