"""The root as files in a directory, for chroot(1), systemd-nspawn, NFS roots, or a look at it.

As root, everything is as in the image: owners, modes, devices, extended attributes. An ordinary user owns all of it;
devices, set-id bits and attributes other than `user.` are left out, and what the owner could not read or enter becomes
readable for them.

Nothing leads out of the directory: each directory on the way was made here, and no link is followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from dibo.disk.built_in.job import ConversionJob, RootTree
from dibo.errors import ConverterError
from dibo.tree.node import Node
from dibo.units import counted

_SET_ID: Final = stat.S_ISUID | stat.S_ISGID
_HERE: Final = (b"", b".", b"..")


def make_directory(job: ConversionJob) -> None:
    """Raises ConverterError, OSError."""
    assert job.root is not None
    writer = _Writer(job.root, as_root=os.geteuid() == 0)
    writer.directory(job.target, job.root.node, is_new=False)
    if writer.left_out:
        job.warn(f"{counted(writer.left_out, 'device')} of the root left out: only root can make devices")


class _Writer:
    def __init__(self, root: RootTree, *, as_root: bool) -> None:
        self._spool = root.spool
        self._as_root = as_root
        self._names: dict[Node, Path] = {}
        self.left_out = 0

    def directory(self, path: Path, node: Node, *, is_new: bool = True) -> None:
        """Make it and all below it; its mode and times come last, since what is made in it changes them."""
        todo: list[tuple[Path, Node, bool]] = [(path, node, False)]
        while todo:
            here, directory, is_filled = todo.pop()
            if is_filled:
                self._finish(here, directory)
                continue
            if is_new or here != path:
                here.mkdir(0o700)
            todo.append((here, directory, True))
            for name, child in sorted((directory.children or {}).items(), reverse=True):
                if name in _HERE or b"/" in name:
                    raise ConverterError(f"directory: {name!r} is not the name of a file")
                if child.children is not None:
                    todo.append((here / os.fsdecode(name), child, False))
                else:
                    self._entry(here / os.fsdecode(name), child)

    def _entry(self, path: Path, node: Node) -> None:
        if (first := self._names.get(node)) is not None:
            os.link(first, path, follow_symlinks=False)
            return
        match stat.S_IFMT(node.mode):
            case stat.S_IFREG:
                self._file(path, node)
            case stat.S_IFLNK:
                path.symlink_to(os.fsdecode(node.target))
            case stat.S_IFIFO:
                os.mkfifo(path, 0o600)
            case stat.S_IFCHR | stat.S_IFBLK if self._as_root:
                os.mknod(path, stat.S_IFMT(node.mode) | 0o600, os.makedev(*node.device))
            case stat.S_IFSOCK:
                return
            case _:
                self.left_out += 1
                return
        self._names[node] = path
        self._finish(path, node)

    def _file(self, path: Path, node: Node) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            if node.content is None:
                return
            runs = self._spool.map(node.content)
            for offset, length in ((0, node.size),) if runs is None else runs:
                file.seek(offset)
                for data in self._spool.read(node.content, offset, length):
                    file.write(data)
            file.truncate(node.size)

    def _finish(self, path: Path, node: Node) -> None:
        """Owner, mode, attributes and times, in the order in which none takes away another."""
        is_link = stat.S_ISLNK(node.mode)
        if self._as_root:
            os.chown(path, node.uid, node.gid, follow_symlinks=False)
        if not is_link:
            path.chmod(self._mode(node))
        for name, value in sorted((node.xattrs or {}).items()):
            if self._as_root or (name.startswith(b"user.") and not is_link):
                with contextlib.suppress(OSError):  # the file system has none
                    os.setxattr(path, name, value, follow_symlinks=False)
        os.utime(path, ns=(node.mtime, node.mtime), follow_symlinks=False)

    def _mode(self, node: Node) -> int:
        mode = stat.S_IMODE(node.mode)
        if self._as_root:
            return mode
        return mode & ~_SET_ID | (0o700 if node.is_directory else 0o600)
