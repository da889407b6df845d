"""Words for what changed in a pair of records: the same in text and on pages."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, TypeVar

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

_CAPABILITY: Final = b"security.capability"
_CAPABILITIES: Final = (
    *("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"),
    *(
        "linux_immutable",
        "net_bind_service",
        "net_broadcast",
        "net_admin",
        "net_raw",
        "ipc_lock",
        "ipc_owner",
    ),
    *(
        "sys_module",
        "sys_rawio",
        "sys_chroot",
        "sys_ptrace",
        "sys_pacct",
        "sys_admin",
        "sys_boot",
        "sys_nice",
    ),
    *(
        "sys_resource",
        "sys_time",
        "sys_tty_config",
        "mknod",
        "lease",
        "audit_write",
        "audit_control",
        "setfcap",
    ),
    *("mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf"),
    "checkpoint_restore",
)
"""By number: include/uapi/linux/capability.h of the kernel."""
_EFFECTIVE: Final = 1
_REVISION: Final = 0xFF000000
_WORDS: Final = {0x01000000: 1, 0x02000000: 2, 0x03000000: 2}
"""How many pairs of sets each revision of the attribute has."""
T = TypeVar("T")
ARROW: Final = "→"
"""Between what was and what is."""


def capabilities(record: FileRecord) -> str:
    """The capabilities of a file as getcap(8) writes them, empty for none; those that cannot be read in hexadecimal."""
    value = record.xattrs.get(_CAPABILITY)
    if value is None:
        return ""
    try:
        (head,) = struct.unpack_from("<I", value)
        sets = struct.unpack_from(f"<{2 * _WORDS[head & _REVISION]}I", value, 4)
    except (struct.error, KeyError):
        return value.hex()
    permitted = sum(word << 32 * number for number, word in enumerate(sets[::2]))
    inheritable = sum(word << 32 * number for number, word in enumerate(sets[1::2]))
    flags = ("e" if head & _EFFECTIVE else "") + ("i" if inheritable else "") + ("p" if permitted else "")
    names = [_named(number) for number in range(64) if (permitted | inheritable) >> number & 1]
    return f"{','.join(names)}={flags}" if names else f"={flags}"


def _named(number: int) -> str:
    return f"cap_{_CAPABILITIES[number]}" if number < len(_CAPABILITIES) else str(number)


def described(record: FileRecord) -> str:
    """A file that is in one image alone: `file 0755, 12 KiB`."""
    size = f", {human_size(record.size)}" if record.kind == "file" else ""
    target = f" {ARROW} {record.target.decode(errors='backslashreplace')}" if record.kind == "symlink" else ""
    mode = f" {record.mode:04o}" if record.kind != "symlink" else ""
    owner = f" {record.uid}:{record.gid}" if record.uid or record.gid else ""
    capability = f", {capabilities(record)}" if _CAPABILITY in record.xattrs else ""
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
        if name == _CAPABILITY:
            yield f"capabilities {capabilities(old) or 'none'} {ARROW} {capabilities(new) or 'none'}"
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
        return _text(getattr(pair.after or pair.before, first))
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
