"""Files of a root that say how the disk is laid out: fstab and GRUB's menu, made to speak of the disk at hand."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final

from dibo.disk import fstab, grub_cfg
from dibo.layout.placement import Placement
from dibo.tree.mounts import Mounted
from dibo.tree.node import Contents, Node
from dibo.tree.query import walk

_SECOND: Final = 1_000_000_000
Change = Callable[[bytes], bytes | None]
Where = Callable[[PurePosixPath], Contents | None]
"""Where the bytes of a file go that is on the file system mounted there."""


def adapt(
    tree: Mounted, placement: Placement, where: Where, *, root_type: str, with_fstab: bool, epoch: int
) -> None:
    """Put the files into `tree`, until its end. Files that are not dibo's stay as they are, and so does fstab without
    `with_fstab`. `root_type` is the root's file system, `epoch` the time of what is new, in seconds since 1970."""
    if with_fstab:
        by_root_disk = _holds(tree, fstab.RULES)
        path = PurePosixPath(fstab.PATH)
        _replace(
            tree,
            path,
            lambda old: fstab.rewritten(old, placement, root_type=root_type, by_root_disk=by_root_disk),
            where,
            epoch,
            make=True,
        )
    _replace(tree, PurePosixPath(grub_cfg.MENU), lambda old: grub_cfg.menu(old, placement), where, epoch)


def _holds(tree: Mounted, path: PurePosixPath) -> bool:
    place = tree.find(path)
    return place is not None and place[2] in (place[1].children or {})


def _replace(
    tree: Mounted, path: PurePosixPath, change: Change, where: Where, epoch: int, *, make: bool = False
) -> None:
    found = tree.find(path)
    if found is None:
        return
    mount, directory, name = found
    assert directory.children is not None
    old = directory.children.get(name)
    if old is None and make:
        old = Node(stat.S_IFREG | 0o644, mtime=epoch * _SECOND)
        old.data = b""
    if old is None or old.data is None or not stat.S_ISREG(old.mode):
        return
    data = change(old.data)
    if data is None or data == old.data:
        return
    new = Node(old.mode, old.uid, old.gid, min(old.mtime, epoch * _SECOND))
    new.xattrs, new.size, new.data = old.xattrs, len(data), data
    tree.put(directory, name, new)
    contents = where(mount)
    if contents is None:
        return
    if old.content is not None and all(node is not old for node in walk(tree.tops[mount])):
        contents.release(old.content)
    new.content = contents.begin(len(data))
    contents.write(data)
    contents.flush()
