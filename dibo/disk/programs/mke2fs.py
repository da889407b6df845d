"""An ext2 or ext3 root file system, filled from a root by `mke2fs -d` inside the engine's namespace.

dibo writes ext4, which nearly all users choose, itself (dibo.formats.ext4); ext2 and ext3 have neither extents nor
flexible block groups, and are not worth a second writer.

It is written in place, at its offset in the disk, so nothing is copied afterwards. What the file system is made of
does not depend on the host: features come from converters/raw/mke2fs.conf, identifiers from the image, the time
from SOURCE_DATE_EPOCH (E2FSPROGS_FAKE_TIME for e2fsprogs before 1.47.1).
"""

from __future__ import annotations

import math
import stat
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from dibo.build.engine import BuildDirectory
from dibo.errors import ConverterError, ImageTooSmall, OutputError
from dibo.formats.ext4.layout import (
    BLOCK,
    BYTES_PER_INODE,
    DESCRIPTOR,
    GROUP,
    INODES_PER_BLOCK,
    LEAST_IN_LAST_GROUP,
    journal_blocks,
    reserved_descriptor_blocks,
    sparse_groups,
)
from dibo.layout.identity import Identifiers
from dibo.settings.values import enough_hint
from dibo.system import disk_space, process, resources
from dibo.system.process import OnOutput
from dibo.tree.node import Node
from dibo.tree.query import walk
from dibo.units import GIB, MIB, human_size

_FAST_SYMLINK = 60  # shorter targets live in the inode (kernel documentation, ext4/dynamic.rst, i_block)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a tree needs of a file system with blocks of 4 KiB."""

    inodes: int
    blocks: int

    @property
    def bytes(self) -> int:
        return self.blocks * BLOCK


def measure(root: Node) -> Usage:
    """Count inodes and blocks, hard links once."""
    inodes = blocks = 0
    for node in walk(root):
        inodes += 1
        if node.children is not None:
            # A directory's block holds 8 bytes and the name, rounded up to 4 (ext4/directory.rst).
            names = sum(8 + -(-len(name) // 4) * 4 for name in node.children)
            blocks += 1 + names // (BLOCK - 64)
        elif stat.S_ISREG(node.mode) or node.size >= _FAST_SYMLINK:
            blocks += -(-node.size // BLOCK)
    return Usage(inodes=inodes, blocks=blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystemWish:
    """Where and how: `offset` and `size` in bytes of the file."""

    type: str
    label: str
    offset: int
    size: int
    ids: Identifiers
    options: tuple[str, ...] = ()
    """The user's, for mke2fs."""


def overhead(size: int, *, inodes: int, type: str = "ext4") -> int:
    """Bytes that mke2fs takes of a file system of `size` bytes before the first file: inode tables, bitmaps, group
    descriptors with room to grow, journal, and a last group too small to be one. Right within a few blocks for
    ext4, a little high for its elders, as long as groups are whole: at most 32768 `inodes` each."""
    blocks = size // BLOCK
    copies = set(takewhile(lambda group: group <= blocks // GROUP, sparse_groups()))
    lost = 0
    while True:
        groups = math.ceil((blocks - lost) / GROUP)
        table = math.ceil(inodes / groups / INODES_PER_BLOCK)
        descriptors = math.ceil(groups * DESCRIPTOR / BLOCK)
        copy = 1 + descriptors + reserved_descriptor_blocks(blocks, descriptors)
        last = (blocks - lost) % GROUP
        least = 2 + table + LEAST_IN_LAST_GROUP + (copy if groups - 1 in copies else 0)
        if groups == 1 or last == 0 or last >= least:
            break
        lost += last
    metadata = groups * (table + 2) + copy * sum(1 for group in copies if group < groups)
    return (lost + metadata + (0 if type == "ext2" else journal_blocks(blocks)) + 64) * BLOCK


def inode_count(size: int, usage: Usage) -> int:
    """How many inodes a file system of `size` bytes is given: the usual number, or what `usage` takes and a quarter."""
    return max(size // BYTES_PER_INODE, usage.inodes * 5 // 4 + 1024)


def holds(size: int, usage: Usage, *, type: str = "ext4") -> bool:
    """Whether a file system of `size` bytes has room for `usage`, and a little more."""
    inodes = inode_count(size, usage)
    if inodes > max(1, size // BLOCK // GROUP) * GROUP:
        return False
    room = size - overhead(size, inodes=inodes, type=type)
    return room >= usage.bytes + usage.bytes // 50


def smallest(usage: Usage, *, at_least: int = 0, type: str = "ext4") -> int:
    """Bytes of the smallest file system, in whole MiB and not below `at_least`, that holds `usage`. What a larger one
    holds can be less: journals grow in steps."""
    size = math.ceil(max(at_least, usage.bytes + usage.bytes // 50, MIB) / MIB) * MIB
    while not holds(size, usage, type=type):
        size += MIB
    return size


def check_fits(usage: Usage, wish: FileSystemWish, *, image_size: int, set_by: str) -> None:
    """Raises ImageTooSmall, which says how much is missing and what sets the size."""
    if not holds(wish.size, usage, type=wish.type):
        needed = smallest(usage, at_least=wish.size, type=wish.type)
        raise too_small(needed - wish.size, usage, image_size=image_size, set_by=set_by)


def too_small(missing: int, usage: Usage, *, image_size: int, set_by: str) -> ImageTooSmall:
    enough = math.ceil((image_size + missing) * 10 / GIB) / 10
    return ImageTooSmall(
        f"the root file system ({human_size(usage.bytes)} in {usage.inodes} files) does not fit an image of "
        f"{human_size(image_size)}: {human_size(missing)} are missing",
        hint=enough_hint(set_by, enough),
    )


def make_filesystem(
    directory: BuildDirectory,
    target: Path,
    *,
    wish: FileSystemWish,
    usage: Usage,
    epoch: int,
    on_output: OnOutput,
) -> None:
    """Write the file system into `target`, which exists. Raises ConverterError, OutputError, ImageTooSmall."""
    options, of_user = _split_extended(wish.options)
    inodes = ["-N", str(inode_count(wish.size, usage))] if not _sets_inodes(options) else []
    extended = [
        f"hash_seed={wish.ids.hash_seed}",
        "root_owner=0:0",
        f"offset={wish.offset}",
        "nodiscard",
        *of_user,
    ]
    argv = [
        "env",
        f"MKE2FS_CONFIG={resources.shared('converters') / 'raw' / 'mke2fs.conf'}",
        f"E2FSPROGS_FAKE_TIME={epoch}",
        f"SOURCE_DATE_EPOCH={epoch}",
        *("sh", "-c", 'exec "$@" -d "$ROOT" "$FILE" "$BLOCKS"', "sh"),
        *(process.find("mke2fs") or "mke2fs", "-q", "-F", "-t", wish.type, "-b", str(BLOCK)),
        *(*inodes, "-L", wish.label, "-U", str(wish.ids.filesystem_uuid)),
        *("-E", ",".join(extended), *options),
    ]
    argv[4:4] = [f"FILE={target}", f"BLOCKS={wish.size // BLOCK}"]
    with directory.process(argv, on_output=on_output) as mke2fs:
        code = mke2fs.wait()
    if code == 0:
        return
    text = " ".join(mke2fs.tail[-3:])
    if "No space left" in text or "Input/output error" in text:
        raise OutputError(
            f"cannot write {target}: the disk is full: {disk_space.describe([target])}", hint=f"| {text}"
        )
    if "Could not allocate" in text or "too small" in text.lower():
        raise ImageTooSmall(
            f"the root file system does not fit {human_size(wish.size)}",
            hint=f"use a larger --image-size\n| {text}",
        )
    hint = f"its options are {' '.join(wish.options)}" if wish.options else "`dibo doctor` tries mke2fs"
    raise ConverterError(f"mke2fs {process.describe_exit(code)}: {text}", hint=hint)


def _split_extended(options: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """(other words, values of -E): mke2fs takes one -E."""
    words, extended = list(options), []
    while (
        at := next((index for index, word in enumerate(words) if word.startswith("-E")), None)
    ) is not None:
        value = words[at][2:] or "".join(words[at + 1 : at + 2])
        del words[at : at + (1 if words[at][2:] else 2)]
        extended.append(value)
    return words, extended


def _sets_inodes(options: list[str]) -> bool:
    return any(word.startswith(("-i", "-N", "-T")) for word in options)
