"""A disk, decided: once it is known of which root it is made, how, and how large."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from dibo.build.engine import Root
from dibo.disk.filesystem_strategy import Choice
from dibo.disk.request import DiskRequest, choice_of, root_type
from dibo.formats.vm_disks.identity import ImageIdentity
from dibo.layout.identity import NAMESPACE, identify
from dibo.layout.model import Layout, Partition
from dibo.layout.placement import root_partition
from dibo.tree.node import Contents

if TYPE_CHECKING:
    from dibo.boot.prepared import PreparedRoot
    from dibo.disk.device_hooks import HookedDisk
    from dibo.kits.attach import Attachment


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSource:
    """A root, and what artefacts take from its image. `epoch` in seconds since 1970."""

    root: Root
    identity: str
    """What identifiers on disks derive from: a key, or a digest."""
    epoch: int
    clamp: bool = True
    """Whether times in the root that are later than `epoch` become `epoch`."""
    manifest: Mapping[str, Any] | None
    """What the manifest says besides what reading the root tells; None writes no manifest."""
    prepared: PreparedRoot | None = None
    """The boot files, where they were made before the disk."""
    attachment: Attachment | None = None
    """The kit whose layers are the uppermost of the root, if there is one."""

    @property
    def image_identity(self) -> ImageIdentity:
        """What image formats say about the disk."""
        return ImageIdentity(uuid=uuid5(NAMESPACE, self.identity), time=self.epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPlan:
    """Everything decided. `size` in bytes."""

    request: DiskRequest
    source: DiskSource
    hooked: HookedDisk | None = None
    """The disk that hooks of block-device.d laid out; it comes before a layout."""
    size: int
    size_set_by: str
    fitting: Mapping[str, int] = field(default_factory=dict)
    """Bytes of the partitions that fit what is in them, by name."""
    loop: bool
    """Whether the disk is made on a loop device."""

    @property
    def layout(self) -> Layout | None:
        return None if self.hooked is not None else self.request.layout

    @property
    def root_type(self) -> str:
        return root_type(self.layout, self.request.filesystem)

    @property
    def root_uuid(self) -> UUID:
        """Of the root file system, on a disk with this layout."""
        root = root_partition(self.request.bare_label) if self.layout is None else self.layout.root
        return identify(self.source.identity, root.name).filesystem_uuid

    def choice_of(self, partition: Partition) -> Choice | None:
        """Who makes the file system of a partition; None where nothing is made."""
        directory = self.source.root.directory is not None
        return choice_of(partition, self.layout, self.request, directory=directory, loop=self.loop)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskTargets:
    """Where the disk goes, in which formats; and where the bytes of files go besides, for other types."""

    disks: Mapping[str, Path]
    """By type, one of dibo.formats.open_target.TYPES."""
    others: Contents | None
    restart: Callable[[], None] = lambda: None
    """Called before the root is read again: `others` begins anew."""
