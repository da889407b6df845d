"""Files of a root that change on the way to a disk: those that an unprepared root lacks, and those that depend on the
layout of the disk: fstab and GRUB's menu."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final

from dibo.boot.prepared import PreparedRoot
from dibo.boot.root_files import RULES
from dibo.disk import fstab, grub_cfg
from dibo.errors import LayoutError
from dibo.layout.placement import Placement
from dibo.tree.mounts import Mounted
from dibo.tree.node import Contents, Node
from dibo.tree.query import walk

_SECOND: Final = 1_000_000_000
Change = Callable[[bytes], bytes | None]
ContentsOf = Callable[[PurePosixPath], Contents | None]
"""Where the bytes of a file go that is on the file system mounted there."""


def adapt(
    tree: Mounted,
    placement: Placement,
    contents_of: ContentsOf,
    *,
    root_type: str,
    with_fstab: bool,
    epoch: int,
) -> None:
    """Put the files into `tree`, until its end. Files that are not dibo's stay as they are, and so does fstab without
    `with_fstab`. `root_type` is the root's file system, `epoch` the time of what is new, in seconds since 1970."""
    if with_fstab:
        by_root_disk = _holds(tree, RULES)
        path = PurePosixPath(fstab.PATH)
        _replace(
            tree,
            path,
            lambda old: fstab.rewritten(old, placement, root_type=root_type, by_root_disk=by_root_disk),
            contents_of,
            epoch,
            make=True,
        )
    _replace(
        tree, PurePosixPath(grub_cfg.MENU), lambda old: grub_cfg.menu(old, placement), contents_of, epoch
    )


def _holds(tree: Mounted, path: PurePosixPath) -> bool:
    place = tree.find(path)
    return place is not None and place[2] in (place[1].children or {})


def _replace(
    tree: Mounted,
    path: PurePosixPath,
    change: Change,
    contents_of: ContentsOf,
    epoch: int,
    *,
    make: bool = False,
) -> None:
    place = tree.find(path)
    if place is None:
        return
    mount, directory, name = place
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
    _put(tree, (mount, directory, name), new, contents_of)


def install(tree: Mounted, prepared: PreparedRoot, contents_of: ContentsOf, *, epoch: int) -> None:
    """Put what was prepared into `tree`, until its end, and take away what is to go. Raises LayoutError where something
    is in the way."""
    for path in prepared.removed:
        if (place := tree.find(path)) is not None and place[2] in (place[1].children or {}):
            mount, directory, name = place
            _release(tree, mount, tree.remove(directory, name), contents_of)
    for path, permissions in prepared.directories.items():
        existing = tree.find(path)
        if existing is None or existing[2] not in (existing[1].children or {}):
            _, directory, name = _place(tree, path, epoch)
            tree.put(directory, name, Node(stat.S_IFDIR | permissions, mtime=epoch * _SECOND))
    for mode, files in ((0o644, prepared.files), (0o755, prepared.programs)):
        for path, data in files.items():
            node = Node(stat.S_IFREG | mode, mtime=epoch * _SECOND)
            node.size, node.data = len(data), data
            _put(tree, _place(tree, path, epoch), node, contents_of)
    for path, target in prepared.links.items():
        node = Node(stat.S_IFLNK | 0o777, mtime=epoch * _SECOND)
        node.target = target
        _put(tree, _place(tree, path, epoch), node, contents_of)


Place = tuple[PurePosixPath, Node, bytes]
"""The mount of a file's file system, the directory it is in, its name."""


def _place(tree: Mounted, path: PurePosixPath, epoch: int) -> Place:
    made = tree.make_directories(path.parent, mtime=epoch * _SECOND)
    place = tree.find(path) if made else None
    old = (place[1].children or {}).get(place[2]) if place is not None else None
    if place is None or (old is not None and old.is_directory):
        raise LayoutError(
            f"cannot write {path} into the root: a file, a link or a directory is in the way",
            hint="prepare the image itself, with the flavour boot-files",
        )
    return place


def _put(tree: Mounted, place: Place, new: Node, contents_of: ContentsOf) -> None:
    """Put `new` in place of an existing file, and write its bytes to its file system."""
    mount, directory, name = place
    old = (directory.children or {}).get(name)
    tree.put(directory, name, new)
    if old is not None:
        _release(tree, mount, old, contents_of)
    contents = contents_of(mount)
    if contents is None or not new.size:
        return
    assert new.data is not None
    new.content = contents.begin(new.size)
    contents.write(new.data)
    contents.flush()


def _release(tree: Mounted, mount: PurePosixPath, old: Node, contents_of: ContentsOf) -> None:
    """The space of a file that is in the tree no more."""
    contents = contents_of(mount)
    if contents is None or old.content is None:
        return
    if all(node is not old for node in walk(tree.tops[mount])):
        contents.release(old.content)
