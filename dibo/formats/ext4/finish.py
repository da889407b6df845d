"""Everything that is known only at the end: inodes, directories, bitmaps, journal, descriptors, superblocks."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import Final

from dibo.formats.ext4.checksum import Checksums
from dibo.formats.ext4.data import Content
from dibo.formats.ext4.directory import Entry, check_name, directory, empty_block
from dibo.formats.ext4.errors import Ext4Error, NoSpace
from dibo.formats.ext4.extents import Run, extent_tree
from dibo.formats.ext4.groups import Descriptors, UsedSpace, write_groups
from dibo.formats.ext4.inode import (
    EXTENTS,
    FILE_TYPES,
    INDEXED,
    MAX_LINKS,
    NO_XATTRS,
    Inode,
    device_block,
    holds_time,
    put_inode,
)
from dibo.formats.ext4.layout import (
    BLOCK,
    FIRST_INODE,
    GROUP,
    INODE,
    INODES_PER_BLOCK,
    Ext4Layout,
    Parameters,
)
from dibo.formats.ext4.numbering import LOST_AND_FOUND, ROOT, number_nodes
from dibo.formats.ext4.output import Output
from dibo.formats.ext4.plan import Ext4Plan, Needs, plan, smallest
from dibo.formats.ext4.space import merge
from dibo.formats.ext4.special import RESIZE_SIZE, journal_superblock, resize_inode_block
from dibo.formats.ext4.superblock import JOURNAL, copy_for, superblock
from dibo.formats.ext4.xattrs import attribute_block, attributes
from dibo.formats.inode import InodeNode
from dibo.formats.target import Target

_RESIZE: Final = 7
_SECTORS: Final = BLOCK // 512
_LOST_AND_FOUND_BLOCKS: Final = 4
"""mke2fs makes it that large, so that e2fsck need not find blocks for it."""
_OWN_MODE: Final = stat.S_IFREG | 0o600
_FAST_TARGET: Final = 60
"""Link targets below this are in the inode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was written. Blocks are of 4096 bytes."""

    blocks: int
    free_blocks: int
    inodes: int
    free_inodes: int
    directories: int
    journal_blocks: int
    clamped_times: int
    """Inodes whose time ext4 cannot say: it became the nearest that it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What became of the data: where it ends, how many blocks files have, and which runs before the end are free."""

    cursor: int
    blocks: int
    missing: int
    """Blocks that found no place."""
    free: list[tuple[int, int]]


class Finish:
    """The work of Writer.finish, and what its steps share."""

    def __init__(
        self, target: Target, parameters: Parameters, layout: Ext4Layout, stored: Stored, root: InodeNode
    ) -> None:
        self._parameters = parameters
        self._layout = layout
        self._stored = stored
        self._numbering = number_nodes(root)
        self._checksums = Checksums(parameters.uuid.bytes)
        self._plan: Ext4Plan = plan(layout, stored.free, stored.cursor, self._numbering.last)
        inodes_each = self._plan.tables.inodes_per_group
        fits = not (
            stored.missing or self._plan.space.missing or self._numbering.last > inodes_each * layout.groups
        )
        self._output = Output(target, parameters.offset, layout.blocks if fits else 0)
        self._taken = 0
        self._found = 0
        self._each = inodes_each
        self._table = bytearray(min(inodes_each, self._numbering.last) * INODE)
        self._group = 0
        self._clamped_times = 0
        self._directories = [0] * (self._numbering.last // inodes_each + 1)
        self._types = [0] * 16
        for kind, number in FILE_TYPES.items():
            self._types[kind >> 12] = number

    def run(self) -> Summary:
        journal = self._own_inodes()
        self._tree()
        self._write_table()
        if self._found != self._stored.blocks:
            raise Ext4Error(
                f"{self._stored.blocks - self._found} blocks are of files that are in no tree: release() them"
            )
        self._check_space()
        groups = write_groups(
            self._output,
            self._layout,
            self._plan.tables,
            self._checksums,
            UsedSpace(
                free=self._plan.space.runs(),
                last_inode=self._numbering.last,
                directories=self._directories,
            ),
        )
        self._descriptors_and_superblocks(groups, journal)
        self._output.flush()
        return Summary(
            blocks=self._layout.blocks,
            free_blocks=groups.free_blocks,
            inodes=self._each * self._layout.groups,
            free_inodes=groups.free_inodes,
            directories=sum(self._directories),
            journal_blocks=self._layout.journal_blocks,
            clamped_times=self._clamped_times,
        )

    def measure(self) -> Needs:
        """What the tree needs, with nothing written."""
        self._output.limit = 0
        self._own_inodes()
        self._tree()
        return Needs(data_blocks=self._stored.blocks, inodes=self._numbering.last, single_blocks=self._taken)

    def _check_space(self) -> None:
        if not self._output.limit or self._plan.space.missing:
            needs = Needs(
                data_blocks=self._stored.blocks, inodes=self._numbering.last, single_blocks=self._taken
            )
            raise NoSpace(smallest(self._parameters, needs) - self._parameters.size)

    # blocks

    def _take(self) -> int:
        self._taken += 1
        return self._plan.space.one()

    def _store(self, blocks: list[bytes]) -> list[Run]:
        """Blocks of a directory or a link, written wherever there is room."""
        runs: list[Run] = []
        put = self._output.put
        for number, data in enumerate(blocks):
            block = self._take()
            merge(runs, number, block, 1)
            put(block, data)
        return runs

    # inodes

    def _slot(self, number: int) -> int:
        """Byte of the inode in the table at hand. Numbers come group by group."""
        group, at = divmod(number - 1, self._each)
        if group != self._group:
            self._write_table()
            self._group = group
            self._table = bytearray(min(self._each, self._numbering.last - group * self._each) * INODE)
        return at * INODE

    def _write_table(self) -> None:
        self._table += bytes(-len(self._table) % BLOCK)
        tables = self._plan.tables.tables
        if self._group < len(tables):
            self._output.put(tables[self._group], self._table)

    def _own_inodes(self) -> bytes:
        """The resize inode and the journal, whose 60 bytes of extents are returned."""
        time = self._parameters.time * 10**9
        block, count = resize_inode_block(self._output, self._layout, self._take())
        inode = Inode(
            mode=_OWN_MODE, uid=0, gid=0, size=RESIZE_SIZE, time=time, links=1, sectors=count * _SECTORS, flags=0,
            block=block,
        )  # fmt: skip
        put_inode(self._table, self._slot(_RESIZE), self._checksums.inode_seed(_RESIZE), inode)
        if not self._plan.journal:
            return b""
        runs: list[Run] = []
        blocks = self._layout.journal_blocks
        for start, length in self._plan.journal:
            runs.append((sum(count for _, _, count in runs), start, length))
        self._output.put(runs[0][1], journal_superblock(blocks, self._parameters.uuid.bytes))
        seed = self._checksums.inode_seed(JOURNAL)
        tree, more = extent_tree(runs, seed, self._take, self._output.put)
        inode = Inode(
            mode=_OWN_MODE, uid=0, gid=0, size=blocks * BLOCK, time=time, links=1, sectors=(blocks + more) * _SECTORS,
            flags=EXTENTS, block=tree,
        )  # fmt: skip
        put_inode(self._table, self._slot(JOURNAL), seed, inode)
        return tree

    def _tree(self) -> None:
        """All inodes of the tree, in the order of their numbers."""
        numbering = self._numbering
        lost = numbering.lost_and_found
        nodes = numbering.nodes
        self._node(ROOT, nodes[0])
        if lost is not None:
            self._node(FIRST_INODE, lost)
        elif numbering.has_lost_and_found:
            self._make_lost_and_found()
        number = FIRST_INODE if numbering.has_lost_and_found else FIRST_INODE - 1
        node = self._node
        for at in range(1, len(nodes)):
            child = nodes[at]
            if child is not lost:
                number += 1
                node(number, child)

    def _node(self, number: int, node: InodeNode) -> None:
        try:
            self._inode(number, node)
        except NoSpace:
            raise
        except Ext4Error as error:
            raise Ext4Error(f"{self._numbering.path(node)}: {error}") from None

    def _inode(self, number: int, node: InodeNode) -> None:
        seed = self._checksums.inode_seed(number)
        kind = stat.S_IFMT(node.mode)
        links = self._numbering.links.get(number, 1)
        flags = EXTENTS
        size = more = 0
        inside, xattr_block = NO_XATTRS, 0
        if node.xattrs:
            inside, outside = attributes(node.xattrs)
            if outside:
                xattr_block = self._take()
                more = 1
                self._output.put(xattr_block, attribute_block(outside, self._checksums.seed, xattr_block))
        runs: list[Run] = []
        if kind == stat.S_IFREG:
            runs, size = self._file(node)
        elif node.children is not None:
            if kind != stat.S_IFDIR:
                raise Ext4Error(f"a directory whose mode is {node.mode:#o}")
            links = links if links <= MAX_LINKS else 1  # dir_nlink
            runs, indexed = self._directory(number, node, seed)
            size = sum([count for _, _, count in runs]) * BLOCK
            flags |= INDEXED if indexed else 0
        elif kind == stat.S_IFLNK:
            size = len(node.target)
            if not 0 < size < BLOCK or b"\0" in node.target:
                raise Ext4Error(f"a symbolic link to {size} bytes: it can have 1 to {BLOCK - 1}, without NUL")
            if size >= _FAST_TARGET:
                runs = self._store([node.target.ljust(BLOCK, b"\0")])
        elif kind not in FILE_TYPES or kind == stat.S_IFDIR:
            raise Ext4Error(f"a node whose mode is {node.mode:#o}")
        if kind == stat.S_IFLNK and size < _FAST_TARGET:
            block, flags = node.target.ljust(60, b"\0"), 0
        elif kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            block, tree_blocks = extent_tree(runs, seed, self._take, self._output.put)
            more += tree_blocks
        else:
            block = device_block(*node.device) if kind in (stat.S_IFCHR, stat.S_IFBLK) else bytes(60)
            flags = 0
        at = self._slot(number)
        self._clamped_times += not holds_time(node.mtime)
        sectors = (sum([count for _, _, count in runs]) + more) * _SECTORS
        # By position, since names would cost a third of the time that packing takes.
        inode = Inode(
            node.mode, node.uid, node.gid, size, node.mtime, links, sectors, flags, block, inside, xattr_block
        )
        put_inode(self._table, at, seed, inode)

    def _file(self, node: InodeNode) -> tuple[list[Run], int]:
        content = node.content
        if content is None:
            return [], 0
        if not isinstance(content, Content) or content.runs is None:
            raise Ext4Error("its content was released, never finished, or is not this writer's")
        if content.used:
            raise Ext4Error("its content is another file's, too")
        content.used = True
        self._found += sum([count for _, _, count in content.runs])
        return content.runs, content.size

    def _directory(self, number: int, node: InodeNode, seed: int) -> tuple[list[Run], bool]:
        numbers = self._numbering.numbers
        types = self._types
        entries: list[Entry] = []
        assert node.children is not None
        for name, child in node.children.items():
            check_name(name)
            entries.append((numbers[id(child)], types[child.mode >> 12 & 15], name))
        lost = number == ROOT and self._numbering.has_lost_and_found
        if lost and self._numbering.lost_and_found is None:
            entries.append((FIRST_INODE, 2, LOST_AND_FOUND))
        parent = self._numbering.parents[number]
        blocks, indexed = directory(number, parent, entries, seed, self._parameters.hash_seed.bytes)
        self._directories[(number - 1) // self._each] += 1
        if number == FIRST_INODE and not indexed:
            blocks += [empty_block(seed)] * (_LOST_AND_FOUND_BLOCKS - len(blocks))
        return self._store(blocks), indexed

    def _make_lost_and_found(self) -> None:
        seed = self._checksums.inode_seed(FIRST_INODE)
        first, _ = directory(FIRST_INODE, ROOT, [], seed, b"")
        runs = self._store(first + [empty_block(seed)] * (_LOST_AND_FOUND_BLOCKS - 1))
        tree, more = extent_tree(runs, seed, self._take, self._output.put)
        self._directories[0] += 1
        inode = Inode(
            mode=stat.S_IFDIR | 0o700, uid=0, gid=0, size=_LOST_AND_FOUND_BLOCKS * BLOCK,
            time=self._parameters.time * 10**9, links=2, sectors=(_LOST_AND_FOUND_BLOCKS + more) * _SECTORS,
            flags=EXTENTS, block=tree,
        )  # fmt: skip
        put_inode(self._table, self._slot(FIRST_INODE), seed, inode)

    # groups

    def _descriptors_and_superblocks(self, groups: Descriptors, journal: bytes) -> None:
        layout = self._layout
        copies = layout.copies()
        per_group = 2 + self._each // INODES_PER_BLOCK
        block = superblock(
            self._parameters,
            layout,
            groups,
            inodes_per_group=self._each,
            overhead=len(copies) * layout.copy + layout.groups * per_group + layout.journal_blocks,
            journal=journal,
        )
        descriptors = groups.data.ljust(layout.descriptor_blocks * BLOCK, b"\0")
        for group in copies:
            start = group * GROUP
            self._output.put(start, copy_for(block, group), skip=0 if group else 1024)
            self._output.put(start + 1, descriptors)
