"""Compares two images, by their inventories; bytes of files only where all else leaves it open.

    files of one layer (by its diff_id) at one path     the same: nothing is read
    another type, another size                          differ: nothing is read
    digests that reading told                           compared
    what is left                                        hashed, in both images

`dibo diff` prints what this returns, and `dibo verify` what it returns of files and partitions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Final, TypeVar

from dibo.contents.comparison import (
    SECTIONS,
    Comparison,
    DirectorySize,
    FileChange,
    LayerComparison,
    Pair,
)
from dibo.contents.inventory import (
    NO_LAYER,
    FileRecord,
    InstalledPackage,
    Inventory,
    KernelRecord,
    PartitionRecord,
)
from dibo.contents.noise import Excluded, is_noise, is_noisy_content
from dibo.contents.read import OpenedContents

_SECOND: Final = 1_000_000_000
_DATABASES: Final = (b"var/lib/dpkg/", b"var/lib/apt/", b"lib/apk/", b"usr/lib/apk/", b"etc/apk/world")
_DEPTH: Final = 2
_SYSTEM: Final = ("ID", "VERSION_ID", "VERSION_CODENAME", "PRETTY_NAME")
NOISE: Final = "logs, caches, ids"
TIMES: Final = "times"
EXCLUDED: Final = "excluded"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """`noise`: what differs between any two images counts, too; `times`: those of files do. `owners`: whether owners,
    permissions and devices count, which an ordinary user cannot give to files."""

    sections: tuple[str, ...] = tuple(SECTIONS)
    exclude: tuple[str, ...] = ()
    noise: bool = False
    times: bool = False
    owners: bool = True


@dataclass(slots=True)
class _Counted:
    left_out: dict[str, int] = field(default_factory=dict)
    unread: list[bytes] = field(default_factory=list)

    def add(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


_DEFAULT: Final = CompareOptions()


def compare(before: OpenedContents, after: OpenedContents, options: CompareOptions = _DEFAULT) -> Comparison:
    """What differs. Raises DiboError where bytes of an image cannot be read."""
    first, second = before.inventory, after.inventory
    sections = tuple(section for section in SECTIONS if section in options.sections)
    counted = _Counted()
    packages = tuple(_packages(first, second))
    files: tuple[FileChange, ...] = ()
    notes: list[str] = [*(f"{side.name}: {note}" for side in (first, second) for note in side.notes)]
    if "files" in sections:
        files = tuple(_with_packages(_files(before, after, options, counted), packages))

    def asked(section: str, pairs: Callable[[], Iterable[T]]) -> tuple[T, ...]:
        return tuple(pairs()) if section in sections else ()

    return Comparison(
        before=first,
        after=second,
        sections=sections,
        system=asked("system", lambda: _system(first, second)),
        packages=packages if "packages" in sections else (),
        files=files,
        units=asked("units", lambda: _pairs(_by_name(first.units), _by_name(second.units))),
        users=asked("users", lambda: _pairs(_by_name(first.users), _by_name(second.users))),
        groups=asked("groups", lambda: _pairs(_by_name(first.groups), _by_name(second.groups))),
        kernels=asked("kernels", lambda: _kernels(first, second)),
        config=asked("config", lambda: _configs(first, second)),
        partitions=asked("partitions", lambda: _partitions(first, second, options)),
        layers=_layers(first, second) if "layers" in sections else None,
        directories=asked("sizes", lambda: _directories(first, second)),
        left_out=counted.left_out,
        unread=tuple(counted.unread),
        notes=tuple(notes),
    )


# Files


def _files(
    before: OpenedContents,
    after: OpenedContents,
    options: CompareOptions,
    counted: _Counted,
) -> Iterator[FileChange]:
    excluded = Excluded(options.exclude)
    pairs: list[tuple[bytes, FileRecord | None, FileRecord | None]] = []
    undecided: list[bytes] = []
    first, second = before.inventory, after.inventory
    names = [layer.diff_id for layer in first.layers], [layer.diff_id for layer in second.layers]
    for path, old, new in _joined(first, second):
        if old is not None and new is not None:
            if _same_layer(old, new, names):
                continue
            if excluded(path) and _same_record(old, new):
                continue
            if old.kind == new.kind == "file" and old.size == new.size and old.size:
                if not (old.digest and new.digest) and (options.noise or not is_noise(path)):
                    undecided.append(path)
            elif _same_record(old, new):
                continue
        if excluded(path):
            counted.add(EXCLUDED)
        else:
            pairs.append((path, old, new))
    digests = (before.digests(undecided), after.digests(undecided)) if undecided else ({}, {})
    unread = [path for path in undecided if not (path in digests[0] and path in digests[1])]
    if unread:
        counted.unread += unread
    for path, old, new in pairs:
        change = FileChange(path=path, before=old, after=new)
        if old is not None and new is not None:
            known = digests[0].get(path, old.digest), digests[1].get(path, new.digest)
            aspects = tuple(_aspects(old, new, known, options))
            change = FileChange(path=path, before=old, after=new, aspects=aspects)
            if not aspects:
                continue
        reported = _without_noise(change, options, counted)
        if reported is not None:
            yield reported


def _joined(
    first: Inventory, second: Inventory
) -> Iterator[tuple[bytes, FileRecord | None, FileRecord | None]]:
    """Both, in the order of paths; the root itself first."""
    yield b"", first.root, second.root
    old, new = first.files, second.files
    added = [path for path in new if path not in old]
    if not added:
        yield from ((path, record, new.get(path)) for path, record in old.items())
        return
    for path in sorted((*old, *added), key=lambda path: path.split(b"/")):
        yield path, old.get(path), new.get(path)


def _same_layer(old: FileRecord, new: FileRecord, diff_ids: tuple[list[str], list[str]]) -> bool:
    if old.layer == NO_LAYER or new.layer == NO_LAYER or old.kind == "directory":
        return False
    brought = diff_ids[0][old.layer]
    return bool(brought) and brought == diff_ids[1][new.layer]


def _same_record(old: FileRecord, new: FileRecord) -> bool:
    """All that is recorded, but for layer, package and digest."""
    return all(getattr(old, name) == getattr(new, name) for name in _RECORDED)


_RECORDED: Final = ("kind", "mode", "uid", "gid", "size", "mtime", "target", "device", "xattrs", "first_name")


def _aspects(
    old: FileRecord, new: FileRecord, digests: tuple[str, str], options: CompareOptions
) -> Iterator[str]:
    if old.kind != new.kind:
        yield "type"
        return
    if old.size != new.size and old.kind == "file":
        yield "size"
    elif digests[0] != digests[1] and all(digests):
        yield "content"
    if old.target != new.target:
        yield "target"
    if options.owners:
        for name, aspect in (("device", "device"), ("mode", "mode"), ("uid", "owner"), ("gid", "group")):
            if getattr(old, name) != getattr(new, name) and not (name == "mode" and old.kind == "symlink"):
                yield aspect
    if old.xattrs != new.xattrs:
        yield "xattrs"
    if options.times and old.mtime // _SECOND != new.mtime // _SECOND:
        yield "time"


def _without_noise(change: FileChange, options: CompareOptions, counted: _Counted) -> FileChange | None:
    """None where nothing of it is to be reported."""
    lone = change.after if change.before is None else change.before if change.after is None else None
    if not options.owners and lone is not None and lone.kind.endswith("device"):
        return None
    if options.noise:
        return change
    if is_noise(change.path):
        counted.add(NOISE)
        return None
    if is_noisy_content(change.path) and change.aspects:
        aspects = tuple(aspect for aspect in change.aspects if aspect not in ("content", "size"))
        if aspects != change.aspects:
            counted.add(NOISE)
        return (
            FileChange(path=change.path, before=change.before, after=change.after, aspects=aspects)
            if aspects
            else None
        )
    return change


def _with_packages(
    changes: Iterable[FileChange], packages: tuple[Pair[InstalledPackage], ...]
) -> Iterator[FileChange]:
    """Say of each whether packages that changed explain it."""
    names = {pair.name.partition(":")[0] for pair in packages}
    for change in changes:
        owners = {record.package for record in (change.before, change.after) if record is not None}
        of_package = bool(owners & names) or (bool(names) and change.path.startswith(_DATABASES))
        yield FileChange(
            path=change.path,
            before=change.before,
            after=change.after,
            aspects=change.aspects,
            of_package=of_package,
        )


# Everything else


def _packages(first: Inventory, second: Inventory) -> Iterator[Pair[InstalledPackage]]:
    """By name, with the architecture where an image has a package for several."""
    listed = first.packages or (), second.packages or ()
    counts: dict[str, set[str]] = {}
    for package in (*listed[0], *listed[1]):
        counts.setdefault(package.name, set()).add(package.architecture)

    def name(package: InstalledPackage) -> str:
        several = len(counts[package.name]) > 1
        return f"{package.name}:{package.architecture}" if several else package.name

    old, new = ({name(package): package for package in packages} for packages in listed)
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before is None or after is None or before.version != after.version:
            yield Pair(name=key, before=before, after=after)


def _by_name(records: Iterable[T]) -> dict[str, T]:
    return {str(getattr(record, "name")): record for record in records}  # noqa: B009 (of several classes)


def _pairs(old: Mapping[str, T], new: Mapping[str, T]) -> Iterator[Pair[T]]:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield Pair(name=key, before=old.get(key), after=new.get(key))


def _system(first: Inventory, second: Inventory) -> Iterator[Pair[str]]:
    """The architecture only where both say it, which a tar or a directory may not."""
    old, new = (
        {name: side.os_release[name] for name in _SYSTEM if side.os_release.get(name)}
        for side in (first, second)
    )
    if first.architecture and second.architecture:
        old["architecture"], new["architecture"] = first.architecture, second.architecture
    return _pairs(old, new)


def _kernels(first: Inventory, second: Inventory) -> Iterator[Pair[KernelRecord]]:
    old, new = ({kernel.version: kernel for kernel in inventory.kernels} for inventory in (first, second))
    return _pairs(old, new)


def _configs(first: Inventory, second: Inventory) -> Iterator[Pair[str]]:
    """Of two container images."""
    if first.form != "image" or second.form != "image":
        return iter(())
    return _pairs(_config(first), _config(second))


def _config(inventory: Inventory) -> dict[str, str]:
    """How an image is run, a line for each variable and label; the keys and ingredients of layers are no config."""
    settings: dict[str, str] = {}
    for name, value in inventory.config.items():
        if name == "Env" and isinstance(value, list):
            settings |= {f"Env {line.partition('=')[0]}": line.partition("=")[2] for line in map(str, value)}
        elif name not in ("Labels", "Env") and value not in (None, "", [], {}):
            settings[str(name)] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    settings |= {
        f"Label {name}": value for name, value in inventory.labels.items() if not name.startswith("io.dibo.")
    }
    return settings


def _partitions(
    first: Inventory, second: Inventory, options: CompareOptions
) -> Iterator[Pair[PartitionRecord]]:
    """Of two disks. UUIDs derive from the key of an image, so they differ wherever contents do."""
    if first.form != "disk" or second.form != "disk":
        return
    old, new = ({str(part.number): part for part in side.partitions} for side in (first, second))
    compared = [f.name for f in fields(PartitionRecord) if options.noise or f.name != "uuid"]
    for key in sorted(old.keys() | new.keys(), key=int):
        before, after = old.get(key), new.get(key)
        if any(getattr(before, name, None) != getattr(after, name, None) for name in compared):
            yield Pair(name=key, before=before, after=after)


def _layers(first: Inventory, second: Inventory) -> LayerComparison:
    return LayerComparison(shared=shared_layers(first, second), before=first.layers, after=second.layers)


def shared_layers(first: Inventory, second: Inventory) -> int:
    """How many layers at the bottom are the same."""
    count = 0
    for old, new in zip(first.layers, second.layers, strict=False):
        if not old.diff_id or old.diff_id != new.diff_id:
            break
        count += 1
    return count


def _directories(first: Inventory, second: Inventory) -> Iterator[DirectorySize]:
    old, new = _sizes(first), _sizes(second)
    changed = [name for name in old.keys() | new.keys() if old.get(name, 0) != new.get(name, 0)]
    for name in sorted(changed, key=lambda name: (-abs(new.get(name, 0) - old.get(name, 0)), name)):
        path = "/" + name.decode(errors="backslashreplace")
        yield DirectorySize(path=path, before=old.get(name, 0), after=new.get(name, 0))


def _sizes(inventory: Inventory) -> dict[bytes, int]:
    """Bytes below each directory of the first two levels."""
    sizes: dict[bytes, int] = {}
    for path, record in inventory.files.items():
        if record.kind == "file" and record.size and not record.first_name:
            name = b"/".join(path.split(b"/")[:-1][:_DEPTH])
            sizes[name] = sizes.get(name, 0) + record.size
    return sizes
