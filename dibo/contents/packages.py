"""Packages of a tree, and which of them a file belongs to: by dpkg and apk. Of rpm only that it is there.

/var/lib/dpkg/info/NAME[:ARCHITECTURE].list   the paths of a package, one a line (dpkg(1))
/lib/apk/db/installed                         paragraphs of `X:value`: P name, V version, A architecture,
                                              I installed size, o source, F directory, R file in it (apk v2, v3)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dibo.contents.inventory import InstalledPackage
from dibo.tree import dpkg
from dibo.tree.node import Node
from dibo.tree.query import find, names_in

_INFO: Final = "/var/lib/dpkg/info"
_LIST: Final = b".list"
_APK: Final = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_RPM: Final = ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm")
_DIVERTED: Final = 3


class PackageDatabase:
    """`packages` sorted, None where there is no database that dibo reads; `owners` by path without the first slash."""

    def __init__(self, root: Node) -> None:
        packages = [*_of_dpkg(root), *_of_apk(root)]
        known = bool(dpkg.databases(root)) or _apk_text(root) is not None
        self.packages = tuple(sorted(set(packages))) if known else None
        self.owners = {**_dpkg_owners(root), **_apk_owners(root)}
        self.notes = tuple(_rpm_notes(root))


def _of_dpkg(root: Node) -> Iterator[InstalledPackage]:
    for text in dpkg.databases(root):
        for fields in dpkg.installed_paragraphs(text):
            kib = fields.get("Installed-Size", "")
            yield InstalledPackage(
                name=fields["Package"],
                architecture=fields.get("Architecture", ""),
                version=fields.get("Version", ""),
                manager="dpkg",
                size=int(kib) << 10 if kib.isascii() and kib.isdigit() and len(kib) < 16 else 0,
                source=fields.get("Source", "").split(" ")[0],
                summary=fields.get("Description", ""),
            )


def _dpkg_owners(root: Node) -> dict[bytes, str]:
    """A directory that several packages have belongs to none, a file to the last that has it."""
    owners: dict[bytes, str] = {}
    directory = find(root, _INFO)
    for name in names_in(root, _INFO):
        node = (directory.children or {}).get(name) if directory is not None else None
        if not name.endswith(_LIST) or node is None or node.data is None:
            continue
        package = name.removesuffix(_LIST).partition(b":")[0].decode(errors="replace")
        for line in node.data.splitlines():
            path = line.removeprefix(b"/")
            if path and path != b".":
                owners[path] = package if owners.get(path, package) == package else ""
    diversions = find(root, "/var/lib/dpkg/diversions")
    if diversions is not None and diversions.data:
        lines = diversions.data.splitlines()
        for at in range(0, len(lines) - _DIVERTED + 1, _DIVERTED):
            original, moved, by = (line.removeprefix(b"/") for line in lines[at : at + _DIVERTED])
            owner = owners.pop(original, "")
            if owner and owner != by.decode(errors="replace"):
                owners[moved] = owner
    return owners


def _apk_text(root: Node) -> str | None:
    nodes = (find(root, path) for path in _APK)
    return next(
        (n.data.decode(errors="replace") for n in nodes if n is not None and n.data is not None), None
    )


def _apk_fields(root: Node) -> Iterator[list[tuple[str, str]]]:
    for paragraph in (_apk_text(root) or "").split("\n\n"):
        fields = [(line[0], line[2:]) for line in paragraph.splitlines() if line[1:2] == ":"]
        if fields:
            yield fields


def _of_apk(root: Node) -> Iterator[InstalledPackage]:
    for fields in _apk_fields(root):
        first = dict(reversed(fields))
        if "P" in first:
            size = first.get("I", "")
            yield InstalledPackage(
                name=first["P"],
                architecture=first.get("A", ""),
                version=first.get("V", ""),
                manager="apk",
                size=int(size) if size.isascii() and size.isdigit() and len(size) < 16 else 0,
                source=first.get("o", "") if first.get("o") != first["P"] else "",
                summary=first.get("T", ""),
            )


def _apk_owners(root: Node) -> dict[bytes, str]:
    owners: dict[bytes, str] = {}
    for fields in _apk_fields(root):
        package = dict(reversed(fields)).get("P", "")
        directory = ""
        for letter, value in fields:
            if letter == "F":
                directory = value
            elif letter == "R":
                path = f"{directory}/{value}" if directory else value
                owners[path.encode(errors="surrogateescape")] = package
    return owners


def _rpm_notes(root: Node) -> Iterator[str]:
    for path in _RPM:
        if any(name.startswith((b"rpmdb", b"Packages")) for name in names_in(root, path)):
            yield f"packages of rpm are not read: their database is in {path}"
            return
