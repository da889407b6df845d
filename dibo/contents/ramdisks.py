"""An initramfs as a tree: archives behind one another, the last perhaps compressed (dibo.formats.cpio)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, Final

from dibo.contents.disks import digests_of
from dibo.contents.kept_files import MOST_BYTES, is_read
from dibo.contents.tree_source import TreeSource
from dibo.errors import DiskImageError
from dibo.formats import cpio, magic
from dibo.formats.source import Source, pieces
from dibo.images.sources.archive import decompressing_opener, spooled
from dibo.inspect.open_image import FileSource
from dibo.tree.node import Node

_HEAD: Final = 6
_MOST_TARGET: Final = 4096
_RATIO: Final = 1000
_SECOND: Final = 1_000_000_000


def read_ramdisk(path: Path, *, scratch: Path, stack: ExitStack) -> TreeSource:
    """Files that are needed later are open until `stack` closes. Raises DiskImageError, ImageError, OutputError."""
    source: Source = stack.enter_context(closing(FileSource(path)))
    stored = source.size
    tree = _Tree()
    at = 0
    while at < source.size:
        head = source.read(at, min(_HEAD, source.size - at))
        if magic.archive(head) == "cpio":
            at = tree.add(source, at)
        else:
            source, at = _decompressed(path, at, head, scratch=scratch, stack=stack), 0
    return TreeSource(
        name=str(path),
        form="ramdisk",
        format="cpio",
        root=tree.root,
        digests=_digests,
        content=_bytes_of,
        stored=stored,
        notes=tuple(tree.notes),
    )


def _decompressed(path: Path, at: int, head: bytes, *, scratch: Path, stack: ExitStack) -> Source:
    opener = decompressing_opener(head)
    if opener is None:
        kind = magic.compression(head)
        raise DiskImageError(
            f"{path} is compressed by {kind}"
            if kind
            else f"{path} has neither an archive nor a known compression",
            hint="expected cpio archives, plain or compressed by gzip, xz, zstd or bzip2",
        )
    file = stack.enter_context(path.open("rb", buffering=0))
    file.seek(at)
    limit = max(1 << 30, _RATIO * path.stat().st_size)
    plain = stack.enter_context(spooled(opener(file), scratch=scratch, description=str(path), limit=limit))
    source = _Spooled(plain)
    if magic.archive(source.read(0, min(_HEAD, source.size))) != "cpio":
        raise DiskImageError(f"{path} is compressed, and holds no initramfs")
    return source


class _Spooled:
    """A Source: a file without a name."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = file.seek(0, 2)

    def read(self, offset: int, size: int) -> bytes:
        data = os.pread(self._file.fileno(), size, offset) if offset >= 0 else b""
        if len(data) < size:
            raise DiskImageError(f"the archive ends before byte {offset + size}: it is cut short")
        return data


class _Tree:
    """Archives unpacked one after the other, as the kernel does: what comes later counts."""

    def __init__(self) -> None:
        self.root = Node(stat.S_IFDIR | 0o755)
        self.notes: list[str] = []

    def add(self, source: Source, start: int) -> int:
        """Take in one archive; where the next one begins."""
        links: dict[tuple[int, int, int], Node] = {}
        end = start
        for entry in cpio.entries(source, start):
            end = entry.offset + (entry.size + 3 & ~3)
            if cpio.is_trailer(entry):
                break
            node = links.get(entry.inode) if entry.links > 1 else None
            if node is None:
                node = self._node(source, entry)
                if entry.links > 1 and node.children is None:
                    links[entry.inode] = node
            elif entry.size:
                node.size, node.content = entry.size, (source, entry.offset)
            self._put(entry.name, node)
        return cpio.after_zeros(source, end)

    def _node(self, source: Source, entry: cpio.CpioEntry) -> Node:
        node = Node(entry.mode, entry.uid, entry.gid, entry.mtime * _SECOND)
        kind = stat.S_IFMT(entry.mode)
        if kind == stat.S_IFREG:
            node.size, node.content = entry.size, (source, entry.offset)
        elif kind == stat.S_IFLNK:
            if entry.size > _MOST_TARGET:
                raise DiskImageError(f"a symbolic link of the archive has a target of {entry.size} bytes")
            node.target = source.read(entry.offset, entry.size)
            node.size = len(node.target)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            node.device = entry.device
        return node

    def _put(self, name: bytes, node: Node) -> None:
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise DiskImageError(f"the archive has a name with `..`: {name!r}")
        if not parts:
            self.root.mode, self.root.uid, self.root.gid = node.mode | stat.S_IFDIR, node.uid, node.gid
            return
        here = self.root
        for part in parts[:-1]:
            assert here.children is not None
            child = here.children.get(part)
            if child is None or child.children is None:
                child = here.children[part] = Node(stat.S_IFDIR | 0o755)
            here = child
        assert here.children is not None
        existing = here.children.get(parts[-1])
        if existing is not None and existing.children is not None and node.children is not None:
            existing.mode, existing.uid, existing.gid, existing.mtime = (
                node.mode,
                node.uid,
                node.gid,
                node.mtime,
            )
            return
        here.children[parts[-1]] = node
        if stat.S_ISREG(node.mode) and is_read(b"/".join(parts)) and node.size <= MOST_BYTES:
            node.data = b"".join(_bytes_of(node))


def _bytes_of(node: Node) -> Iterator[bytes]:
    assert isinstance(node.content, tuple)
    source, offset = node.content
    yield from pieces(source, offset, node.size)


def _digests(nodes: Mapping[bytes, Node]) -> Mapping[bytes, str]:
    return digests_of(nodes, _bytes_of)
