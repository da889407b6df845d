"""Questions to a finished tree: its kernels, its distribution; and what an engine left in it.

A tree is in memory (dibo.tree.node); only the files that its loader was asked to keep have their bytes there
(Node.data). Paths are followed as a chroot would follow them.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from typing import Final

from dibo.formats import paths
from dibo.tree.kernel_versions import grub_order, newest_last
from dibo.tree.node import Node

KEPT_FILES: Final = (b"etc/os-release", b"usr/lib/os-release", b"boot/grub/grub.cfg", b"var/lib/dpkg/status")
"""Files whose bytes questions here, and those about packages, need: prefixes of paths without their first slash."""
_KERNEL: Final = re.compile(rb"(vmlinuz|vmlinux|Image)-(.+)")
_STUB: Final = b"../run/systemd/resolve/stub-resolv.conf"


def lookup(trail: paths.Trail[Node], name: bytes) -> Node | bytes | None:
    """How a name is found in a tree, for dibo.formats.paths."""
    child = (trail[-1][1].children or {}).get(name)
    return child.target if child is not None and stat.S_ISLNK(child.mode) else child


def find(root: Node, path: str | bytes) -> Node | None:
    """What lies at `path`, symbolic links followed; None where nothing does."""
    return paths.find(root, path, lookup)


def real_path(root: Node, path: str) -> str:
    """Where a path leads, symbolic links followed, also to what is not there yet. Raises TooManyLinks of
    dibo.formats.paths, and NotADirectoryError, with the path, where something on the way is no directory."""

    def lookup_or_make(trail: paths.Trail[Node], name: bytes) -> Node | bytes:
        if trail[-1][1].children is None:
            raise NotADirectoryError(_joined(trail))
        answer = lookup(trail, name)
        return Node(stat.S_IFDIR | 0o755) if answer is None else answer

    trail = paths.follow(root, paths.split(path), lookup_or_make)
    assert trail is not None
    return _joined(trail)


def _joined(trail: paths.Trail[Node]) -> str:
    return "/" + b"/".join(name for name, _ in trail[1:]).decode(errors="surrogateescape")


def names_in(root: Node, path: str) -> tuple[bytes, ...]:
    """What the directory at `path` holds, sorted; nothing where it is none."""
    node = find(root, path)
    return tuple(sorted(node.children)) if node is not None and node.children is not None else ()


def kernels(root: Node) -> tuple[str, ...]:
    """Versions of the kernels in /boot, the newest last."""
    versions = {
        match[2].decode(errors="replace")
        for name in names_in(root, "/boot")
        if (match := _KERNEL.match(name))
    }
    return newest_last(versions, default_order=default_order(root))


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
            return parse_os_release(node.data.decode(errors="replace"))
    return {}


def parse_os_release(text: str) -> dict[str, str]:
    """The variables of such a file."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, sign, value in pairs if sign}


def tidy(root: Node) -> list[object]:
    """Take out of a tree that dibo built what engines leave in it: mount points in /run and /tmp, which a running
    machine mounts over, their marks, and the empty file that they mount over resolv.conf. Returns the contents of files
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
    removed += _link_resolv_conf(root)
    if not removed:
        return []
    gone = {node for removed_node in removed for node in walk(removed_node)} - set(walk(root))
    return [node.content for node in gone if node.content is not None]


def _link_resolv_conf(root: Node) -> list[Node]:
    """Where systemd-resolved answers, have its link in place of an empty resolv.conf: an engine that mounts a file over
    it leaves one. A file with bytes has an owner, and stays. Returns the nodes that are replaced."""
    etc = find(root, "/etc")
    if etc is None or etc.children is None:
        return []
    file = etc.children.get(b"resolv.conf")
    resolves = b"dbus-org.freedesktop.resolve1.service" in names_in(root, "/etc/systemd/system")
    if not resolves or file is None or not stat.S_ISREG(file.mode) or file.size:
        return []
    link = Node(stat.S_IFLNK | 0o777, mtime=file.mtime)
    link.target, link.size = _STUB, len(_STUB)
    etc.children[b"resolv.conf"] = link
    return [file]


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
