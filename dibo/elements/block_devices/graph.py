"""The plugins of a block-device file as nodes of a graph. In a tree, what a plugin acts on is what it stands in:

- partitioning:              - partitioning: {base: image0, name: partitioning_image0, partitions: [{name: root}]}
    base: image0             - mkfs: {base: root, name: mkfs_root}
    partitions:
      - name: root
        mkfs: {type: ext4}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from dibo.errors import LayoutError
from dibo.flavours import strict_yaml
from dibo.flavours.schema import nearest

PLUGINS: Final = ("local_loop", "partitioning", "lvm", "mkfs", "mount", "fstab")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNode:
    plugin: str
    name: str
    base: object
    """The name of the node it acts on; several for lvm, None for a disk."""
    values: Mapping[str, object]
    """All other keys. Those of `partitions` are mappings without plugins."""
    place: str = field(compare=False)
    """For messages."""


def parse_nodes(text: str, *, origin: str) -> tuple[DeviceNode, ...]:
    """The nodes in a text, those inside others first. Raises LayoutError."""
    try:
        data = strict_yaml.load(text)
    except yaml.YAMLError as error:
        raise LayoutError(f"{origin}: {' '.join(str(error).split())}") from error
    if not isinstance(data, list):
        raise LayoutError(f"{origin}: expected a list of plugins", hint=f"plugins: {', '.join(PLUGINS)}")
    nodes: list[DeviceNode] = []
    for index, entry in enumerate(data):
        place = f"{origin}: [{index}]"
        if not isinstance(entry, dict) or len(entry) != 1:
            raise LayoutError(
                f"{place}: expected one plugin with its keys, got {_summary(entry)}",
                hint=f"each entry of the list is one of {', '.join(PLUGINS)}",
            )
        ((plugin, values),) = entry.items()
        if plugin not in PLUGINS:
            raise LayoutError(f"{place}: there is no plugin {plugin!r}{nearest(str(plugin), PLUGINS)}")
        nodes += _flattened(plugin, values, parent=None, place=f"{place}.{plugin}")
    return tuple(nodes)


def _summary(entry: object) -> str:
    return f"the keys {', '.join(map(str, entry))}" if isinstance(entry, dict) else repr(entry)


def _flattened(plugin: str, values: object, *, parent: str | None, place: str) -> Iterator[DeviceNode]:
    """The nodes inside of one plugin, then its own."""
    if not isinstance(values, dict):
        raise LayoutError(f"{place}: expected a mapping, got {values!r}")
    base = values.get("base", parent)
    name = values.get("name")
    if name is None:
        if base is None:
            raise LayoutError(f"{place}: the key name is missing")
        name = f"{plugin}_{base}"
    own: dict[str, object] = {}
    for key, value in values.items():
        if key == "partitions":
            partitions = []
            for partition, inner in _partitions(value, place):
                partitions.append({"base": base} | partition)
                yield from inner
            own[key] = partitions
        elif key in PLUGINS:
            yield from _flattened(key, value, parent=str(name), place=f"{place}.{key}")
        elif key not in ("name", "base"):
            own[str(key)] = value
    yield DeviceNode(plugin=plugin, name=str(name), base=base, values=own, place=place)


def _partitions(value: object, place: str) -> Iterator[tuple[dict[str, object], list[DeviceNode]]]:
    if not isinstance(value, list):
        raise LayoutError(f"{place}.partitions: expected a list of partitions")
    for index, partition in enumerate(value):
        here = f"{place}.partitions[{index}]"
        if not isinstance(partition, dict):
            raise LayoutError(f"{here}: expected a mapping, got {partition!r}")
        if partition.get("name") is None:
            raise LayoutError(f"{here}: the key name is missing")
        inner: list[DeviceNode] = []
        for key, values in partition.items():
            if key in PLUGINS:
                inner += _flattened(key, values, parent=str(partition["name"]), place=f"{here}.{key}")
        yield {str(key): item for key, item in partition.items() if key not in PLUGINS}, inner


def ordered(edges: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Names so that each comes after those it needs; else in the given order. Raises LayoutError for a circle."""
    order: list[str] = []
    rest = dict(edges)
    while rest:
        name = next((name for name, needs in rest.items() if all(need in order for need in needs)), None)
        if name is None:
            raise LayoutError(f"these need each other in a circle: {', '.join(rest)}")
        order.append(name)
        del rest[name]
    return tuple(order)
