"""Private mounts, which end with this process.

The thread that enters leaves the mount namespace of the machine for a copy of its own (unshare(2), CLONE_NEWNS), and
comes back at the end. Its children, and threads that it starts meanwhile, are in the copy with it. The copy is a
slave: nothing that is mounted here appears outside, and what the machine unmounts goes here, too.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

from dibo.errors import CommandFailed, Interrupted, LoopError
from dibo.system import process

_CLONE_NEWNS: Final = 0x00020000  # linux/sched.h
_MS_REC: Final = 1 << 14
_MS_SLAVE: Final = 1 << 19
_MNT_DETACH: Final = 2  # linux/mount.h
_OWN: Final = Path("/proc/thread-self/ns/mnt")


class Mounts:
    """What is mounted, the latest last; `private_mounts` gives one."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def mount(self, source: Path | str, target: Path, *, kind: str, options: str = "") -> None:
        """As mount(8); it is unmounted at the end, in the reverse order. Raises LoopError."""
        argv = ["mount", "-i", "-t", kind, *(["-o", options] if options else []), str(source), str(target)]
        # First: a signal may come before mount(8) has said that it did it.
        self._stack.push(partial(_undo, target))
        try:
            process.run(argv)
        except CommandFailed as error:
            raise LoopError(
                f"cannot mount {source} on {target}: {' '.join(error.tail[-1:]) or error.message}",
                hint=f"does this machine's kernel know {kind}? `modprobe {kind}` says so",
            ) from error


@contextmanager
def private_mounts() -> Iterator[Mounts]:
    """A mount namespace of this thread's own, as long as the `with` lasts. Raises LoopError.

    Leaving unmounts all. A mount that cannot be unmounted is detached from the tree first, so that no program that
    removes directories can walk into it, and is an error.
    """
    before = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    current = os.open(".", os.O_PATH | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None):
            code = ctypes.get_errno()
            raise LoopError(
                f"cannot create a mount namespace: {os.strerror(code)}",
                hint="loop devices need root with all its rights; in a container, --privileged",
            )
        try:
            with ExitStack() as stack:
                yield Mounts(stack)
        finally:
            # Refused while a thread that was started meanwhile lives: then the copy, which holds no mounts of ours any
            # more, is what the rest of this process sees.
            if not libc.setns(before, _CLONE_NEWNS):
                os.fchdir(current)  # setns(2) goes to the root directory of the namespace
    finally:
        os.close(current)
        os.close(before)


def is_mounted(target: Path) -> bool:
    """Whether something is mounted on `target` in this thread's namespace (proc(5), mountinfo)."""
    mount_point = os.fsencode(target.resolve())
    for line in Path("/proc/thread-self/mountinfo").read_bytes().splitlines():
        if _unescaped(line.split(b" ")[4]) == mount_point:
            return True
    return False


def _unescaped(field: bytes) -> bytes:
    for code, byte in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(code, byte)
    return field


def _undo(
    target: Path, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
) -> None:
    """Unmount on the way out. A signal may leave a file open there that no line remembers; it is closed, and the mount
    goes, when the process ends, which is next."""
    try:
        _unmount(target)
    except LoopError:
        if not isinstance(error, Interrupted):
            raise


def _unmount(target: Path) -> None:
    """Raises LoopError."""
    if not is_mounted(target):
        return
    try:
        process.run(["umount", "-i", str(target)])
    except CommandFailed as error:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.umount2(os.fsencode(target), _MNT_DETACH)
        raise LoopError(f"cannot unmount {target}: {' '.join(error.tail[-1:]) or error.message}") from error


def sync_filesystem(directory: int) -> None:
    """Have the file system of an open directory written, and hear of what could not be (syncfs(2)). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(directory):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
