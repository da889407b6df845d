"""What the functions of `dibo.api` take and give: options and results.

Options have the meaning and the defaults of the commands' options of the same name (docs/reference/cli.md); None, or an
empty tuple, leaves the choice to the environment that is given, and then to the default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from dibo.errors import DiboError

StrPath = str | PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How layers are built. `environment` stands for the variables of the process: those of docs/reference/cli.md,
    and the variables that flavours declare. With the default no variable of the process has an effect on the layers;
    pass `os.environ` for what a command would do."""

    base: str | None = None
    release: str | None = None
    architecture: str | None = None
    """In Debian's words: `amd64`, `arm64`."""
    with_base: bool = True
    """False leaves the flavour `base` out: --no-base."""
    packages: tuple[str, ...] = ()
    """Installed after install.d of elements of diskimage-builder: -p."""
    flavours_path: tuple[StrPath, ...] = ()
    cache_dir: StrPath | None = None
    """Downloads, keys and logs (~/.cache/dibo)."""
    engine: str | None = None
    """`buildah`, `docker` or `auto`."""
    isolation: str | None = None
    network: str | None = None
    host_hooks: str | None = None
    mirror: str | None = None
    epoch: str | None = None
    lock: StrPath | None = None
    """A file that `dibo lock` wrote, whose packages are installed."""
    sha256: str | None = None
    keyring: StrPath | None = None
    keyserver: str | None = None
    offline: bool = False
    refresh: bool = False
    cache: tuple[str, ...] = ()
    """Repositories of registries, HOST/PATH, that layers are read from and stored in."""
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    cache_files: bool = False
    """Whether files of packages, and fetched files, are stored where layers are, too."""
    layer_compression: str | None = None
    sign_key: StrPath | None = None
    verify_keys: tuple[StrPath, ...] = ()
    policy: StrPath | None = None
    secrets: tuple[str, ...] = ()
    """Each `NAME=FILE` or `NAME=env:VARIABLE`."""
    tag: str | None = None
    """A name for the image in the engine's store, such as `localhost/web`."""
    push: str | None = None
    """Where the image is pushed: HOST/PATH:TAG."""
    include_local: bool = False
    """Whether layers with data of this user or machine are pushed, too."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskOptions:
    """Which artefacts are made, and what their disk is like."""

    types: Sequence[str] = ("qcow2",)
    """Names of converters, each one an artefact."""
    size: float | None = None
    """In GiB; of `convert`, what the root needs where it is None."""
    filesystem: str | None = None
    """Of the root: `ext4`, …"""
    layout: StrPath | None = None
    """A file: docs/reference/layout.md."""
    loop: bool = False
    """Make the disk on a loop device; as root."""
    provenance: bool = False
    """Write NAME.provenance.json beside the artefacts, signed if there is a key: docs/reference/provenance.md."""
    converters_path: tuple[StrPath, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """How an image is read. `environment` as in BuildOptions."""

    architecture: str | None = None
    """Which image of several: `amd64`, `amd64/v2` (this machine's)."""
    bare: bool = False
    """Only the root file system: no partitions, no boot loader."""
    boot: str = "auto"
    """The boot loader of an image that dibo did not prepare: auto, grub, systemd-boot, uki or none."""
    prepare: bool = False
    """Whether an engine may run programs of the image to make boot files."""
    engine: str | None = None
    """For `prepare`."""
    checksums: bool = False
    """Write NAME.TYPE.sha256 beside each artefact."""
    max_entries: int | None = None
    max_ratio: int | None = None
    max_size: float | None = None
    """In GiB: a root that unpacks to more is refused."""
    verify_keys: tuple[StrPath, ...] = ()
    policy: StrPath | None = None
    cache_dir: StrPath | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """One image of several that are converted together, with what `convert` takes for one."""

    image: str
    output: StrPath
    options: ConvertOptions = field(default_factory=ConvertOptions)
    disk: DiskOptions = field(default_factory=DiskOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionResult:
    """What became of one image of several: its artefacts, or the error that it ended with."""

    conversion: Conversion
    artefacts: tuple[Path, ...]
    error: DiboError | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """One layer of a plan. `ingredients` are what its key is computed from (docs/explanation/caching.md)."""

    key: str
    """A sha256 in hex."""
    title: str
    """The flavour, the phase and the hooks."""
    held: bool
    """Whether it exists and need not be built."""
    cache: str | None
    """The repository that has it; None where only the engine's store does, or none."""
    refused: str | None
    """Why one that exists is not used."""
    local: bool
    """Whether it contains data of this user or machine, and is never uploaded."""
    epoch: str | None
    """Of what it fetched that no ingredient names; None where there is nothing of that."""
    ingredients: Mapping[str, Any] = field(repr=False)
    dated: str | None = None
    """Why its key has an epoch: what may fetch; None where it has none."""
    age: int | None = None
    """How many days ago it was made, if the engine's store has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """The layers of a build, the lowest first; each flavour of the stack, in order."""

    stack: tuple[str, ...]
    architecture: str
    epoch: str
    layers: tuple[LayerPlan, ...]
    warnings: tuple[str, ...]

    @property
    def key(self) -> str:
        """The key of the highest layer: what the image is known by."""
        return self.layers[-1].key

    @property
    def to_build(self) -> tuple[LayerPlan, ...]:
        """The layers that do not exist yet."""
        return tuple(layer for layer in self.layers if not layer.held)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What a build made. `image` is the image's name in the engine's store, or, of one that was pushed, its name and
    digest in the registry; None where artefacts were made. `artefacts` are in the order of their types."""

    key: str
    """Of the image: that of its highest layer."""
    image: str | None = None
    artefacts: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOptions:
    """The machine that `boot` starts, and how it is entered. `environment` as in BuildOptions."""

    architecture: str | None = None
    """That of the image, if None."""
    firmware: str = "auto"
    machine: str | None = None
    """What QEMU emulates: `q35`, `microvm`, `virt`, …"""
    accel: str = "auto"
    cpus: int | None = None
    memory: int | None = None
    """MiB."""
    size: float | None = None
    """In GiB; of the disk, in this boot."""
    ports: tuple[str, ...] = ()
    """Each `[[ADDRESS:]HERE:]GUEST[/udp]`."""
    network: str = "user"
    write: bool = False
    """Whether the machine's changes are kept in the image."""
    name: str | None = None
    kernel: StrPath | None = None
    initrd: StrPath | None = None
    append: str = ""
    kit: str | None = None
    seed: bool = True
    """Whether the machine is told who may log in."""
    user: str | None = None
    ssh_keys: tuple[StrPath, ...] = ()
    """Public keys that may log in beside that of this boot."""
    console: StrPath | None = None
    timeout: float | None = None
    """Seconds."""
    cache_dir: StrPath | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
