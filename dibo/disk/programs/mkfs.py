"""xfs and btrfs without root: made by their own mkfs in a file, which is then copied to its place in the disk.

    nothing in it    mkfs
    xfs              mkfs.xfs -p LIST: names, types, modes and owners, and where the bytes are; no more than that
    btrfs            mkfs.btrfs --rootdir DIR, in the namespace of an engine that has the root in a directory

The list is that of mkfs.xfs(8), "-p protofile". A line is a name, a mode such as d--755 or -u-755, owner, group, and
what it is of: a path for files, a target for symlinks, two numbers for devices. `$` ends a directory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from dibo.build.engine import BuildDirectory
from dibo.errors import CommandFailed, ConverterError, ImageTooSmall, OutputError
from dibo.layout.placement import PlacedPartition
from dibo.system import process, resources
from dibo.system.process import OnOutput
from dibo.tree.node import Node
from dibo.tree.query import walk
from dibo.units import MIB, SECTOR, human_size

LEAST: Final = {"xfs": 300 * MIB, "btrfs": 110 * MIB}
"""Bytes of the smallest file system that their mkfs makes (xfsprogs 5.19, mkfs/xfs_mkfs.c; btrfs-progs 6.2)."""
_SHOWN: Final = 6
_KINDS: Final = {
    stat.S_IFREG: "-",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
}


def losses(top: Node) -> tuple[str, ...]:
    """What a list for mkfs.xfs cannot say of the tree, but for times; nothing where it says all."""
    odd = sticky = attributes = special = 0
    for node in walk(top):
        attributes += bool(node.xattrs)
        sticky += bool(node.mode & stat.S_ISVTX)
        special += stat.S_IFMT(node.mode) not in _KINDS
        for name, child in (node.children or {}).items():
            odd += not _is_plain(name) or (stat.S_ISLNK(child.mode) and not _is_plain(child.target))
    counts = (
        (odd, "names with spaces or that are not plain text"),
        (sticky, "sticky bits"),
        (attributes, "files with extended attributes"),
        (special, "special files"),
    )
    return tuple(f"{count} {kind_name}" for count, kind_name in counts if count)


def _is_plain(name: bytes) -> bool:
    """Whether it is one word of the list: it is split at white space, and `:` begins a comment."""
    return bool(name) and all(0x21 <= byte <= 0x7E for byte in name) and not name.startswith((b":", b"$"))


def proto(top: Node) -> Iterator[str]:
    """The lines of the list. Contents of files are paths (dibo.disk.programs.numbered_files)."""
    yield "/"
    yield "0 0"  # blocks and inodes, which mkfs.xfs reads and does not use
    yield _line(top)
    yield from _below(top)
    yield "$"


def _below(directory: Node) -> Iterator[str]:
    for name, node in (directory.children or {}).items():
        yield f"{name.decode()} {_line(node)}"
        if node.children is not None:
            yield from _below(node)
            yield "$"


def _line(node: Node) -> str:
    kind = stat.S_IFMT(node.mode)
    bits = ("u" if node.mode & stat.S_ISUID else "-") + ("g" if node.mode & stat.S_ISGID else "-")
    line = f"{_KINDS[kind]}{bits}{node.mode & 0o777:03o} {node.uid} {node.gid}"
    if kind == stat.S_IFREG:
        return f"{line} {node.content if node.content is not None else os.devnull}"
    if kind == stat.S_IFLNK:
        return f"{line} {node.target.decode()}"
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        return f"{line} {node.device[0]} {node.device[1]}"
    return line


def make_xfs(
    part: PlacedPartition, file: Path, *, scratch: Path, top: Node, sector: int = SECTOR, on_output: OnOutput
) -> None:
    """A file system of the partition's size in `file`, with the tree at `top`, for a disk with sectors of `sector`
    bytes: an xfs with smaller ones cannot be mounted there. Raises ConverterError, ImageTooSmall, OutputError."""
    more: list[str] = ["-s", f"size={sector}"] if sector != SECTOR else []
    if top.children or top.mode & 0o7777 != 0o755 or top.uid or top.gid:
        listed = scratch / "list"
        with listed.open("w") as stream:
            stream.writelines(f"{line}\n" for line in proto(top))
        more += ["-p", str(listed)]
    uuid = str(part.ids.filesystem_uuid)
    _fresh(file, part.size)
    _run(
        ["mkfs.xfs", "-q", "-f", "-L", part.wish.label, "-m", f"uuid={uuid}", *more, str(file)],
        part,
        on_output,
    )


def make_btrfs(
    part: PlacedPartition,
    file: Path,
    *,
    directory: BuildDirectory | None,
    hidden: Mapping[str, bytes | None],
    on_output: OnOutput,
) -> None:
    """A file system of the partition's size in `file`: empty, or with what is below its mount in `directory`. `hidden`
    are paths in there that are emptied before, or files that get other bytes. Raises as `make_xfs`."""
    uuid = str(part.ids.filesystem_uuid)
    argv = ["mkfs.btrfs", "-q", "-f", "-L", part.wish.label, "-U", uuid]
    _fresh(file, part.size)
    if directory is None:
        _run([*argv, str(file)], part, on_output)
        return
    prepare(directory, hidden, on_output=on_output)
    in_tree = ["bash", str(_in_tree()), "at", str(part.wish.mount)]
    _run([*in_tree, *argv, str(file), "--rootdir"], part, on_output, directory=directory)


def prepare(directory: BuildDirectory, hidden: Mapping[str, bytes | None], *, on_output: OnOutput) -> None:
    """Empty directories, and write files anew, in a throw-away copy of a root. No link in it is followed: one could
    lead to a file of the host. Raises ConverterError."""
    for path, data in sorted(hidden.items()):
        operation = ["empty", path] if data is None else ["write", path, data.decode()]
        with directory.process(["bash", str(_in_tree()), *operation], on_output=on_output) as running:
            if running.wait() != 0:
                raise ConverterError(f"cannot prepare {path} of the root: {' '.join(running.tail[-3:])}")


def _in_tree() -> Path:
    return resources.shared("containerfiles") / "buildah" / "in-tree.sh"


def _fresh(file: Path, size: int) -> None:
    try:
        with file.open("wb") as stream:
            stream.truncate(size)
    except OSError as error:
        raise OutputError(f"cannot write {file.parent}: {error.strerror}") from error


def _run(
    argv: list[str], part: PlacedPartition, on_output: OnOutput, *, directory: BuildDirectory | None = None
) -> None:
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        on_output(line)

    # mkfs.btrfs takes what it knows of an earlier disk for another one
    environment = {"BLKID_FILE": os.devnull}
    try:
        if directory is None:
            process.run(argv, env=environment, streams=process.Streams(on_output=hear))
            return
        settings = [f"{name}={value}" for name, value in environment.items()]
        with directory.process(["env", *settings, *argv], on_output=hear) as running:
            code = running.wait()
        if code != 0:
            raise process.failure(argv, code, running.tail)
    except CommandFailed as error:
        kind = part.wish.filesystem.value if part.wish.filesystem else ""
        output = "\n".join(f"| {line}" for line in lines[:_SHOWN])  # mkfs.xfs ends with a page on its usage
        if any(words in line for line in lines for words in ("too small", "must be larger", "No space left")):
            raise ImageTooSmall(
                f"{human_size(part.size)} are too small for the {kind} of the partition {part.wish.name}",
                hint=f"give it more in the layout, or make the image larger (--image-size)\n{output}",
            ) from error
        raise ConverterError(f"mkfs.{kind} {process.describe_exit(error.returncode)}", hint=output) from error
