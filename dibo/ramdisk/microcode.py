"""Microcode of processors, before everything else (Documentation/arch/x86/microcode.rst of the kernel).

The kernel takes it from an archive of its own, without compression, at the very beginning of the initramfs. Files that
Debian names 06-3c-03.initramfs are those that a running kernel must not load: they are for this place alone.
"""

from __future__ import annotations

import stat
from typing import Final

from dibo.errors import RamdiskError
from dibo.ramdisk.modules import decompress
from dibo.ramdisk.selection import Read, Selection, files_below, resolve
from dibo.tree.node import Node

_VENDORS: Final = {
    "GenuineIntel.bin": "/lib/firmware/intel-ucode",
    "AuthenticAMD.bin": "/lib/firmware/amd-ucode",
}


def microcode(root: Node, read: Read) -> Node:
    """The tree of that archive. Raises RamdiskError where the root has no microcode."""
    selection = Selection(Node(stat.S_IFDIR | 0o755), read)
    for name, directory in _VENDORS.items():
        pieces = []
        for path in files_below(root, directory):
            resolved = resolve(root, path)
            if resolved is not None and not path.endswith((".asc", "README", ".txt")):
                pieces.append(decompress(read(resolved.node), path))
        if pieces:
            selection.put(f"/kernel/x86/microcode/{name}", b"".join(pieces))
    if not selection.tree.children:
        raise RamdiskError(
            "the root contains no microcode",
            hint="on Debian: the packages intel-microcode and amd64-microcode of non-free-firmware; "
            "on Ubuntu: the packages of the same names",
        )
    return selection.tree
