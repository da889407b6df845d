"""A project file, read and checked: images, each complete, with all that it inherits.

Paths are absolute: they are relative to the file in which they are written. Texts are those of the command line's
options, which check them again when they become `Settings`; None and empty tuples stand for what the file does not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dibo.layout.parse import Statement
from dibo.settings.variables import ProjectVariable


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where something is written; `line` counts from 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestStep:
    """A step of a test: `kind` and `value` are those that dibo.machines.steps.parse_step takes."""

    __test__ = False  # for pytest
    kind: str
    value: str
    position: Position = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootOptions:
    """How an image is booted: the options of `dibo boot` of these names."""

    firmware: str | None = None
    machine: str | None = None
    cpus: int | None = None
    memory: int | None = None
    """MiB."""
    ports: tuple[str, ...] = ()
    network: str | None = None
    append: str | None = None
    user: str | None = None
    timeout: int | None = None
    """Seconds, of all steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectTest:
    """One boot of an image, and what is expected of it."""

    name: str
    steps: tuple[TestStep, ...]
    boot: BootOptions
    """Those of the image, overridden by those of the test."""
    position: Position = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where artefacts go: files into `directory`; from there also to `registry`, HOST/PATH[:TAG], unless it is None."""

    directory: Path
    registry: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RamdiskOptions:
    """Of `ramdisk-image-create`."""

    kernel: str | None = None
    """Version of the kernel."""
    compression: str | None = None
    microcode: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionOptions:
    """Of `dibo convert`."""

    boot_loader: str | None = None
    bare: bool = False
    prepare: bool = False
    checksum: bool = False
    own_init: bool | None = None
    """With a kit: True for the image's own init, False for the program it names, None for what dibo decides."""
    restart: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectImage:
    """One image, or one of those that a matrix makes. It is built from flavours (a disk, or with `ramdisk` a ramdisk),
    unless `convert` names an existing container image."""

    name: str
    position: Position = field(compare=False)
    entry: str = ""
    """The key under `images`: the name too, except in a matrix, whose images share it."""
    axes: tuple[tuple[str, str], ...] = ()
    """Of a matrix: which value of each axis this image has, such as ("release", "trixie")."""
    flavours: tuple[str, ...] = ()
    convert: str | None = None
    """Reference to the container image to convert."""
    base: str | None = None
    release: str | None = None
    architecture: str | None = None
    """Debian's word, perhaps with a variant; None for that of this machine."""
    types: tuple[str, ...] = ()
    layout: Path | Statement | None = None
    """A layout.yaml, or what the project file has in its place."""
    packages: tuple[str, ...] = ()
    """Installed after install.d of elements of diskimage-builder."""
    size: str | None = None
    """GiB, fractions allowed."""
    filesystem: str | None = None
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables that flavours declare, and others that dibo knows; sorted."""
    variable_places: tuple[ProjectVariable, ...] = field(default=(), compare=False)
    """Where these are set."""
    secrets: tuple[str, ...] = ()
    """Names of the secrets that the image needs."""
    secret_sources: tuple[str, ...] = ()
    """NAME=FILE or NAME=env:VARIABLE, for those whose source the file says; a value never stands in a project file."""
    kit: str | None = None
    conversion: ConversionOptions = field(default_factory=ConversionOptions)
    ramdisk: bool = False
    ramdisk_options: RamdiskOptions = field(default_factory=RamdiskOptions)
    tests: tuple[ProjectTest, ...] = ()
    boot: BootOptions = field(default_factory=BootOptions)
    destination: Destination
    with_base: bool = True
    """Whether the stack begins with the flavour `base` (of a ramdisk: `ramdisk-base`)."""
    flavours_path: tuple[Path, ...] = ()
    converters_path: tuple[Path, ...] = ()
    epoch: str | None = None
    mirror: str | None = None
    provenance: bool = False
    sha256: str | None = None
    """Of a base that is a file or a URL."""
    network: str | None = None
    host_hooks: str | None = None
    caches: tuple[str, ...] = ()
    caches_from: tuple[str, ...] = ()
    caches_to: tuple[str, ...] = ()
    cache_files: bool = False

    @property
    def output(self) -> Path:
        """Of artefacts, without the suffix of a type; of a ramdisk, the initramfs without its suffix."""
        return self.destination.directory / self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """All that a project file says, with the files that it includes."""

    file: Path
    images: tuple[ProjectImage, ...]
    """In the order of the file, with the images of a matrix one after the other."""
    includes: tuple[Path, ...] = ()
    """Every other file that was read."""

    @property
    def directory(self) -> Path:
        return self.file.parent

    @property
    def groups(self) -> Mapping[str, tuple[ProjectImage, ...]]:
        """The images by the key under `images` that they come from, in the order of the file."""
        groups: dict[str, list[ProjectImage]] = {}
        for image in self.images:
            groups.setdefault(image.entry, []).append(image)
        return {name: tuple(images) for name, images in groups.items()}
