"""What making disks on loop devices needs of this machine and this user, asked before anything is built."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dibo.disk.loop.mkfs import TYPES, program
from dibo.errors import LayoutError, LoopError, ToolMissing
from dibo.formats.labels import LIMITS
from dibo.system import process
from dibo.system.loop.device import CONTROL
from dibo.system.package_names import how_to_install


def check(kinds: Sequence[str], *, label: str) -> None:
    """Refuse where file systems of these types cannot be made here. `label` is that of a bare root. Raises LoopError,
    ToolMissing, LayoutError."""
    for kind in kinds:
        if kind not in TYPES:
            raise LayoutError(
                f"dibo cannot make the file system {kind!r}", hint=f"use one of {', '.join(TYPES)}"
            )
        if len(label) > LIMITS[kind]:
            raise LayoutError(
                f"{kind} takes labels of {LIMITS[kind]} characters, and a bare root is found by {label!r}",
                hint="lay the disk out with a partition for it, which has a label of your choice (--layout)",
            )
    if os.geteuid() != 0:
        raise LoopError(
            "--loop needs root: loop devices and mounts are root's alone",
            hint="run the same command with sudo; or omit --loop: ext4 needs no privileges",
        )
    if not CONTROL.exists():
        raise LoopError(
            f"this machine gives no loop devices: there is no {CONTROL}",
            hint="`modprobe loop`; in a container, run it with --privileged; or leave out --loop",
        )
    for tool in ("mount", "umount", "unshare", *map(program, kinds)):
        if process.find(tool) is None:
            raise ToolMissing(f"{tool} is not installed, and --loop needs it", hint=how_to_install(tool))
