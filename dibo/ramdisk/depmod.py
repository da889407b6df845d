"""The files by which kmod and busybox find kernel modules, for a part of what depmod(8) indexed.

The texts (modules.dep(5)) are cut down to the modules that stay; busybox reads them. kmod reads only the indexes
beside them, `modules.*.bin`, which are tries (libkmod-index.c), all numbers big-endian:

    file    magic B007F457   version 00020001   offset of the root node   nodes, children before their parent
    node    prefix, zero     if bit 31 of its offset is set: what all below begin with
            first, last, an offset for each byte from first to last     if bit 29 is set
            number of values, then for each its rank and text, zero     if bit 30 is set

What is built into the kernel is the same whatever modules stay, and is copied.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

_MAGIC: Final = 0xB007F457
_VERSION: Final = 0x00020001
_PREFIX: Final = 0x80000000
_VALUES: Final = 0x40000000
_CHILDREN: Final = 0x20000000

COPIED: Final = (
    "modules.builtin",
    "modules.builtin.bin",
    "modules.builtin.alias.bin",
    "modules.builtin.modinfo",
)
"""Files that do not depend on which modules are there."""


def module_name(path: str) -> str:
    """`kernel/drivers/net/virtio-net.ko.xz` is the module virtio_net."""
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def normal(alias: str) -> str:
    """An alias as the index has it: `-` is `_`, except between brackets."""
    parts, inside = [], False
    for char in alias:
        inside = (inside or char == "[") and char != "]"
        parts.append("_" if char == "-" and not inside else char)
    return "".join(parts)


@dataclass(slots=True)
class _Branch:
    prefix: bytes
    children: dict[int, _Branch] = field(default_factory=dict)
    values: list[tuple[int, bytes]] = field(default_factory=list)


def index(entries: Iterable[tuple[str, str, int]]) -> bytes:
    """An index of (key, value, rank); values of one key are sorted by rank."""
    root = _Branch(b"")
    for key, value, rank in entries:
        branch = _branch(root, key.encode())
        place = sum(1 for other_rank, _ in branch.values if other_rank < rank)
        branch.values.insert(place, (rank, value.encode()))
    out = bytearray(struct.pack(">III", _MAGIC, _VERSION, 0))
    struct.pack_into(">I", out, 8, _write(root, out))
    return bytes(out)


def _branch(branch: _Branch, key: bytes) -> _Branch:
    """The node for a key, made if need be."""
    while True:
        same = 0
        while same < min(len(branch.prefix), len(key)) and branch.prefix[same] == key[same]:
            same += 1
        if same < len(branch.prefix):  # split
            lower = _Branch(branch.prefix[same + 1 :], branch.children, branch.values)
            branch.children, branch.values = {branch.prefix[same]: lower}, []
            branch.prefix = branch.prefix[:same]
        if same == len(key):
            return branch
        following = branch.children.get(key[same])
        if following is None:
            branch.children[key[same]] = made = _Branch(key[same + 1 :])
            return made
        branch, key = following, key[same + 1 :]


def _write(branch: _Branch, out: bytearray) -> int:
    first, last = (min(branch.children), max(branch.children)) if branch.children else (0, -1)
    offsets = [
        _write(branch.children[byte], out) if byte in branch.children else 0
        for byte in range(first, last + 1)
    ]
    place = len(out)
    if branch.prefix:
        out += branch.prefix + b"\0"
        place |= _PREFIX
    if offsets:
        out += struct.pack(f">BB{len(offsets)}I", first, last, *offsets)
        place |= _CHILDREN
    if branch.values:
        out += struct.pack(">I", len(branch.values))
        for rank, value in branch.values:
            out += struct.pack(">I", rank) + value + b"\0"
        place |= _VALUES
    return place


def depmod(texts: Mapping[str, str], keep: Collection[str], *, paths: Mapping[str, str]) -> dict[str, bytes]:
    """The files for the modules named in `keep`, by their names. `texts` are modules.dep, modules.alias,
    modules.symbols, modules.softdep, modules.weakdep, modules.devname and modules.order of all modules; `paths` says
    where a module lies that does not lie where modules.dep has it."""
    chosen = set(keep)
    dep: list[tuple[str, str]] = []
    for line in texts.get("modules.dep", "").splitlines():
        path, _, needs = line.partition(":")
        if (name := module_name(path)) in chosen:
            words = [paths.get(module_name(word), word) for word in (path, *needs.split())]
            dep.append((name, f"{words[0]}:{''.join(f' {word}' for word in words[1:])}"))
    rank = {name: place for place, (name, _) in enumerate(dep)}
    aliases = _pairs(texts.get("modules.alias", ""), chosen)
    symbols = _pairs(texts.get("modules.symbols", ""), chosen)
    files = {
        "modules.dep": "".join(f"{line}\n" for _, line in dep).encode(),
        "modules.dep.bin": index((name, line, rank[name]) for name, line in dep),
        "modules.alias": _text(aliases),
        "modules.alias.bin": index(
            (normal(alias), name, rank[name]) for alias, name in aliases if name in rank
        ),
        "modules.symbols": _text(symbols),
        "modules.symbols.bin": index((alias, name, rank[name]) for alias, name in symbols if name in rank),
    }
    for name, place in (("modules.softdep", 1), ("modules.weakdep", 1), ("modules.devname", 0)):
        if name in texts:
            lines = texts[name].splitlines()
            kept = [line for line in lines if line.startswith("#") or _word(line, place) in chosen]
            files[name] = "".join(f"{line}\n" for line in kept).encode()
    order = [line for line in texts.get("modules.order", "").splitlines() if module_name(line) in chosen]
    files["modules.order"] = "".join(f"{line}\n" for line in order).encode()
    return files


def aliases_of(text: str) -> list[tuple[str, str]]:
    """(alias, module) of the lines `alias ALIAS MODULE`; an alias may hold blanks."""
    pairs = []
    for line in text.splitlines():
        if line.startswith("alias "):
            alias, _, name = line[len("alias ") :].rpartition(" ")
            pairs.append((alias, name))
    return pairs


def _pairs(text: str, keep: Collection[str]) -> list[tuple[str, str]]:
    """Those of the modules that stay."""
    return [(alias, name) for alias, name in aliases_of(text) if name in keep]


def _text(pairs: list[tuple[str, str]]) -> bytes:
    return "".join(f"alias {alias} {name}\n" for alias, name in pairs).encode()


def _word(line: str, place: int) -> str:
    words = line.split()
    return words[place].replace("-", "_") if len(words) > place else ""
