"""What differs between two images, as frozen values: what `dibo diff` prints.

In pairs, None stands for what one image does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from dibo.contents.inventory import (
    FileRecord,
    GroupRecord,
    InstalledPackage,
    Inventory,
    KernelRecord,
    LayerRecord,
    PartitionRecord,
    Unit,
    UserRecord,
)

SECTIONS: Final = {
    "system": "architecture and os-release(5)",
    "packages": "packages added, removed, and with another version",
    "files": "files added, removed and changed",
    "units": "units of systemd, and whether they are enabled",
    "users": "users",
    "groups": "groups",
    "kernels": "kernels, their ramdisks and arguments",
    "config": "how a container image is run, and its labels",
    "partitions": "partitions of disks",
    "layers": "layers of container images",
    "sizes": "sizes in all, and by directory",
}
"""What is compared, in the order of reports."""
STORAGE: Final = ("layers", "sizes")
"""Sections that say how contents are stored, or follow from others: alone they are no difference, unless asked for."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Generic[T]):
    """Something that is in one image alone, or is another thing in the other."""

    name: str
    before: T | None
    after: T | None

    @property
    def change(self) -> str:
        """`added`, `removed` or `changed`."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """`aspects` say what changed: of `type`, `content`, `size`, `target`, `device`, `mode`, `owner`, `group`, `xattrs`,
    `time`; empty for a file that is in one image alone."""

    path: bytes
    before: FileRecord | None
    after: FileRecord | None
    aspects: tuple[str, ...] = ()
    of_package: bool = False
    """Whether a package that was added, removed or changed brings it, or it is part of a database of packages."""

    @property
    def change(self) -> str:
        """`added`, `removed` or `changed`."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"

    @property
    def growth(self) -> int:
        """Bytes that are more in the second image; hard links count once."""
        sizes = [
            0 if record is None or record.first_name else record.size for record in (self.before, self.after)
        ]
        return sizes[1] - sizes[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySize:
    """Bytes of all files below a directory."""

    path: str
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerComparison:
    """`shared` layers are the same at the bottom of both."""

    shared: int
    before: tuple[LayerRecord, ...]
    after: tuple[LayerRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`before` and `after` are the two images. Sections that were not asked for are empty."""

    before: Inventory
    after: Inventory
    sections: tuple[str, ...]
    system: tuple[Pair[str], ...] = ()
    packages: tuple[Pair[InstalledPackage], ...] = ()
    files: tuple[FileChange, ...] = ()
    units: tuple[Pair[Unit], ...] = ()
    users: tuple[Pair[UserRecord], ...] = ()
    groups: tuple[Pair[GroupRecord], ...] = ()
    kernels: tuple[Pair[KernelRecord], ...] = ()
    config: tuple[Pair[str], ...] = ()
    partitions: tuple[Pair[PartitionRecord], ...] = ()
    layers: LayerComparison | None = None
    directories: tuple[DirectorySize, ...] = ()
    """Those whose sizes differ, the largest difference first."""
    left_out: Mapping[str, int]
    """How many differences were left out, by reason."""
    unread: tuple[bytes, ...] = ()
    """Files that seem to be the same, and whose bytes cannot be read."""
    notes: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether the contents differ; of layers and sizes, only where nothing else was asked for."""
        counted = [section for section in self.sections if section not in STORAGE]
        if counted:
            return any(getattr(self, section) for section in counted)
        layers = self.layers
        moved = layers is not None and {len(layers.before), len(layers.after)} != {layers.shared}
        return moved or bool(self.directories) or self.before.totals != self.after.totals
