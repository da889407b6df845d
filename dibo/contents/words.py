"""Words for what changed in a pair of records: the same in text and on pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

from dibo.contents.capabilities import ATTRIBUTE, capability_names
from dibo.contents.comparison import FileChange, Pair
from dibo.contents.inventory import (
    FileRecord,
    GroupRecord,
    KernelRecord,
    PartitionRecord,
    Unit,
    UserRecord,
    shown,
)
from dibo.units import human_size

T = TypeVar("T")
ARROW: Final = "→"
"""Between what was and what is."""


def capabilities(record: FileRecord) -> str:
    """The capabilities that a file may get, between commas; empty for none."""
    value = record.xattrs.get(ATTRIBUTE)
    return "" if value is None else ",".join(capability_names(value))


def described(record: FileRecord) -> str:
    """A file that is in one image alone: `file 0755, 12 KiB`."""
    size = f", {human_size(record.size)}" if record.kind == "file" else ""
    target = f" {ARROW} {record.target.decode(errors='backslashreplace')}" if record.kind == "symlink" else ""
    mode = f" {record.mode:04o}" if record.kind != "symlink" else ""
    owner = f" {record.uid}:{record.gid}" if record.uid or record.gid else ""
    capability = f", {capabilities(record)}" if ATTRIBUTE in record.xattrs else ""
    return f"{record.kind}{mode}{owner}{size}{target}{capability}"


def file_words(change: FileChange) -> str:
    """What changed of a file, or what it is."""
    old, new = change.before, change.after
    if old is None or new is None:
        record = new or old
        return described(record) if record is not None else ""
    return ", ".join(_aspect(aspect, old, new) for aspect in change.aspects)


def _aspect(aspect: str, old: FileRecord, new: FileRecord) -> str:
    match aspect:
        case "type":
            return f"{old.kind} {ARROW} {new.kind}"
        case "size":
            return f"{_size(old.size, new.size)}"
        case "target":
            before, after = (r.target.decode(errors="backslashreplace") for r in (old, new))
            return f"target {before} {ARROW} {after}"
        case "device":
            return f"device {old.device[0]}:{old.device[1]} {ARROW} {new.device[0]}:{new.device[1]}"
        case "mode":
            return f"mode {old.mode:04o} {ARROW} {new.mode:04o}"
        case "owner":
            return f"owner {old.uid} {ARROW} {new.uid}"
        case "group":
            return f"group {old.gid} {ARROW} {new.gid}"
        case "xattrs":
            return "; ".join(_xattrs(old, new))
        case "content":
            return f"other content ({human_size(new.size)})"
    return aspect


def _size(old: int, new: int) -> str:
    before, after = human_size(old), human_size(new)
    return f"{before} {ARROW} {after}" if before != after else f"{old} {ARROW} {new} bytes"


def _xattrs(old: FileRecord, new: FileRecord) -> Iterator[str]:
    for name in sorted(old.xattrs.keys() | new.xattrs.keys()):
        before, after = old.xattrs.get(name), new.xattrs.get(name)
        if before == after:
            continue
        if name == ATTRIBUTE:
            words = [capabilities(record) or "none" for record in (old, new)]
            same = " (other flags)" if words[0] == words[1] else ""
            yield f"capabilities {words[0]} {ARROW} {words[1]}{same}"
            continue
        state = "added" if before is None else "removed" if after is None else "changed"
        yield f"{name.decode(errors='backslashreplace')} {state}"


def unit_words(pair: Pair[Unit]) -> str:
    return _changed(
        pair, ("state", "description", "start", "listen", "wanted_by", "path", "preset", "package"), "state"
    )


def user_words(pair: Pair[UserRecord]) -> str:
    return _changed(pair, ("uid", "gid", "home", "shell", "comment", "password"), "uid")


def group_words(pair: Pair[GroupRecord]) -> str:
    return _changed(pair, ("gid", "members"), "gid")


def kernel_words(pair: Pair[KernelRecord]) -> str:
    return _changed(pair, ("path", "ramdisks", "arguments"), "path")


def partition_words(pair: Pair[PartitionRecord]) -> str:
    fields = ("start", "size", "filesystem", "label", "uuid", "mounted", "trouble")
    return _changed(pair, fields, "filesystem")


def _changed(pair: Pair[T], fields: tuple[str, ...], first: str) -> str:
    """Fields that changed; of a record that is in one image alone, `first`."""
    if pair.before is None or pair.after is None:
        value = _text(getattr(pair.after or pair.before, first))
        return f"{first} {value}" if first in ("uid", "gid") else value
    changes = []
    for name in fields:
        before, after = getattr(pair.before, name), getattr(pair.after, name)
        if before != after:
            label = "" if name == first else f"{name.replace('_', ' ')} "
            changes.append(f"{label}{_text(before)} {ARROW} {_text(after)}")
    return ", ".join(changes)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return shown(value)
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None or value == "" else str(value)
