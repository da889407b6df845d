"""The root as one ext4 on no partition, written from the spool: the disk /dev/vda of a virtual machine.

Lines of /etc/fstab that mount something from a disk make way for one for the root; others, such as tmpfs, stay.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dibo.disk.built_in.job import ConversionJob, RootTree
from dibo.errors import ConverterError, ImageTooSmall
from dibo.formats import ext4
from dibo.formats.raw import RawFile
from dibo.layout.identity import identify
from dibo.tree.node import Contents
from dibo.tree.query import find, walk
from dibo.units import GIB, human_size

_LABEL: Final = "root"
_FSTAB: Final = b"/dev/vda / ext4 defaults 0 1\n"
_ON_DISKS: Final = (b"/dev/", b"LABEL=", b"UUID=", b"PARTUUID=", b"PARTLABEL=")
_UNCONFIGURED: Final = b"# UNCONFIGURED"


def write_root(job: ConversionJob, path: Path) -> None:
    """A file system of `job.size` bytes at `path`. Raises ImageTooSmall, ConverterError, OutputError."""
    assert job.root is not None
    ids = identify(str(job.identity.uuid), _LABEL)
    parameters = ext4.Parameters(
        size=job.size,
        label=_LABEL,
        uuid=ids.filesystem_uuid,
        hash_seed=ids.hash_seed,
        time=job.identity.time,
    )
    with RawFile(path, job.size) as disk:
        writer = ext4.Writer(disk, parameters)
        try:
            with with_contents(job.root, writer, root_line=_FSTAB):
                writer.finish(job.root.node)
        except ext4.NoSpace as error:
            enough = math.ceil((job.size + error.missing * 1.02) * 10 / GIB)
            raise ImageTooSmall(
                f"the root does not fit {human_size(job.size)}: {human_size(error.missing)} are missing",
                hint=f"--image-size {enough / 10:g} is enough",
                enough=enough * GIB // 10,
            ) from error
        except ext4.Ext4Error as error:
            raise ConverterError(f"the root cannot be an ext4 file system: {error}") from error


@contextmanager
def with_contents(root: RootTree, writer: Contents, *, root_line: bytes) -> Iterator[None]:
    """While it lasts, the files of the tree are those that `writer` has, and /etc/fstab is that of the machine, with
    `root_line` for its root."""
    before = {node: (node.content, node.size) for node in walk(root.node) if stat.S_ISREG(node.mode)}
    try:
        fstab = find(root.node, "/etc/fstab")
        for node, (content, size) in before.items():
            if node is fstab:
                text = adapted_fstab(
                    b"" if content is None else b"".join(root.spool.read(content)), root_line=root_line
                )
                node.content, node.size = writer.begin(len(text)), len(text)
                writer.write(text)
            elif content is not None:
                node.content = _copy(root, content, size, writer)
        yield
    finally:
        for node, (content, size) in before.items():
            node.content, node.size = content, size


def _copy(root: RootTree, content: object, size: int, writer: Contents) -> object:
    copied = writer.begin(size)
    runs = root.spool.map(content)
    position = 0
    for offset, length in ((0, size),) if runs is None else runs:
        if offset > position:
            writer.skip(offset - position)
        for data in root.spool.read(content, offset, length):
            writer.write(data)
        position = offset + length
    if position < size:
        writer.skip(size - position)
    return copied


def adapted_fstab(old: bytes, *, root_line: bytes = _FSTAB) -> bytes:
    """The file of a machine whose one disk is the root; `root_line` is empty where something else mounts it."""
    kept = [
        line
        for line in old.splitlines()
        if not line.lstrip().startswith((*_ON_DISKS, _UNCONFIGURED)) and line.split()[1:2] != [b"/"]
    ]
    return b"".join(line + b"\n" for line in kept) + root_line
