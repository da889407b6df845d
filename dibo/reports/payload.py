"""What the script of a page reads: the divisions of the space, and an index of all files.

Both are data blocks of the page, `<script type="application/json">`, which are never executed. The index is compressed,
since an image has a hundred thousand files and a page two megabytes:

    base64( raw deflate( JSON ) )      RFC 4648, RFC 1951; browsers have DecompressionStream("deflate-raw")
    JSON {"names": [...], "depths": [...], "sizes": [...], "layers": [...], "packages": [...], "attributes": [...],
          "layer": [...], "package": [...], "attribute": [...]}

The first six have a value for each name, in the order of a walk: a directory comes before what is in it, which is one
deeper. The last three are tables that `layers`, `packages` and `attributes` point into. Of an image whose index is too
large, small files are left out, and a row for each directory says how many.
"""

from __future__ import annotations

import base64
import json
import stat
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from dibo.reports.model import ReportedFile, SizeNode, SizeViews
from dibo.reports.visible import visible

_LEVEL: Final = 9
_MOST_NAME: Final = 255
_NOTHING: Final = -1
_MOST_TRIES: Final = 8
_LETTERS: Final = {
    "file": "-",
    "hard link": "-",
    "directory": "d",
    "symlink": "l",
    "FIFO": "p",
    "socket": "s",
} | {
    "character device": "c",
    "block device": "b",
}


def data_block(document: object) -> str:
    """JSON that ends no element that it is in: `<` and what JavaScript takes for line breaks are escaped."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def size_views(views: SizeViews) -> dict[str, Any]:
    """Each view as nested lists: [name, size, files, parts]."""
    named = {
        "directories": views.directories,
        "packages": views.packages,
        "flavours": views.flavours,
        "layers": views.layers,
    }
    return {name: _node(view) for name, view in named.items() if view is not None}


def _node(node: SizeNode) -> list[Any]:
    row: list[Any] = [visible(node.name, most=_MOST_NAME), node.size, node.files]
    if node.parts:
        row.append([_node(part) for part in node.parts])
    return row


def file_index(files: Sequence[ReportedFile], titles: Sequence[str], *, most: int) -> tuple[str, int]:
    """The index as text of at most `most` bytes, and how many files are not in it for themselves; without any text
    where even the largest files do not fit. `files` are in the order of a walk, `titles` those of layers."""
    sizes = sorted((file.size for file in files if file.kind != "directory"), reverse=True)
    count, smallest = len(sizes), 0
    for _ in range(_MOST_TRIES):
        rows = _Rows(titles)
        left_out = rows.add(files, smallest)
        packed = rows.packed()
        if len(packed) <= most:
            return packed, left_out
        count = int(0.95 * count * most / len(packed))
        if not count:
            break
        smallest = sizes[count] + 1  # files of one size are in it, or none of them is
    return "", len(files)


def _kept_directories(files: Iterable[ReportedFile], smallest: int) -> set[bytes]:
    """Paths of directories that have a file of at least `smallest` bytes somewhere below."""
    kept: set[bytes] = set()
    for file in files:
        if file.kind == "directory" or file.size < smallest:
            continue
        above = file.path.rpartition(b"/")[0]
        while above and above not in kept:
            kept.add(above)
            above = above.rpartition(b"/")[0]
    return kept


class _Rows:
    """The columns of an index while they grow."""

    def __init__(self, titles: Sequence[str]) -> None:
        self._columns: dict[str, list[Any]] = {
            name: [] for name in ("names", "depths", "sizes", "layers", "packages", "attributes")
        }
        self._titles = [visible(title, most=_MOST_NAME) for title in titles]
        self._packages: dict[str, int] = {}
        self._attributes: dict[str, int] = {}

    def add(self, files: Sequence[ReportedFile], smallest: int) -> int:
        """Files of at least `smallest` bytes and all directories that have one; what else there is, as one row in the
        nearest of these directories. Returns how many files are in such rows."""
        if not smallest:
            for file in files:
                self._write(file)
            return 0
        kept = _kept_directories(files, smallest)
        small: dict[bytes, tuple[int, int]] = {}
        for file in files:
            if file.kind != "directory" and file.size < smallest:
                above = file.path.rpartition(b"/")[0]
                while above and above not in kept:
                    above = above.rpartition(b"/")[0]
                count, size = small.get(above, (0, 0))
                small[above] = (count + 1, size + file.size)
        self._write_small(small, b"", depth=0)
        for file in files:
            if file.kind == "directory" and file.path in kept:
                self._write(file)
                self._write_small(small, file.path, depth=file.path.count(b"/") + 1)
            elif file.kind != "directory" and file.size >= smallest:
                self._write(file)
        return sum(count for count, _ in small.values())

    def _write_small(self, small: dict[bytes, tuple[int, int]], directory: bytes, *, depth: int) -> None:
        if directory in small:
            count, size = small[directory]
            self._append(f"{count} smaller", depth, size, _NOTHING, _NOTHING, self._attribute(""))

    def _write(self, file: ReportedFile) -> None:
        name = file.path.rpartition(b"/")[2].decode(errors="backslashreplace")
        self._append(
            visible(name, most=_MOST_NAME),
            file.path.count(b"/"),
            file.size if file.kind == "file" else 0,  # as in the views: a link takes no blocks
            file.layer,
            self._package(file.package),
            self._attribute(_attributes(file)),
        )

    def _append(self, *values: str | int) -> None:
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)

    def _package(self, name: str) -> int:
        return self._packages.setdefault(name, len(self._packages)) if name else _NOTHING

    def _attribute(self, text: str) -> int:
        return self._attributes.setdefault(text, len(self._attributes))

    def packed(self) -> str:
        document = {
            **self._columns,
            "layer": self._titles,
            "package": [visible(name, most=_MOST_NAME) for name in self._packages],
            "attribute": list(self._attributes),
        }
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(
            errors="backslashreplace"
        )
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
        return base64.b64encode(packer.compress(text) + packer.flush()).decode()


def _attributes(file: ReportedFile) -> str:
    """As ls -l has them: `-rwsr-xr-x root root`."""
    letter = _LETTERS.get(file.kind, "?")
    bits = stat.filemode(stat.S_IFREG | file.mode)[1:]
    return visible(f"{letter}{bits} {file.owner}:{file.group}", most=_MOST_NAME)
