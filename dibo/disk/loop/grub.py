"""GRUB for BIOS, by the root's own `grub-install`: it knows which modules the root file system needs.

It runs in the mounted root, in namespaces of its own, with a /dev that holds the loop device and next to nothing else.
That /dev, /tmp and /run are file systems in memory, so nothing that is cleared away there is the machine's; processes
that it leaves end with it (unshare(1), --kill-child).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from dibo.errors import CommandFailed, LoopError
from dibo.system import process
from dibo.system.loop.device import LoopDevice
from dibo.system.loop.namespace import Mounts
from dibo.system.process import OnOutput
from dibo.tree.node import Node
from dibo.tree.query import find, names_in

PLATFORM: Final = "i386-pc"
_PROGRAM: Final = "/usr/sbin/grub-install"
_BOOT: Final = "boot/grub"
_CHARACTERS: Final = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}
"""Documentation/admin-guide/devices.txt of the kernel."""
_SECOND: Final = 1_000_000_000


def can_install(root: Node) -> bool:
    """Whether the tree has `grub-install` and GRUB for BIOS."""
    return find(root, _PROGRAM) is not None and bool(names_in(root, f"/usr/lib/grub/{PLATFORM}"))


def install(
    top: Path,
    device: LoopDevice,
    mounts: Mounts,
    *,
    root: Node,
    epoch: int,
    on_output: OnOutput,
) -> None:
    """Let the root mounted at `top` install GRUB on `device`: boot sector, core image, and what it keeps in
    /boot/grub. Raises LoopError."""
    for name in ("proc", "sys", "dev", "tmp", "run", "boot"):
        _require_directory(top, name)
    (top / _BOOT).mkdir(exist_ok=True)
    _require_directory(top, _BOOT)
    mounts.mount("sysfs", top / "sys", kind="sysfs", options="ro,nosuid,nodev,noexec")
    for name in ("dev", "tmp", "run"):
        mounts.mount("tmpfs", top / name, kind="tmpfs", options="nosuid,mode=0755,size=64m")
    _fill_dev(top / "dev", device)
    enter = ["unshare", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child"]
    enter += [f"--mount-proc={top / 'proc'}", "--", "chroot", str(top)]
    options = [
        f"--target={PLATFORM}",
        "--boot-directory=/boot",
        "--no-floppy",
        "--locales=",
        "--fonts=",
        "--themes=",
    ]
    try:
        process.run(
            [*enter, _PROGRAM, *options, str(device.path)],
            streams=process.Streams(on_output=on_output),
            options=process.ProcessOptions(cwd=Path("/")),
        )
    except CommandFailed as error:
        raise LoopError(
            f"grub-install in the root failed: {error.message}",
            hint="\n".join(f"| {line}" for line in error.tail),
        ) from error
    _settle(top / _BOOT, find(root, f"/{_BOOT}"), epoch)


def _require_directory(top: Path, name: str) -> None:
    try:
        mode = (top / name).lstat().st_mode
    except OSError:
        mode = 0
    if not stat.S_ISDIR(mode):  # a link would lead out of the root
        raise LoopError(f"the root has no directory /{name}, and grub-install cannot run in it without")


def _fill_dev(dev: Path, device: LoopDevice) -> None:
    for name, numbers in _CHARACTERS.items():
        os.mknod(dev / name, stat.S_IFCHR | 0o666, os.makedev(*numbers))
    for path in (device.path, *map(device.partition, device.partitions)):
        os.mknod(dev / path.name, stat.S_IFBLK | 0o600, path.stat().st_rdev)


def _settle(directory: Path, node: Node | None, epoch: int) -> None:
    """Times as the tree has them, and for what it has not the epoch's: what was installed is not of today."""
    for path in directory.iterdir():
        child = (node.children or {}).get(os.fsencode(path.name)) if node is not None else None
        if path.is_dir() and not path.is_symlink():
            _settle(path, child, epoch)
        else:
            _set_time(path, child, epoch)
    _set_time(directory, node, epoch)


def _set_time(path: Path, node: Node | None, epoch: int) -> None:
    time = node.mtime if node is not None else epoch * _SECOND
    os.utime(path, ns=(time, time), follow_symlinks=False)
