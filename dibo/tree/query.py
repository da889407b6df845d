"""Questions to a finished tree: its kernels, its distribution; and what an engine left in it.

A tree is in memory (dibo.tree.node); only the files that its loader was asked to keep have their bytes there
(Node.data). Paths are followed as a chroot would follow them.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from typing import Final

from dibo.tree.kernel_versions import grub_order, newest_last
from dibo.tree.node import Node

_MOST_LINKS: Final = 40  # as path_resolution(7)
_KERNEL: Final = re.compile(rb"(vmlinuz|vmlinux|Image)-(.+)")
_STUB: Final = b"../run/systemd/resolve/stub-resolv.conf"


def find(root: Node, path: str | bytes) -> Node | None:
    """What lies at `path`, symbolic links followed; None where nothing does."""
    wanted = [part for part in (path.encode() if isinstance(path, str) else path).split(b"/") if part]
    trail, followed = [root], 0
    while wanted:
        name = wanted.pop(0)
        here = trail[-1]
        if name in (b".", b".."):
            if name == b".." and len(trail) > 1:
                trail.pop()
            continue
        child = here.children.get(name) if here.children is not None else None
        if child is None:
            return None
        if stat.S_ISLNK(child.mode):
            followed += 1
            if followed > _MOST_LINKS:
                return None
            if child.target.startswith(b"/"):
                trail = [root]
            wanted = [part for part in child.target.split(b"/") if part] + wanted
            continue
        trail.append(child)
    return trail[-1]


def names_in(root: Node, path: str) -> tuple[bytes, ...]:
    """What the directory at `path` holds, sorted; nothing where it is none."""
    node = find(root, path)
    return tuple(sorted(node.children)) if node is not None and node.children is not None else ()


def kernels(root: Node) -> tuple[str, ...]:
    """Versions of the kernels in /boot, the newest last."""
    found = {
        match[2].decode(errors="replace")
        for name in names_in(root, "/boot")
        if (match := _KERNEL.match(name))
    }
    return newest_last(found, default_order=default_order(root))


def default_order(root: Node) -> tuple[str, ...]:
    """Versions of kernels as the boot loader of the tree offers them, where its configuration is at hand."""
    node = find(root, "/boot/grub/grub.cfg")
    return (
        grub_order(node.data.decode(errors="replace")) if node is not None and node.data is not None else ()
    )


def os_release(root: Node) -> dict[str, str]:
    """The variables of os-release(5)."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        node = find(root, path)
        if node is not None and node.data is not None:
            lines = node.data.decode(errors="replace").splitlines()
            pairs = (line.partition("=") for line in lines if not line.startswith("#"))
            return {name.strip(): value.strip().strip("\"'") for name, sign, value in pairs if sign}
    return {}


def tidy(root: Node) -> list[object]:
    """Take out of a tree that dibo built what engines leave in it: mount points in /run and /tmp, which a running
    machine mounts over, their marks, and the file that they mount over resolv.conf. Returns the contents of files
    that are in the tree no more."""
    removed: list[Node] = []
    root.mode = stat.S_IFDIR | 0o755
    top = root.children or {}
    for name in (b"run", b"tmp"):
        directory = top.get(name)
        if directory is not None and directory.children:
            removed += directory.children.values()
            directory.children.clear()
    if b".dockerenv" in top:
        removed.append(top.pop(b".dockerenv"))
    etc = find(root, "/etc")
    resolv = (etc.children or {}).get(b"resolv.conf") if etc is not None else None
    resolved = b"dbus-org.freedesktop.resolve1.service" in names_in(root, "/etc/systemd/system")
    if (
        resolved
        and etc is not None
        and etc.children is not None
        and resolv is not None
        and stat.S_ISREG(resolv.mode)
    ):
        removed.append(resolv)
        link = Node(stat.S_IFLNK | 0o777, mtime=resolv.mtime)
        link.target, link.size = _STUB, len(_STUB)
        etc.children[b"resolv.conf"] = link
    if not removed:
        return []
    gone = {node for each in removed for node in walk(each)} - set(walk(root))
    return [node.content for node in gone if node.content is not None]


def walk(root: Node) -> Iterator[Node]:
    """Every inode of a tree, once."""
    seen: set[Node] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        if node.children is not None:
            waiting += node.children.values()
