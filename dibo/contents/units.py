"""Units of systemd and whether they are enabled, as their files and links say; nothing is run (systemd.unit(5)).

    /etc/systemd/system  >  /usr/lib/systemd/system, /lib/systemd/system     the first that has a name counts
    NAME -> /dev/null                masked (an empty file is, too)
    NAME -> OTHER                    an alias
    TARGET.requires/NAME             the target starts it; such a link in /etc is what `enable` makes
    [Install]                        with WantedBy, RequiredBy, Alias a unit can be enabled; with Also alone indirectly
    *.preset                         enable|disable GLOB…; the first line that matches counts (systemd.preset(5))

Directories TARGET.requires have two siblings, `.upholds` and the weaker one that most units use.
"""

from __future__ import annotations

import fnmatch
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dibo.contents.inventory import Unit
from dibo.tree.node import Node
from dibo.tree.query import find, names_in

_ADMIN: Final = "etc/systemd/system"
_VENDOR: Final = ("usr/lib/systemd/system", "lib/systemd/system")
_PRESETS: Final = (
    "/etc/systemd/system-preset",
    "/usr/lib/systemd/system-preset",
    "/lib/systemd/system-preset",
)
_NAME: Final = re.compile(
    rb"[^/]+\.(?:service|socket|target|timer|path|mount|automount|swap|slice|scope|device)"
)
_PULLS: Final = (b".wants", b".requires", b".upholds")
_MOST_TEXT: Final = 256 << 10
_MOST_PRESETS: Final = 4096
_INSTALLS: Final = {"WantedBy", "RequiredBy", "UpheldBy", "Alias"}
Sections = dict[str, dict[str, list[str]]]
Presets = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Links:
    """`pulled`: of each unit what pulls it in, and whether the administrator's link does so. `aliased`: units that have
    another name by the administrator's link."""

    pulled: Mapping[str, list[tuple[str, bool]]]
    aliased: set[bytes]


def units(root: Node, owners: Mapping[bytes, str]) -> tuple[Unit, ...]:
    """Sorted by name. `owners` has packages by path without the first slash."""
    directories = _directories(root)
    chosen: dict[bytes, tuple[bytes, Node]] = {}
    for directory, node in directories:
        for name, child in (node.children or {}).items():
            if _NAME.fullmatch(name) and child.children is None:
                chosen.setdefault(name, (directory.encode() + b"/" + name, child))
    links = _Links(pulled=_pulled(directories), aliased=_aliased(directories))
    presets = _presets(root)
    return tuple(
        _unit(root, *chosen[name], links=links, presets=presets, owners=owners) for name in sorted(chosen)
    )


def _directories(root: Node) -> list[tuple[str, Node]]:
    """Those that are there, the first of each two that are one."""
    directories: list[tuple[str, Node]] = []
    for path in (_ADMIN, *_VENDOR):
        node = find(root, path)
        if (
            node is not None
            and node.children is not None
            and all(node is not known for _, known in directories)
        ):
            directories.append((path, node))
    return directories


def _pulled(directories: list[tuple[str, Node]]) -> dict[str, list[tuple[str, bool]]]:
    """Of each unit: what pulls it in, and whether a link of the administrator's does so."""
    pulled: dict[str, list[tuple[str, bool]]] = {}
    for directory, node in directories:
        for name, child in (node.children or {}).items():
            base, dot, _ = name.rpartition(b".")
            if child.children is None or name[len(base) :] not in _PULLS or not dot:
                continue
            for unit in child.children:
                by = (base.decode(errors="replace"), directory == _ADMIN)
                pulled.setdefault(unit.decode(errors="replace"), []).append(by)
                if template := _template(unit):
                    pulled.setdefault(template.decode(errors="replace"), []).append(by)
    return pulled


def _template(unit: bytes) -> bytes:
    """Of an instance `getty@tty1.service` the template `getty@.service`; nothing of other units."""
    base, dot, suffix = unit.rpartition(b".")
    name, at, instance = base.partition(b"@")
    return name + at + dot + suffix if instance else b""


def _aliased(directories: list[tuple[str, Node]]) -> set[bytes]:
    """Units that the administrator's links give other names, which is another way to enable them."""
    children = next((node.children or {} for path, node in directories if path == _ADMIN), {})
    return {
        node.target.rpartition(b"/")[2]
        for name, node in children.items()
        if stat.S_ISLNK(node.mode) and node.target.rpartition(b"/")[2] != name
    }


def _unit(
    root: Node, path: bytes, node: Node, *, links: _Links, presets: Presets, owners: Mapping[bytes, str]
) -> Unit:
    name = path.rpartition(b"/")[2]
    text_name = name.decode(errors="replace")
    by = links.pulled.get(text_name, [])
    sections = _sections(find(root, path) if stat.S_ISLNK(node.mode) else node)
    enabled = name in links.aliased or any(admin for _, admin in by)
    state = _state(name, node, sections.get("Install", {}), enabled=enabled)
    listed = sections.get("Socket", {})
    return Unit(
        name=text_name,
        path=path,
        state=state,
        preset=_preset(text_name, presets) if state in ("enabled", "disabled") else "",
        description=next(iter(sections.get("Unit", {}).get("Description", ())), ""),
        wanted_by=tuple(sorted({unit for unit, _ in by})),
        listen=tuple(value for key, values in listed.items() if key.startswith("Listen") for value in values),
        start=next(iter(sections.get("Service", {}).get("ExecStart", ())), ""),
        package=owners.get(path, "") or owners.get(_other_name(path), ""),
    )


def _other_name(path: bytes) -> bytes:
    """The same in /lib or /usr/lib, which are one where /usr is merged; dpkg knows the name of the package alone."""
    return path.removeprefix(b"usr/") if path.startswith(b"usr/") else b"usr/" + path


def _state(name: bytes, node: Node, install: Mapping[str, list[str]], *, enabled: bool) -> str:
    if stat.S_ISLNK(node.mode):
        if node.target == b"/dev/null":
            return "masked"
        if node.target.rpartition(b"/")[2] != name:
            return "alias"
    elif stat.S_ISREG(node.mode) and not node.size:
        return "masked"
    if enabled:
        return "enabled"
    if install.keys() & _INSTALLS:
        return "disabled"
    return "indirect" if "Also" in install else "static"


def _sections(node: Node | None) -> Sections:
    """Lines `Key=Value` by section; one that ends with a backslash goes on; an empty value takes back those before."""
    data = node.data if node is not None and node.data is not None else b""
    sections: Sections = {}
    current: dict[str, list[str]] = {}
    text = data[:_MOST_TEXT].decode(errors="replace").replace("\\\n", " ")
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            current = sections.setdefault(line[1:-1], {})
        elif line and line[0] not in "#;" and "=" in line:
            key, _, value = line.partition("=")
            values = current.setdefault(key.strip(), [])
            if value.strip():
                values.append(value.strip())
            else:
                values.clear()
    return sections


def _presets(root: Node) -> Presets:
    """(word, glob) in the order in which they count: files by name, one of /etc in place of that of /usr/lib."""
    files: dict[bytes, Node] = {}
    for directory in _PRESETS:
        for name in names_in(root, directory):
            node = find(root, f"{directory}/{name.decode(errors='surrogateescape')}")
            if name.endswith(b".preset") and node is not None:
                files.setdefault(name, node)
    lines = (line for name in sorted(files) for line in _words(files[name]))
    return [(words[0], words[1]) for words in lines if len(words) >= 2 and words[0] in ("enable", "disable")][
        :_MOST_PRESETS
    ]


def _words(node: Node) -> Iterator[list[str]]:
    for line in (node.data or b"")[:_MOST_TEXT].decode(errors="replace").splitlines():
        yield line.split("#")[0].split()


def _preset(name: str, presets: Presets) -> str:
    return next((f"{word}d" for word, glob in presets if fnmatch.fnmatchcase(name, glob)), "")
