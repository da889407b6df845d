"""An inventory as text for people: a few lines for each subject; with files, a line for each as `ls -l` has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from dibo.contents.inventory import FileRecord, Inventory, shown
from dibo.contents.words import ARROW, capabilities
from dibo.system.terminal import without_controls
from dibo.units import counted, human_size

_TYPES: Final = {
    "directory": "d",
    "symlink": "l",
    "character device": "c",
    "block device": "b",
    "FIFO": "p",
    "socket": "s",
}
_SET_ID: Final = 0o6000
_NO_LOGIN: Final = ("nologin", "false", "sync")


def inventory_text(inventory: Inventory, *, files: bool = False) -> str:
    lines = [*_head(inventory), *_lists(inventory)]
    if files:
        lines += ["files:", *(f"  {_ls(path, record)}" for path, record in inventory.files.items())]
    lines += [f"note: {note}" for note in inventory.notes]
    return "\n".join(_line(line) for line in lines)


def _line(text: str) -> str:
    """On one line, without orders to the terminal."""
    return without_controls(text).replace("\n", "\\n").replace("\t", "\\t")


def _head(inventory: Inventory) -> Iterator[str]:
    totals = inventory.totals
    kind = inventory.form if inventory.form == inventory.format else f"{inventory.form}, {inventory.format}"
    yield f"image: {inventory.name} ({kind})"
    name = inventory.os_release.get("PRETTY_NAME", "")
    if name or inventory.architecture:
        yield f"system: {', '.join(filter(None, (name, inventory.architecture)))}"
    stored = f", stored {human_size(totals.stored)}" if totals.stored else ""
    yield (
        f"size: {human_size(totals.bytes)} in {counted(totals.files, 'file')},"
        f" {totals.directories} directories, {totals.symlinks} links{stored}"
    )
    for partition in inventory.partitions:
        label = f" {partition.label!r}" if partition.label else ""
        place = f" at {partition.mounted}" if partition.mounted else ""
        kind = partition.filesystem or "nothing known"
        yield f"partition {partition.number}: {kind}{label}, {human_size(partition.size)}{place}"
    for number, layer in enumerate(inventory.layers, 1):
        yield f"layer {number}: {layer.title or layer.diff_id[:19]} ({human_size(layer.size)})"


def _lists(inventory: Inventory) -> Iterator[str]:
    for kernel in inventory.kernels:
        arguments = "" if kernel.arguments is None else f": {' '.join(kernel.arguments)}"
        yield f"kernel: {kernel.version}{arguments}"
    if inventory.packages is None:
        yield "packages: no database that dibo reads"
    else:
        managers = Counter(package.manager for package in inventory.packages)
        by = ", ".join(managers) or "dpkg"
        yield f"packages: {len(inventory.packages)}, by {by}"
    if inventory.units:
        states = Counter(unit.state for unit in inventory.units)
        yield f"units: {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}"
        yield from _listed("enabled", (unit.name for unit in inventory.units if unit.state == "enabled"))
    logins = (user.name for user in inventory.users if user.shell.rpartition("/")[2] not in _NO_LOGIN)
    yield from _listed("users with a shell", logins)
    set_id = (
        f"{shown(path)} ({record.mode:04o})"
        for path, record in inventory.files.items()
        if record.kind == "file" and record.mode & _SET_ID
    )
    yield from _listed("set-user-id and set-group-id files", set_id)
    capable = (
        f"{shown(path)} ({words})"
        for path, record in inventory.files.items()
        if (words := capabilities(record))
    )
    yield from _listed("files with capabilities", capable)
    for name in ("Entrypoint", "Cmd", "User", "WorkingDir", "ExposedPorts"):
        value = inventory.config.get(name)
        if value:
            yield f"{name}: {' '.join(map(str, value)) if isinstance(value, list | dict) else value}"


def _listed(title: str, names: Iterator[str]) -> Iterator[str]:
    listed = ", ".join(names)
    if listed:
        yield f"{title}: {listed}"


def _ls(path: bytes, record: FileRecord) -> str:
    target = f" {ARROW} {record.target.decode(errors='backslashreplace')}" if record.kind == "symlink" else ""
    kind = _TYPES.get(record.kind, "-")
    return f"{kind}{record.mode:04o} {record.uid}:{record.gid} {record.size:>10} {shown(path)}{target}"
