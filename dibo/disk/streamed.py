"""The file systems of a disk that dibo writes itself, all at once while the root streams by."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from dibo.boot.boot_files import BootFiles
from dibo.disk.esp_files import on_esp
from dibo.disk.fat_writer import FatWriter, smallest_fat
from dibo.disk.loop.fill import Filling
from dibo.formats import ext4
from dibo.formats.fat.geometry import choose_geometry
from dibo.formats.swap import swap_header
from dibo.formats.target import Target
from dibo.images.layers.split_by_mount import MAIN, Divided
from dibo.layout.model import DEFAULT_HEADROOM, ROOT, FileSystemType, PartitionContent
from dibo.layout.placement import PlacedPartition, Placement
from dibo.tree.mounts import Mounted
from dibo.tree.node import Contents, Node
from dibo.tree.query import walk
from dibo.tree.sinks import Nowhere, Several
from dibo.units import MIB

_SECOND: Final = 1_000_000_000
_BLOCK: Final = 4096
Writer = ext4.Writer | FatWriter | Filling


class TooSmall(Exception):
    """A tree does not fit its partition: so many bytes are missing."""

    def __init__(self, *, partition: PlacedPartition, missing: int) -> None:
        super().__init__(f"{partition.wish.name}: {missing} bytes are missing")
        self.partition = partition
        self.missing = missing


class FileSystems:
    """The writers for the partitions of `placement`: those in `writers` for these, dibo's own for others, but none for
    those in `others`, which are filled elsewhere from the contents given there."""

    def __init__(
        self,
        target: Target,
        placement: Placement,
        *,
        epoch: int,
        others: Mapping[str, Contents] | None = None,
        writers: Mapping[str, Filling] | None = None,
    ) -> None:
        self._target = target
        self._placement = placement
        self._epoch = epoch
        self._others = dict(others or {})
        self.clamped_times = 0
        """Files whose time their file system cannot say, once `finish` was called."""
        self.writers: dict[str, Writer] = {**(writers or {})}
        for part in placement.partitions:
            if part.wish.name in self._others or part.wish.name in self.writers:
                continue
            if (writer := self._writer(part)) is not None:
                self.writers[part.wish.name] = writer

    def _writer(self, part: PlacedPartition) -> Writer | None:
        match part.wish.filesystem:
            case FileSystemType.EXT4:
                return ext4.Writer(
                    self._target,
                    ext4.Parameters(
                        size=part.size,
                        offset=part.offset,
                        label=part.wish.label,
                        uuid=part.ids.filesystem_uuid,
                        hash_seed=part.ids.hash_seed,
                        time=self._epoch,
                    ),
                )
            case FileSystemType.VFAT:
                return FatWriter(
                    self._target,
                    choose_geometry(part.size, sector=self._placement.sector),
                    offset=part.offset,
                    label=part.wish.label,
                    serial=part.ids.fat_serial,
                    mtime=self._epoch,
                )
        return None

    def places(self, others: Contents | None) -> Contents:
        """Where the bytes of files go: to the file system that they will be on, and to `others`."""
        writers_by_path: dict[bytes, Contents] = {}
        for part in self._placement.partitions:
            if part.wish.mount is not None:
                writer = self._contents(part.wish.name)
                path = str(part.wish.mount).lstrip("/").encode()
                writers_by_path[path] = writer if others is None else Several(writer, others)
        return writers_by_path[MAIN] if len(writers_by_path) == 1 else Divided(writers_by_path)

    def mounted(self, root: Node) -> Mounted:
        """The tree, cut into the file systems."""
        mounts = [part.wish.mount for part in self._placement.partitions if part.wish.mount is not None]
        below = [mount for mount in mounts if mount != ROOT]
        return Mounted(root, below, mtime=self._epoch * _SECOND)

    def finish(self, tree: Mounted, boot: BootFiles) -> None:
        """Write what is not file data yet. Raises TooSmall, ext4.Ext4Error, LayoutError, OutputError, LoopError."""
        for part in self._placement.partitions:
            writer = self.writers.get(part.wish.name)
            top = tree.tops[part.wish.mount] if part.wish.mount is not None else _empty(self._epoch)
            if isinstance(writer, FatWriter):
                writer.finish(top, self._esp(part, boot))
            elif writer is not None:
                try:
                    if isinstance(writer, ext4.Writer):
                        self.clamped_times += writer.finish(top).clamped_times
                    else:
                        writer.finish(top)
                except ext4.NoSpace as error:
                    raise TooSmall(partition=part, missing=error.missing) from error
            elif part.wish.filesystem is FileSystemType.SWAP:
                header = swap_header(part.size, label=part.wish.label, uuid=part.ids.filesystem_uuid)
                self._target.write(part.offset, [header])

    def measure(self, part: PlacedPartition, tree: Mounted, boot: BootFiles) -> int:
        """Bytes of the smallest file system for what is to be in `part`, with its headroom."""
        writer = self.writers[part.wish.name]
        top = tree.tops[part.wish.mount] if part.wish.mount is not None else _empty(self._epoch)
        headroom = part.wish.headroom or DEFAULT_HEADROOM
        if isinstance(writer, FatWriter):
            more = self._esp(part, boot)
            stored = sum(node.size for node in walk(top)) + sum(map(len, more.values()))
            return smallest_fat(
                top, more, free=headroom.of(stored), label=part.wish.label, sector=self._placement.sector
            )
        assert isinstance(writer, ext4.Writer)
        needs = writer.measure(top)
        blocks = needs.data_blocks + needs.single_blocks
        more_blocks = -(-headroom.of(blocks * _BLOCK) // _BLOCK)
        # In a tight place the journal, and a file around a copy of the superblock, come in pieces: blocks for extents.
        more_blocks += blocks // 32768 + 16
        roomy = ext4.Needs(
            data_blocks=needs.data_blocks + more_blocks,
            inodes=needs.inodes,
            single_blocks=needs.single_blocks,
        )
        parameters = writer.parameters
        return ext4.smallest(
            ext4.Parameters(size=MIB, uuid=parameters.uuid, hash_seed=parameters.hash_seed), roomy
        )

    def _esp(self, part: PlacedPartition, boot: BootFiles) -> Mapping[str, bytes]:
        return on_esp(boot, self._placement) if part.wish.content is PartitionContent.ESP else {}

    def contents_of(self, mount: PurePosixPath) -> Contents | None:
        """What the bytes of files on the file system mounted there go to, once the tree is known."""
        part = next(part for part in self._placement.partitions if part.wish.mount == mount)
        return self._contents(part.wish.name)

    def _contents(self, name: str) -> Contents:
        return self.writers.get(name) or self._others.get(name) or Nowhere()


def _empty(epoch: int) -> Node:
    return Node(stat.S_IFDIR | 0o755, mtime=epoch * _SECOND)
