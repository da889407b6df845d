"""What an image holds, as frozen values: what `dibo inspect` prints, `dibo diff` compares and `dibo report` shows.

Paths are bytes without the first slash (`etc/motd`), since an image may have names that are no text; `shown` makes
text of them. Sizes are bytes, times nanoseconds since 1970. Texts are as the image has them, controls included: what
prints them escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

NO_LAYER: Final = -1
"""Of files in images that have no layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One name in an image. There are a hundred thousand: what files have in common is one object."""

    kind: str
    """As in dibo.tree.node.TYPE_NAMES: `file`, `directory`, `symlink`, `character device`, …"""
    mode: int
    """Permissions with set-id bits: the lowest 12 bits of st_mode."""
    uid: int
    gid: int
    size: int
    """Of files and symlinks; 0 of all else."""
    mtime: int
    target: bytes = b""
    """Of symlinks."""
    device: tuple[int, int] = (0, 0)
    """Major and minor, of device nodes."""
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    """Full names, and values as getxattr(2) gives them."""
    first_name: bytes = b""
    """Of a further name of an inode (a hard link): the name that comes first. Its size counts there alone."""
    layer: int = NO_LAYER
    """Index in `Inventory.layers` of the layer that brought it; of a directory, the first that has it."""
    package: str = ""
    """The package that it belongs to; empty for none, and where no database says so."""
    digest: str = ""
    """The sha256 of a file's bytes, hexadecimal, where reading told it; `OpenedContents.digest` reads others."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class InstalledPackage:
    name: str
    architecture: str
    version: str
    manager: str
    """`dpkg` or `apk`."""
    size: int = 0
    """Bytes that it takes by its own account; 0 where it does not say."""
    source: str = ""
    """The source package, where that has another name."""
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit of systemd. `state` is one of `enabled`, `disabled`, `static`, `masked`, `alias`, `indirect`, as systemctl
    list-unit-files has them, told by links alone."""

    name: str
    path: bytes
    """Of its file, or of the link that stands for it."""
    state: str
    preset: str = ""
    """`enabled` or `disabled`, by the first line of the presets that matches; empty where none does."""
    description: str = ""
    wanted_by: tuple[str, ...] = ()
    """Units that start it, by directories that are named after them."""
    listen: tuple[str, ...] = ()
    """Of sockets: addresses, as their Listen lines have them."""
    start: str = ""
    """Of services: the first ExecStart."""
    package: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRecord:
    name: str
    uid: int
    gid: int
    comment: str
    home: str
    shell: str
    password: str
    """`none` (locked, no login by one), `set`, `empty` (a login without one), `unknown`: never the hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecord:
    name: str
    gid: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRecord:
    """`arguments` are what the boot loader gives it; None where the image does not say."""

    version: str
    path: str
    ramdisks: tuple[str, ...]
    arguments: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord:
    """One layer, the lowest first. `key`, `flavour` and `title` are of layers that dibo built; else empty."""

    digest: str
    diff_id: str
    size: int
    """Bytes as stored; 0 where that is not known."""
    key: str = ""
    flavour: str = ""
    title: str = ""
    """What made it: the step of dibo, else the line of the image's history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRecord:
    """Of a disk. `mounted` is the path of its files in the inventory, empty where they are not in it; `trouble` says
    why."""

    number: int
    start: int
    size: int
    filesystem: str
    label: str
    uuid: str
    mounted: str
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Hard links count once."""

    entries: int
    files: int
    directories: int
    symlinks: int
    bytes: int
    """Of all files, with their holes."""
    stored: int
    """What the image takes as it is: of its layers, or of its file; 0 where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """`form` is `image`, `disk`, `tar`, `directory` or `ramdisk`; `format` what it is written in (`qcow2`, `oci`).
    `packages` is None where there is no database that dibo reads."""

    name: str
    form: str
    format: str
    architecture: str
    """Debian's word; empty where nothing says."""
    digest: str = ""
    """Of a container image: that of its config."""
    files: Mapping[bytes, FileRecord] = field(repr=False)
    """By path, in the order of the paths' parts, without the root itself."""
    root: FileRecord = FileRecord(kind="directory", mode=0o755, uid=0, gid=0, size=0, mtime=0)
    """The root directory."""
    totals: Totals
    packages: tuple[InstalledPackage, ...] | None = None
    units: tuple[Unit, ...] = ()
    users: tuple[UserRecord, ...] = ()
    groups: tuple[GroupRecord, ...] = ()
    kernels: tuple[KernelRecord, ...] = ()
    """The newest last."""
    cmdline: tuple[str, ...] | None = None
    """The arguments of the newest kernel; None where the image does not say."""
    os_release: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    """How a container image is run (OCI image specification, config.md): Entrypoint, Cmd, Env, ExposedPorts, User, …"""
    layers: tuple[LayerRecord, ...] = ()
    partitions: tuple[PartitionRecord, ...] = ()
    manifest: Mapping[str, Any] | None = None
    """What dibo wrote beside it (docs/reference/manifest.md)."""
    notes: tuple[str, ...] = ()
    """What was left out, and why: for the user."""


def shown(path: bytes) -> str:
    """A path as text with its first slash; bytes that are no UTF-8 as `\\xNN`."""
    return "/" + path.decode(errors="backslashreplace")
