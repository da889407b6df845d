"""Checks the nodes of a block-device file, and makes the disk of them that they describe."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from typing import Final

from dibo.elements.block_devices.graph import DeviceNode, ordered
from dibo.elements.block_devices.model import (
    BlockDevices,
    DeviceFileSystem,
    DeviceMount,
    DevicePartition,
    Disk,
    RootOptions,
)
from dibo.elements.block_devices.sizes import parse_share, parse_size
from dibo.errors import LayoutError
from dibo.flavours.schema import nearest
from dibo.formats import labels
from dibo.units import MIB, SECTOR

PRIMARY_DISK: Final = "image0"
ROOT_FILE_SYSTEM: Final = "mkfs_root"
"""The node whose type and label options of the command choose."""
_LABEL: Final = "cloudimg-rootfs"
_LABEL_XFS: Final = "img-rootfs"
_SECTORS: Final = (512, 4096)
_FLAGS: Final = ("boot", "primary")
_KEYS: Final = {
    "local_loop": ("size", "directory", "block_size"),
    "partitioning": ("label", "align", "partitions"),
    "mkfs": ("type", "label", "opts", "uuid"),
    "mount": ("mount_point",),
    "fstab": ("options", "dump-freq", "fsck-passno"),
}
_PARTITION_KEYS: Final = ("name", "base", "size", "type", "flags")


def check_devices(
    nodes: Iterable[DeviceNode], *, origin: str, root: RootOptions, environment: Mapping[str, str]
) -> BlockDevices:
    """The devices that `nodes` describe. Raises LayoutError."""
    return _Checker(tuple(nodes), origin, root, environment).devices()


class _Checker:
    def __init__(
        self, nodes: tuple[DeviceNode, ...], origin: str, root: RootOptions, environment: Mapping[str, str]
    ) -> None:
        self._origin = origin
        self._nodes = nodes
        self._root = root
        self._environment = environment
        self._notes: list[str] = []
        self._refuse_repeated_names()
        for node in nodes:
            if node.plugin == "lvm":
                raise LayoutError(
                    f"{node.place}: logical volumes need the device mapper of the kernel, which needs root",
                    hint="describe partitions instead (the elements block-device-efi, -gpt, -mbr do, or --layout"
                    " FILE);\nor build with --loop as root, with a flavour whose block-device.d hook makes the volumes",
                )

    def devices(self) -> BlockDevices:
        filesystems = self._filesystems()
        mounts = self._mounts({filesystem.name: filesystem for filesystem in filesystems})
        disk = self._disk()
        table, alignment, partitions = self._partitioning(disk)
        edges = self._edges(partitions, mounts)
        for name, bases in edges.items():
            for base in bases:
                if base not in edges:
                    raise LayoutError(f"{self._origin}: {name}: nothing is called {base}, its base")
        if not any(mount.path == "/" for mount in mounts):
            raise LayoutError(
                f"{self._origin}: nothing is mounted at /", hint="add a mount with mount_point: /"
            )
        return BlockDevices(
            origin=self._origin,
            disk=disk,
            table=table,
            alignment=alignment,
            partitions=partitions,
            filesystems=filesystems,
            mounts=mounts,
            order=ordered(edges),
            notes=tuple(self._notes),
        )

    def _refuse_repeated_names(self) -> None:
        places: dict[str, str] = {}
        for node in self._nodes:
            names = [node.name]
            if node.plugin == "partitioning":
                items = node.values.get("partitions")
                names = [str(item["name"]) for item in items] if isinstance(items, list) else []
            for name in names:
                if name in places:
                    raise LayoutError(
                        f"{node.place}: the name {name} is already used at {places[name]}",
                        hint="each node and each partition has a name of its own",
                    )
                places[name] = node.place

    def _edges(
        self, partitions: tuple[DevicePartition, ...], mounts: tuple[DeviceMount, ...]
    ) -> dict[str, tuple[str, ...]]:
        """The names of all nodes in the order of the file, each with those that come before it."""
        earlier_mounts = {mount.name: before.name for before, mount in pairwise(mounts)}
        earlier_partitions = {partition.name: before.name for before, partition in pairwise(partitions)}
        edges: dict[str, tuple[str, ...]] = {}
        for node in self._nodes:
            bases = (str(node.base),) if node.base else ()
            if node.plugin == "partitioning":
                for partition in partitions:
                    before = earlier_partitions.get(partition.name)
                    edges[partition.name] = bases if before is None else (*bases, before)
            else:
                before = earlier_mounts.get(node.name)
                edges[node.name] = bases if before is None else (*bases, before)
        return edges

    def _of(self, plugin: str) -> Iterable[DeviceNode]:
        for node in self._nodes:
            if node.plugin == plugin:
                self._note_unknown(node.values, _KEYS[plugin], node.place)
                yield node

    def _note_unknown(self, values: Mapping[str, object], known: Collection[str], place: str) -> None:
        self._notes += [
            f"{place}: the key {key} has no effect{nearest(key, known)}" for key in values if key not in known
        ]

    def _disk(self) -> Disk:
        disks = []
        for node in self._of("local_loop"):
            if "directory" in node.values:
                self._notes.append(
                    f"{node.place}: the key directory has no effect: dibo makes no loop device"
                )
            size = node.values.get("size")
            disks.append(
                Disk(
                    name=node.name,
                    size=None if size is None else parse_size(size, f"{node.place}.size"),
                    sector=self._sector(node),
                )
            )
        if len(disks) > 1:
            names = ", ".join(disk.name for disk in disks if disk.name != PRIMARY_DISK)
            raise LayoutError(
                f"{self._origin}: an image is one disk, and this describes {len(disks)}",
                hint=f"build images of their own for {names}",
            )
        if not disks or disks[0].name != PRIMARY_DISK:
            raise LayoutError(
                f"{self._origin}: no local_loop is called {PRIMARY_DISK}, which is the disk of the image",
                hint=f"add `- local_loop: {{name: {PRIMARY_DISK}}}`",
            )
        return disks[0]

    def _sector(self, node: DeviceNode) -> int:
        text = self._environment.get("DIB_BLOCK_SIZE") or str(node.values.get("block_size", SECTOR))
        if text not in map(str, _SECTORS):
            raise LayoutError(
                f"{node.place}.block_size: expected {' or '.join(map(str, _SECTORS))}, got {text!r}",
                hint="DIB_BLOCK_SIZE replaces it" if self._environment.get("DIB_BLOCK_SIZE") else "",
            )
        return int(text)

    def _partitioning(self, disk: Disk) -> tuple[str, int, tuple[DevicePartition, ...]]:
        tables = list(self._of("partitioning"))
        if not tables:
            return "", MIB, ()
        if len(tables) > 1:
            raise LayoutError(f"{tables[1].place}: a disk has one partition table")
        (node,) = tables
        for key, value in (
            ("base", node.base),
            *((key, node.values.get(key)) for key in ("label", "partitions")),
        ):
            if not value:
                raise LayoutError(f"{node.place}: the key {key} is missing")
        if node.base != disk.name:
            raise LayoutError(f"{node.place}: nothing is called {node.base}, its base")
        table = node.values["label"]
        if table not in ("mbr", "gpt"):
            raise LayoutError(f"{node.place}.label: expected mbr or gpt, got {table!r}")
        alignment = parse_size(node.values["align"], f"{node.place}.align") if "align" in node.values else MIB
        partitions: list[DevicePartition] = []
        items = node.values["partitions"]
        for index, values in enumerate(items if isinstance(items, list) else []):
            place = f"{node.place}.partitions[{index}]"
            self._note_unknown(values, _PARTITION_KEYS, place)
            partitions.append(_partition(values, str(table), place))
        return str(table), alignment, tuple(partitions)

    def _filesystems(self) -> tuple[DeviceFileSystem, ...]:
        filesystems: list[DeviceFileSystem] = []
        for node in self._of("mkfs"):
            filesystem = self._filesystem(node)
            earlier = next((one for one in filesystems if one.label == filesystem.label), None)
            if earlier is not None:
                raise LayoutError(
                    f"{node.place}: the label {filesystem.label} is already used by {earlier.name}",
                    hint="fstab finds file systems by their labels: give each one of its own",
                )
            limit = labels.LIMITS.get(filesystem.type, len(filesystem.label))
            if len(filesystem.label) > limit:
                raise LayoutError(
                    f"{node.place}: the label {filesystem.label} has {len(filesystem.label)} characters;"
                    f" {filesystem.type} allows {limit}",
                    hint="write a shorter one: `label:`; without it, the name of the node is the label",
                )
            filesystems.append(filesystem)
        return tuple(filesystems)

    def _filesystem(self, node: DeviceNode) -> DeviceFileSystem:
        is_root = node.name == ROOT_FILE_SYSTEM
        kind = _text(node.values, "type", node.place) or (self._root.filesystem if is_root else "")
        label = _text(node.values, "label", node.place)
        if is_root and not label:
            label = self._root.label or (_LABEL_XFS if kind == "xfs" else _LABEL)
        label = label or node.name
        if kind == "fat":
            kind = "vfat"
        options = _text(node.values, "opts", node.place) or (self._root.mkfs_options if is_root else "")
        if not node.base:
            raise LayoutError(f"{node.place}: the key base is missing")
        if not kind:
            raise LayoutError(
                f"{node.place}: the key type is missing", hint="write a file system, such as ext4"
            )
        return DeviceFileSystem(
            name=node.name,
            base=str(node.base),
            type=kind,
            label=label.upper() if kind == "vfat" else label,
            options=options,
            uuid=_text(node.values, "uuid", node.place),
            place=node.place,
        )

    def _mounts(self, filesystems: Mapping[str, DeviceFileSystem]) -> tuple[DeviceMount, ...]:
        lines = {}
        for node in self._of("fstab"):
            lines[str(node.base)] = _fstab(node)
        nodes = sorted(self._of("mount"), key=lambda node: str(node.values.get("mount_point")))
        mounts: list[DeviceMount] = []
        seen: set[str] = set()
        for node in nodes:
            path = _text(node.values, "mount_point", node.place)
            for key, value in (("base", node.base), ("mount_point", path)):
                if not value:
                    raise LayoutError(f"{node.place}: the key {key} is missing")
            if path in seen:
                raise LayoutError(f"{node.place}: {path} is mounted twice")
            seen.add(path)
            filesystem = filesystems.get(str(node.base))
            if filesystem is None:
                raise LayoutError(f"{node.place}: no mkfs is called {node.base}, its base")
            is_swap = filesystem.type == "swap"
            line = lines.get(node.name)
            mounts.append(
                DeviceMount(
                    name=node.name,
                    filesystem=filesystem,
                    path="none" if is_swap else path,
                    fstab=("sw", 0, 0) if is_swap and line else line,
                )
            )
        return tuple(mounts)


def _partition(values: Mapping[str, object], table: str, place: str) -> DevicePartition:
    if values.get("size") is None:
        raise LayoutError(f"{place}: the key size is missing")
    raw_flags = values.get("flags") or []
    flags = raw_flags if isinstance(raw_flags, list) else [raw_flags]
    for flag in flags:
        if flag not in _FLAGS:
            raise LayoutError(f"{place}.flags: expected {' or '.join(_FLAGS)}, got {flag!r}")
    if table == "gpt" and "primary" in flags:
        raise LayoutError(f"{place}.flags: a GPT has no primary partitions", hint="remove primary")
    return DevicePartition(
        name=str(values["name"]),
        size=parse_share(values["size"], f"{place}.size"),
        type=_text(values, "type", place),
        boot="boot" in flags,
        primary="primary" in flags,
        place=place,
    )


def _fstab(node: DeviceNode) -> tuple[str, int, int]:
    if not node.base:
        raise LayoutError(f"{node.place}: the key base is missing")
    options = _text(node.values, "options", node.place) or "defaults"
    return options, _number(node, "dump-freq", 0), _number(node, "fsck-passno", 2)


def _number(node: DeviceNode, key: str, default: int) -> int:
    text = _text(node.values, key, node.place)
    if text and text not in ("0", "1", "2"):
        raise LayoutError(f"{node.place}.{key}: expected 0, 1 or 2, got {text!r}")
    return int(text) if text else default


def _text(values: Mapping[str, object], key: str, place: str) -> str:
    value = values.get(key)
    if isinstance(value, list | dict | bool):
        raise LayoutError(f"{place}.{key}: expected text, got {value!r}")
    return "" if value is None else str(value).strip()
