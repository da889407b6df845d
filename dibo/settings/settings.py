"""What a command was asked for: options over environment variables over a project file over defaults.

Pure: argv and project files are parsed elsewhere, the environment is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from dibo.images.reference import ImageName, parse_repository
from dibo.settings.secrets import SecretSource, parse_secrets
from dibo.settings.values import (
    LAYER_COMPRESSIONS,
    MACHINES,
    architecture_and_variant,
    artefact_types,
    epoch_name,
    one_of,
    package_names,
    paths_of,
    signers,
    source_date_epoch,
    store_limit,
)
from dibo.settings.variables import ProjectVariable
from dibo.system.profiling.trace import PARTS
from dibo.system.resources import expanded
from dibo.units import parse_gib

DEFAULT_TYPE: Final = "qcow2"
DEFAULT_SIZE: Final = "2"
DEFAULT_SIZE_SET_BY: Final = "dibo's default"
SET_BY_PROJECT: Final = "the project file"
DEFAULT_STORE_LIMIT: Final = "20"
DEFAULT_BASE: Final = "ubuntu"
DEFAULT_NAME: Final = "image"
AUTO: Final = "auto"
BWRAP: Final = "bwrap"
CHROOT: Final = "chroot"
HOST: Final = "host"
NONE: Final = "none"
ISOLATIONS: Final = (BWRAP, CHROOT)
NETWORKS: Final = (HOST, NONE)
PROFILES: Final = ("cloud", "metal")
"""Of kits: which machines they are for."""
RESTARTS: Final = ("always", "on-failure", "never")
"""When the program of an image is started again, on a disk that a kit boots."""
HOST_HOOKS: Final = ("run", "sandbox", NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line; None where it says nothing."""

    flavours: tuple[str, ...] = ()
    architecture: str | None = None
    name: str | None = None
    types: str | None = None
    base: str | None = None
    release: str | None = None
    image_size: str | None = None
    filesystem: str | None = None
    flavours_path: tuple[str, ...] = ()
    converters_path: tuple[str, ...] = ()
    cache_dir: str | None = None
    mirror: str | None = None
    epoch: str | None = None
    lock: str | None = None
    engine: str | None = None
    isolation: str | None = None
    network: str | None = None
    host_hooks: str | None = None
    caches: tuple[str, ...] = ()
    caches_from: tuple[str, ...] = ()
    caches_to: tuple[str, ...] = ()
    cache_files: str | None = None
    """"1" or "0"."""
    layer_compression: str | None = None
    sign_key: str | None = None
    verify_keys: tuple[str, ...] = ()
    policy: str | None = None
    secrets: tuple[str, ...] = ()
    sha256: str | None = None
    keyring: str | None = None
    keyserver: str | None = None
    offline: bool = False
    refresh: bool = False
    with_base: bool = True
    base_flavour: str = "base"
    """The flavour that every stack begins with, unless `with_base` is false."""
    packages: tuple[str, ...] = ()
    """Names, of which one text may hold several, separated by commas."""
    verbose: bool = False
    loop: bool = False
    provenance: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything decided."""

    flavours: tuple[str, ...]
    architecture: str
    output: Path
    types: tuple[str, ...]
    types_named: bool
    """Whether the user said which; if not, the output's ending may."""
    base: str
    release: str | None
    base_image_file: str | None
    cloud_images: str | None
    image_size: int
    size_set_by: str
    filesystem: str
    filesystem_set_by: str | None
    """Which option or variable; None where neither did."""
    flavours_path: tuple[Path, ...]
    converters_path: tuple[Path, ...]
    cache: Path
    cache_named: bool
    """Whether the user said where it is."""
    mirror: str | None
    epoch: str
    engine: str
    isolation: str
    """What shuts steps off: bwrap or chroot."""
    network: str
    """Of steps: host or none."""
    host_hooks: str
    """What becomes of hooks on the host: run, sandbox or none."""
    source_date_epoch: int
    caches_from: tuple[ImageName, ...]
    """Repositories that layers are read from, in the order in which they are asked."""
    caches_to: tuple[ImageName, ...]
    """Repositories that layers are stored in."""
    cache_files: bool
    """Whether input files are stored in these, too."""
    layer_compression: str
    store_limit: int | None
    """Bytes that layers may take in the engine's store after a build."""
    sign_key: Path | None
    verify_keys: tuple[Path, ...]
    policy: Path | None
    secrets: tuple[SecretSource, ...]
    """Where values come from that steps see and nothing keeps."""
    sha256: str | None
    keyring: Path | None
    keyserver: str | None
    fingerprint: str | None
    offline: bool
    refresh: bool
    verbose: bool
    loop: bool
    """Whether disks are made on a loop device."""
    kit: str | None
    """For images without a kernel."""
    environment: Mapping[str, str] = field(repr=False)
    """The user's own variables, for those that flavours declare."""
    project_variables: tuple[ProjectVariable, ...] = field(default=(), compare=False)
    """Those of `environment` that a project file sets, or would set."""
    provenance: bool = False
    epoch_named: bool = False
    """Whether the user named the epoch; if not, packages are chosen by the state of their archive."""
    lock: Path | None = None
    """What says which packages are chosen, in place of their archive."""
    archive_keyring: Path | None = None
    """Keys of a Debian archive other than Debian's."""
    packages: tuple[str, ...] = ()
    """Of -p: installed after install.d of elements."""
    variant: str = ""
    """Of the architecture, such as `v2`: which image of several is taken."""
    container_build: tuple[tuple[str, str], ...] = ()
    """Variables of the element containerfile, with their values, where the base is a Containerfile."""

    @property
    def elements_path(self) -> tuple[Path, ...]:
        """Directories of elements of diskimage-builder."""
        return paths_of(self.environment.get("ELEMENTS_PATH", "").split(":"))

    @property
    def platform(self) -> str:
        """Which image of several is meant: `amd64`, `amd64/v2`."""
        return f"{self.architecture}/{self.variant}" if self.variant else self.architecture

    @property
    def converter_options(self) -> dict[str, str]:
        """Variables for converters."""
        names = [name for name in self.environment if name.startswith("DIBO_") and name != PARTS]
        return {name: self.environment[name] for name in names}


_NOTHING: Final = Options()


def decide(
    options: Options,
    environment: Mapping[str, str],
    *,
    now: datetime,
    machine: str,
    home: Path,
    project: Options = _NOTHING,
) -> Settings:
    """Options over variables over what a project file says over defaults. Raises UsageError for invalid values."""
    settings = _decide(options, environment, now=now, machine=machine, home=home, project=project)
    return replace(
        settings,
        packages=package_names(options.packages or project.packages),
        provenance=options.provenance or project.provenance,
        epoch_named=bool(options.epoch or environment.get("DIBO_EPOCH") or project.epoch),
        lock=Path(options.lock) if options.lock else None,
        archive_keyring=_file(environment.get("DIBO_ARCHIVE_KEYRING") or ""),
    )


def _decide(
    options: Options,
    environment: Mapping[str, str],
    *,
    now: datetime,
    machine: str,
    home: Path,
    project: Options,
) -> Settings:
    origins = _Origins(options=options, environment=environment, project=project)
    given = origins.given
    epoch = epoch_name(given("epoch", "DIBO_EPOCH", f"{now:%Y-%m}"))
    architecture, variant = origins.architecture(machine)
    verify_keys, policy = signers(options.policy, options.verify_keys, environment)
    return Settings(
        flavours=_flavours(options, project),
        architecture=architecture,
        variant=variant,
        output=Path(given("name", "IMAGE_NAME", DEFAULT_NAME)),
        types=origins.types,
        types_named=origins.types_named,
        base=origins.base,
        release=given("release", "RELEASE", "") or None,
        base_image_file=environment.get("BASE_IMAGE_FILE") or None,
        cloud_images=environment.get("CLOUD_IMAGES") or None,
        image_size=origins.size,
        size_set_by=_who_set_size(options, environment, project),
        filesystem=given("filesystem", "FS_TYPE", "ext4"),
        filesystem_set_by=_who_set_filesystem(options, environment, project),
        flavours_path=origins.paths("flavours_path", "DIBO_FLAVOURS_PATH", first="FLAVOURS_DIR"),
        converters_path=origins.paths("converters_path", "DIBO_CONVERTERS_PATH"),
        cache=origins.cache(home),
        cache_named=options.cache_dir is not None or bool(environment.get("IMG_PATH")),
        mirror=given("mirror", "DIBO_MIRROR", "") or None,
        epoch=epoch,
        engine=given("engine", "DIBO_ENGINE", AUTO),
        isolation=origins.word("isolation", "DIBO_ISOLATION", ISOLATIONS),
        network=origins.word("network", "DIBO_NETWORK", NETWORKS),
        host_hooks=origins.word("host_hooks", "DIBO_HOST_HOOKS", HOST_HOOKS),
        source_date_epoch=source_date_epoch(environment.get("SOURCE_DATE_EPOCH"), epoch, now),
        caches_from=origins.caches("caches_from", "DIBO_CACHE_FROM"),
        caches_to=origins.caches("caches_to", "DIBO_CACHE_TO"),
        cache_files=origins.word("cache_files", "DIBO_CACHE_FILES", ("0", "1")) == "1",
        layer_compression=origins.word("layer_compression", "DIBO_LAYER_COMPRESSION", LAYER_COMPRESSIONS),
        store_limit=store_limit(environment.get("DIBO_STORE_LIMIT") or DEFAULT_STORE_LIMIT),
        sign_key=_file(given("sign_key", "DIBO_SIGN_KEY", "")),
        verify_keys=verify_keys,
        policy=policy,
        secrets=_secrets(options, project),
        sha256=origins.sha256,
        keyring=_file(given("keyring", "DIBO_UBUNTU_KEYRING", "")),
        keyserver=given("keyserver", "DIBO_KEYSERVER", "") or None,
        fingerprint=environment.get("DIBO_UBUNTU_FINGERPRINT") or None,
        offline=options.offline or environment.get("DIB_OFFLINE", "0") not in ("", "0"),
        refresh=options.refresh,
        verbose=options.verbose,
        loop=options.loop,
        kit=environment.get("DIBO_KIT") or None,
        environment=dict(environment),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origins:
    """Where a value may be set: the first that says something counts. An empty variable says nothing."""

    options: Options
    environment: Mapping[str, str]
    project: Options

    def given(self, option: str, variable: str, default: str) -> str:
        value, of_file = getattr(self.options, option), getattr(self.project, option)
        if value is None:
            value = self.environment.get(variable) or of_file
        return default if value is None else str(value)

    def set_by(self, option: str, variable: str, flag: str) -> str:
        """What a user would look at who wonders about the value: the `flag` of the option where it is a default."""
        if getattr(self.options, option) is None and self.environment.get(variable):
            return variable
        from_project = getattr(self.options, option) is None and getattr(self.project, option) is not None
        return SET_BY_PROJECT if from_project else flag

    def word(self, option: str, variable: str, words: Sequence[str]) -> str:
        """One of some words, the first unless something else is said. Raises UsageError."""
        name = self.set_by(option, variable, f"--{option.replace('_', '-')}")
        return one_of(name, self.given(option, variable, words[0]), words)

    def architecture(self, machine: str) -> tuple[str, str]:
        """Debian's word, and the variant. Raises UsageError."""
        name = self.given("architecture", "ARCH", MACHINES.get(machine, machine))
        return architecture_and_variant(name, set_by=self.set_by("architecture", "ARCH", "-a"))

    @property
    def types(self) -> tuple[str, ...]:
        text = self.given("types", "IMAGE_TYPE", DEFAULT_TYPE)
        return artefact_types(text, set_by=self.set_by("types", "IMAGE_TYPE", "-t"))

    @property
    def base(self) -> str:
        return self.given("base", "DIBO_BASE", DEFAULT_BASE)

    @property
    def sha256(self) -> str | None:
        """Of the base; that of a project file is for no other base than its own."""
        if self.options.sha256 is not None or self.base != self.project.base:
            return self.options.sha256
        return self.project.sha256

    @property
    def size(self) -> int:
        default = self.environment.get("DIB_IMAGE_SIZE") or DEFAULT_SIZE
        text = self.given("image_size", "IMAGE_SIZE", default)
        return parse_gib(text, name=_who_set_size(self.options, self.environment, self.project))

    @property
    def types_named(self) -> bool:
        """Types of a project file are for the name that it gives: `-o web.raw` asks for another one."""
        if self.options.types is not None or self.environment.get("IMAGE_TYPE"):
            return True
        renamed = self.options.name is not None or self.environment.get("IMAGE_NAME")
        return self.project.types is not None and not renamed

    def cache(self, home: Path) -> Path:
        return expanded(self.given("cache_dir", "IMG_PATH", str(home / ".cache" / "dibo"))).absolute()

    def caches(self, option: str, variable: str) -> tuple[ImageName, ...]:
        """Those for both directions, and those for one. Raises UsageError."""
        both = self._repositories("caches", "DIBO_CACHE")
        return tuple(dict.fromkeys(both + self._repositories(option, variable)))

    def _repositories(self, option: str, variable: str) -> tuple[ImageName, ...]:
        words = getattr(self.options, option) or [
            word.strip() for word in self.environment.get(variable, "").split(",") if word.strip()
        ]
        return tuple(parse_repository(word) for word in words or getattr(self.project, option) if word)

    def paths(self, option: str, variable: str, *, first: str = "") -> tuple[Path, ...]:
        """All of them, in the order in which they are searched; `first` is a variable with one directory."""
        named = (*getattr(self.options, option), self.environment.get(first, ""))
        return paths_of(
            (*named, *self.environment.get(variable, "").split(":"), *getattr(self.project, option))
        )


def _file(name: str) -> Path | None:
    return expanded(name) if name else None


def _flavours(options: Options, project: Options) -> tuple[str, ...]:
    """None where none was named: then there is no stack."""
    source = options if options.flavours else project
    with_base = options.with_base and source.with_base
    first = (source.base_flavour,) if with_base and source.flavours else ()
    return first + source.flavours


def _secrets(options: Options, project: Options) -> tuple[SecretSource, ...]:
    """Those of options in place of those of the project file with the same name."""
    sources = {source.name: source for source in parse_secrets(project.secrets)}
    return tuple((sources | {source.name: source for source in parse_secrets(options.secrets)}).values())


def _who_set_filesystem(options: Options, environment: Mapping[str, str], project: Options) -> str | None:
    if options.filesystem is not None:
        return "--fs-type"
    if environment.get("FS_TYPE"):
        return "FS_TYPE"
    return None if project.filesystem is None else SET_BY_PROJECT


def _who_set_size(options: Options, environment: Mapping[str, str], project: Options) -> str:
    if options.image_size is not None:
        return "--image-size"
    if environment.get("IMAGE_SIZE"):
        return "IMAGE_SIZE"
    if project.image_size is not None:
        return SET_BY_PROJECT
    return "DIB_IMAGE_SIZE" if environment.get("DIB_IMAGE_SIZE") else DEFAULT_SIZE_SET_BY
