"""The file systems of a disk that programs make, without root: each in a file, and from there to its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from dibo.build.engine import Setup
from dibo.disk import fstab, grub_cfg
from dibo.disk.filesystem_strategy import Choice, Way
from dibo.disk.plan import DiskPlan
from dibo.disk.programs import mke2fs, mkfs
from dibo.disk.programs.mke2fs import FileSystemWish, check_fits, make_filesystem
from dibo.disk.programs.numbered_files import Numbered
from dibo.errors import LayoutError
from dibo.formats.open_target import copy_raw
from dibo.formats.target import Target
from dibo.layout.model import FileSystemType
from dibo.layout.placement import PlacedPartition, Placement
from dibo.tree.mounts import Mounted
from dibo.tree.node import Buffer, Contents, Node
from dibo.tree.sinks import Nowhere


class NeedsLoop(Exception):
    """What is in the root cannot be on a file system that its program makes without root. The text says why."""


class Programs:
    """Those of `placement` that are not dibo's own work."""

    def __init__(self, plan: DiskPlan, placement: Placement, setup: Setup) -> None:
        self._plan = plan
        self._root = plan.source.root
        self._run = setup.run
        self._report = setup.report
        self._sector = placement.sector
        self._choices: list[tuple[PlacedPartition, Choice]] = []
        self.places: dict[str, Contents] = {}
        """Where the bytes of files on them go, by the name of the partition."""
        for part in placement.partitions:
            choice = plan.choice_of(part.wish)
            if choice is None or choice.way is not Way.PROGRAM:
                continue
            self._choices.append((part, choice))
            self.places[part.wish.name] = Nowhere()
            if part.wish.filesystem is FileSystemType.XFS and part.wish.mount is not None:
                self.places[part.wish.name] = Numbered(self._run.subdirectory(part.wish.name))

    def fill(self, tree: Mounted, target: Target) -> None:
        """Make them, and write them to `target`. Raises NeedsLoop, LayoutError, ConverterError, ImageTooSmall,
        OutputError."""
        for part, choice in self._choices:
            top = tree.tops[part.wish.mount] if part.wish.mount is not None else Node(0o040755)
            file = self._run.subdirectory("filesystem") / part.wish.name
            with self._report.task(f"{choice.program} {part.wish.name}") as task:
                self._make(part, choice, top, tree, file)
                with file.open("rb") as made:
                    copy_raw(made, _Shifted(target, part.offset), on_bytes=task.progress)
            file.unlink()

    def _make(self, part: PlacedPartition, choice: Choice, top: Node, tree: Mounted, file: Path) -> None:
        if part.wish.filesystem is FileSystemType.XFS:
            self._xfs(part, top, file)
            return
        if choice.program == "mke2fs":
            self._ext(part, top, tree, file)
            return
        if not top.children:
            mkfs.make_btrfs(part, file, directory=None, hidden={}, on_output=self._report.line)
            return
        if self._root.directory is None:
            raise NeedsLoop(
                f"{part.wish.name}: without root, mkfs.btrfs fills a file system from a directory, and"
                f" {self._root.name} is not in one"
            )
        with self._root.directory() as directory:
            hidden = self._hidden(part, tree)
            mkfs.make_btrfs(part, file, directory=directory, hidden=hidden, on_output=self._report.line)

    def _xfs(self, part: PlacedPartition, top: Node, file: Path) -> None:
        places = self.places[part.wish.name]
        if isinstance(places, Numbered):
            places.close()
        lost = mkfs.losses(top)
        if lost:
            raise NeedsLoop(
                f"{part.wish.name}: without root, mkfs.xfs fills a file system from a list of files that cannot say all"
                f" of what belongs to {part.wish.mount}: {', '.join(lost)}"
            )
        if top.children:
            self._report.warn(f"{part.wish.name}: mkfs.xfs gives its files the time when it runs")
        scratch = self._run.subdirectory("list")
        mkfs.make_xfs(part, file, scratch=scratch, top=top, sector=self._sector, on_output=self._report.line)

    def _ext(self, part: PlacedPartition, top: Node, tree: Mounted, file: Path) -> None:
        plan = self._plan
        if self._root.directory is None:
            raise LayoutError(
                f"{plan.root_type} is made from a directory, and {self._root.name} is not in one",
                hint="use ext4, or build with the engine buildah on this machine",
            )
        usage = mke2fs.measure(top)
        wish = FileSystemWish(
            type=plan.root_type,
            label=part.wish.label,
            offset=0,
            size=part.size,
            ids=part.ids,
            options=plan.request.mkfs_options,
        )
        check_fits(usage, wish, image_size=plan.size, set_by=plan.size_set_by)
        with file.open("wb") as stream:
            stream.truncate(part.size)
        with self._root.directory() as directory:
            mkfs.prepare(directory, self._hidden(part, tree), on_output=self._report.line)
            make_filesystem(
                directory, file, wish=wish, usage=usage, epoch=plan.source.epoch, on_output=self._report.line
            )

    def _hidden(self, part: PlacedPartition, tree: Mounted) -> Mapping[str, bytes | None]:
        """What the directory has otherwise than the file system shall: mounts of others, fstab, GRUB's menu."""
        mount = part.wish.mount or PurePosixPath("/")
        hidden: dict[str, bytes | None] = {
            str(other_mount): None
            for other_mount in tree.tops
            if other_mount != mount and mount in other_mount.parents
        }
        for path in (fstab.PATH, grub_cfg.MENU):
            place = tree.find(PurePosixPath(path))
            if place is not None and place[0] == mount:
                node = (place[1].children or {}).get(place[2])  # not what a link there leads to
                if node is not None and node.data is not None:
                    hidden[path] = node.data
        return hidden


class _Shifted:
    """A Target that is a part of another, from byte `offset` on."""

    def __init__(self, target: Target, offset: int) -> None:
        self._target = target
        self._offset = offset

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        self._target.write(self._offset + offset, buffers)

    def discard(self, offset: int, size: int) -> None:
        self._target.discard(self._offset + offset, size)
