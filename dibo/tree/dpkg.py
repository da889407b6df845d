"""Which packages a finished tree has installed, by what dpkg keeps of them: dpkg(1), deb-control(5).

    /var/lib/dpkg/status       a paragraph for each package
    /var/lib/dpkg/status.d/*   the same, a file for each: images that have no dpkg

Of other package managers nothing is known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dibo.tree.node import Node
from dibo.tree.query import find, names_in

_DIRECTORY: Final = "/var/lib/dpkg/status.d"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Package:
    name: str
    version: str
    architecture: str


def installed(root: Node) -> tuple[Package, ...] | None:
    """Sorted by name; None where there is no such database. Its files must be in memory
    (Node.data)."""
    texts = databases(root)
    return tuple(sorted({package for text in texts for package in parse(text)})) if texts else None


def databases(root: Node) -> list[str]:
    """The texts of its databases that are in memory (Node.data)."""
    paths = [
        f"{_DIRECTORY}/{name.decode(errors='surrogateescape')}"
        for name in names_in(root, _DIRECTORY)
        if not name.endswith(b".md5sums")
    ]
    files = [node for path in ("/var/lib/dpkg/status", *paths) if (node := find(root, path)) is not None]
    return [node.data.decode(errors="replace") for node in files if node.data is not None]


def parse(text: str) -> tuple[Package, ...]:
    """Those of a database that are installed, in its order."""
    return tuple(
        Package(
            name=fields["Package"],
            version=fields.get("Version", ""),
            architecture=fields.get("Architecture", ""),
        )
        for fields in installed_paragraphs(text)
    )


def installed_paragraphs(text: str) -> Iterator[dict[str, str]]:
    """The first lines of all fields of those that are installed, by name."""
    for paragraph in text.split("\n\n"):
        fields = {
            name: value.strip()
            for name, colon, value in (line.partition(":") for line in paragraph.splitlines())
            if colon and not name.startswith((" ", "\t"))
        }
        if "Package" in fields and fields.get("Status", "install ok installed").endswith(" installed"):
            yield fields
