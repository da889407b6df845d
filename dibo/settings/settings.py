"""What a command was asked for: options over environment variables over defaults.

Pure: argv is parsed elsewhere, the environment is handed in. The table of variables is what `-h` and the reference
print, and a test holds them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from dibo.errors import UsageError
from dibo.images.reference import ImageName, parse_repository
from dibo.settings.secrets import SecretSource, parse_secrets
from dibo.settings.values import (
    architecture_and_variant,
    artefact_types,
    compression,
    epoch_name,
    one_of,
    source_date_epoch,
    store_limit,
)
from dibo.units import parse_gib

VARIABLES: Final = {
    "ARCH": "architecture: amd64, arm64, armhf, i386, riscv64 (this machine's)",
    "RELEASE": "release of the base (the newest that dibo knows)",
    "BASE_IMAGE_FILE": "name of the Ubuntu root tarball on the server",
    "CLOUD_IMAGES": "server of Ubuntu's cloud images",
    "FS_TYPE": "root file system: ext4, ext3, ext2 (ext4)",
    "IMAGE_TYPE": "artefacts, separated by commas (the ending of IMAGE_NAME, or qcow2)",
    "IMAGE_NAME": "name of the artefact (image)",
    "IMAGE_SIZE": "size of the disk in GB, that is 2^30 bytes; fractions allowed (2)",
    "IMG_PATH": "directory for downloads and runs (~/.cache/dibo)",
    "FLAVOURS_DIR": "directory of flavours, searched before the built-in ones",
    "DIBO_FLAVOURS_PATH": "more such directories, separated by colons",
    "DIBO_CONVERTERS_PATH": "directories of converters, separated by colons",
    "DIBO_BASE": "root to start from: ubuntu, debian, an image, a tarball (ubuntu)",
    "DIBO_ENGINE": "engine: buildah, docker, or auto for the first that works (auto)",
    "DIBO_ISOLATION": "isolation of steps: bwrap; or chroot, which hides nothing of this machine (bwrap)",
    "DIBO_NETWORK": "network of steps: host, or none (host)",
    "DIBO_HOST_HOOKS": "hooks on the host: run, run in a sandbox, or refuse flavours with any: none (run)",
    "DIBO_KIT": "kit for images without a kernel, as `dibo convert --kit` takes it",
    "DIBO_MIRROR": "Debian mirror to install from",
    "DIBO_UBUNTU_KEYRING": "keyring with the key of the Ubuntu images",
    "DIBO_UBUNTU_FINGERPRINT": "fingerprint of that key",
    "DIBO_KEYSERVER": "keyserver that has this key, or none (https://keyserver.ubuntu.com)",
    "DIBO_EPOCH": "name of the state of package archives that layers are built from (this month)",
    "DIBO_CACHE": "repository HOST/PATH to read layers from and store them in",
    "DIBO_CACHE_FROM": "repositories to only read layers from, separated by commas",
    "DIBO_CACHE_TO": "repositories to only store layers in, separated by commas",
    "DIBO_STORE_LIMIT": "largest size in GB of layers in the engine's store after a build; 0 means no limit (20)",
    "DIBO_LAYER_COMPRESSION": "compression of stored layers: zstd, gzip, none (zstd)",
    "DIBO_SIGN_KEY": "private key that signs stored and pushed images",
    "DIBO_SIGN_PASSWORD": "password of this key, if it is encrypted; or COSIGN_PASSWORD",
    "DIBO_VERIFY_KEYS": "accept only caches and images signed by these public keys, separated by colons",
    "DIBO_POLICY": "file that lists the accepted keys for each repository, instead of DIBO_VERIFY_KEYS",
    "DIBO_PLAIN_HTTP": "registries that speak plain HTTP, besides those on loopback: HOST[:PORT], separated by commas",
    "DIBO_QCOW2_COMPRESSION": "zlib, zstd or none (zlib)",
    "SOURCE_DATE_EPOCH": "latest time in artefacts; later times become this one (the start of the epoch)",
}

RAMDISK_VARIABLES: Final = {
    "KERNEL_VERSION": "version of the kernel and its modules (the newest in the root)",
    "MODULE_ROOT": "take kernel, modules and firmware from this directory, not from the root; / is this machine",
    "BUSYBOX": "a busybox of this machine, instead of the root's",
    "IMAGE_NAME": "the initramfs (ramdisk)",
    "DIBO_RAMDISK_COMPRESSION": "zstd, gzip, xz, none; or with a level, zstd:19 (zstd:9)",
}
"""Those that ramdisk-image-create has besides, or means differently."""
DEFAULT_TYPE: Final = "qcow2"
DEFAULT_SIZE: Final = "2"
DEFAULT_SIZE_SET_BY: Final = "dibo's default"
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
_MACHINES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "armhf",
    "i386": "i386",
    "i686": "i386",
    "riscv64": "riscv64",
}


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
    engine: str | None = None
    isolation: str | None = None
    network: str | None = None
    host_hooks: str | None = None
    caches: tuple[str, ...] = ()
    caches_from: tuple[str, ...] = ()
    caches_to: tuple[str, ...] = ()
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
    verbose: bool = False
    loop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything decided."""

    flavours: tuple[str, ...]
    architecture: str
    output: Path
    types: tuple[str, ...]
    types_named: bool
    """Whether the user said which; if not, the ending of the output's name may."""
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
    """Whether the user said where the cache is."""
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
    variant: str = ""
    """Of the architecture, such as `v2`: which image of several is taken."""

    @property
    def platform(self) -> str:
        """Which image of several is meant: `amd64`, `amd64/v2`."""
        return f"{self.architecture}/{self.variant}" if self.variant else self.architecture

    @property
    def converter_options(self) -> dict[str, str]:
        """Variables for converters."""
        return {name: value for name, value in self.environment.items() if name.startswith("DIBO_")}


def decide(
    options: Options, environment: Mapping[str, str], *, now: datetime, machine: str, home: Path
) -> Settings:
    """Options over variables over defaults. Raises UsageError for invalid values."""

    def given(option: str | None, variable: str, default: str) -> str:
        return option if option is not None else environment.get(variable) or default

    epoch = epoch_name(given(options.epoch, "DIBO_EPOCH", f"{now:%Y-%m}"))
    architecture, variant = architecture_and_variant(
        given(options.architecture, "ARCH", _MACHINES.get(machine, machine))
    )
    both = _repositories(options.caches, environment, "DIBO_CACHE")
    cache = Path(given(options.cache_dir, "IMG_PATH", str(home / ".cache" / "dibo"))).expanduser()
    verify_keys, policy = _signers(options, environment)
    return Settings(
        flavours=_flavours(options),
        architecture=architecture,
        variant=variant,
        output=Path(given(options.name, "IMAGE_NAME", DEFAULT_NAME)),
        types=artefact_types(given(options.types, "IMAGE_TYPE", DEFAULT_TYPE)),
        types_named=options.types is not None or bool(environment.get("IMAGE_TYPE")),
        base=given(options.base, "DIBO_BASE", DEFAULT_BASE),
        release=given(options.release, "RELEASE", "") or None,
        base_image_file=environment.get("BASE_IMAGE_FILE") or None,
        cloud_images=environment.get("CLOUD_IMAGES") or None,
        image_size=parse_gib(given(options.image_size, "IMAGE_SIZE", DEFAULT_SIZE)),
        size_set_by=_who_set_size(options, environment),
        filesystem=given(options.filesystem, "FS_TYPE", "ext4"),
        filesystem_set_by=_who_set_filesystem(options, environment),
        flavours_path=_flavours_path(options, environment),
        converters_path=_paths(options.converters_path, environment.get("DIBO_CONVERTERS_PATH", "")),
        cache=cache.absolute(),
        cache_named=options.cache_dir is not None or bool(environment.get("IMG_PATH")),
        mirror=given(options.mirror, "DIBO_MIRROR", "") or None,
        epoch=epoch,
        engine=given(options.engine, "DIBO_ENGINE", AUTO),
        isolation=one_of("--isolation", given(options.isolation, "DIBO_ISOLATION", BWRAP), ISOLATIONS),
        network=one_of("--network", given(options.network, "DIBO_NETWORK", HOST), NETWORKS),
        host_hooks=one_of("--host-hooks", given(options.host_hooks, "DIBO_HOST_HOOKS", "run"), HOST_HOOKS),
        source_date_epoch=source_date_epoch(environment.get("SOURCE_DATE_EPOCH"), epoch, now),
        caches_from=_once(both + _repositories(options.caches_from, environment, "DIBO_CACHE_FROM")),
        caches_to=_once(both + _repositories(options.caches_to, environment, "DIBO_CACHE_TO")),
        layer_compression=compression(given(options.layer_compression, "DIBO_LAYER_COMPRESSION", "zstd")),
        store_limit=store_limit(environment.get("DIBO_STORE_LIMIT") or DEFAULT_STORE_LIMIT),
        sign_key=_file(given(options.sign_key, "DIBO_SIGN_KEY", "")),
        verify_keys=verify_keys,
        policy=policy,
        secrets=parse_secrets(options.secrets),
        sha256=options.sha256,
        keyring=_file(given(options.keyring, "DIBO_UBUNTU_KEYRING", "")),
        keyserver=given(options.keyserver, "DIBO_KEYSERVER", "") or None,
        fingerprint=environment.get("DIBO_UBUNTU_FINGERPRINT") or None,
        offline=options.offline,
        refresh=options.refresh,
        verbose=options.verbose,
        loop=options.loop,
        kit=environment.get("DIBO_KIT") or None,
        environment=dict(environment),
    )


def _file(name: str) -> Path | None:
    return Path(name).expanduser() if name else None


def _signers(options: Options, environment: Mapping[str, str]) -> tuple[tuple[Path, ...], Path | None]:
    """The public keys that count, or the policy that says which. An option of either kind overrides the variables of
    both. Raises UsageError where both are given."""
    policy: str | None = options.policy
    if options.policy is None and not options.verify_keys:
        policy = environment.get("DIBO_POLICY") or None
        keys = _paths((), environment.get("DIBO_VERIFY_KEYS", ""))
    else:
        keys = _paths(options.verify_keys, "")
    if keys and policy is not None:
        raise UsageError(
            "keys to verify with and a policy are both given",
            hint="name the keys in the policy, or leave the policy out",
        )
    return keys, Path(policy).expanduser() if policy else None


def _flavours(options: Options) -> tuple[str, ...]:
    """None where none was named: then there is no stack."""
    first = (options.base_flavour,) if options.with_base and options.flavours else ()
    return first + options.flavours


def _who_set_filesystem(options: Options, environment: Mapping[str, str]) -> str | None:
    if options.filesystem is not None:
        return "--fs-type"
    return "FS_TYPE" if environment.get("FS_TYPE") else None


def _who_set_size(options: Options, environment: Mapping[str, str]) -> str:
    if options.image_size is not None:
        return "--image-size"
    return "IMAGE_SIZE" if environment.get("IMAGE_SIZE") else DEFAULT_SIZE_SET_BY


def enough_hint(set_by: str, size: float) -> str:
    """For an image that is too small: what set its size, and that `size`, in GiB, is enough."""
    if set_by in ("--image-size", "IMAGE_SIZE"):
        return f"{set_by}{'=' if set_by == 'IMAGE_SIZE' else ' '}{size:g} is enough"
    return f"{set_by} set the size; --image-size {size:g} (or IMAGE_SIZE={size:g}) is enough"


def _repositories(
    named: Sequence[str], environment: Mapping[str, str], variable: str
) -> tuple[ImageName, ...]:
    words = named or [word.strip() for word in environment.get(variable, "").split(",")]
    return tuple(parse_repository(word) for word in words if word)


def _once(names: tuple[ImageName, ...]) -> tuple[ImageName, ...]:
    return tuple(dict.fromkeys(names))


def _flavours_path(options: Options, environment: Mapping[str, str]) -> tuple[Path, ...]:
    own = environment.get("FLAVOURS_DIR", "")
    first = (*options.flavours_path, *([own] if own else []))
    return _paths(first, environment.get("DIBO_FLAVOURS_PATH", ""))


def _paths(named: Sequence[str], variable: str) -> tuple[Path, ...]:
    return tuple(Path(word) for word in (*named, *variable.split(":")) if word)
