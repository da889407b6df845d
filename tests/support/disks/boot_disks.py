"""Disks in memory that hold kernels, written by dibo, and how they are broken at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dibo.errors import DiskImageError
from dibo.formats.ext4 import Writer
from dibo.formats.filesystem import FileSystem, find
from dibo.tree.node import Contents, Node
from tests.support.disks.ext4_images import parameters
from tests.support.disks.memory_disk import Disk, directory, file, symlink

MIB = 1 << 20
KERNEL = random.Random(1).randbytes(300_001)
RAMDISK = random.Random(2).randbytes(700_003)
UUID = "6a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
GRUB = """\
menuentry 'one' {
\tlinux   /boot/vmlinuz-6.1.0-13-amd64 root=UUID=1 ro console=tty0 console=ttyS0,115200 $more
}
menuentry 'rescue' {
\tlinux   /boot/vmlinuz-6.1.0-13-amd64 root=UUID=1 ro single
}
"""
FILES: Mapping[str, bytes | str] = {
    "boot/vmlinuz-6.1.0-13-amd64": KERNEL,
    "boot/initrd.img-6.1.0-13-amd64": RAMDISK,
    "boot/vmlinuz-6.1.0-9-amd64": b"older",
    "boot/initrd.img-6.1.0-9-amd64": b"older ramdisk",
    "boot/config-6.1.0-13-amd64": b"",
    "boot/grub/grub.cfg": GRUB.encode(),
    "etc/fstab": b"LABEL=cloudimg-rootfs / ext4 defaults 0 1\n",
    "usr/bin/true": b"",
    "vmlinuz": "boot/vmlinuz-6.1.0-13-amd64",
}


class Bytes:
    """A Source of what is in memory."""

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        assert offset >= 0
        assert size >= 0
        if offset + size > len(self.data):
            raise DiskImageError("read beyond the end")
        return bytes(self.data[offset : offset + size])


def tree(contents: Contents, files: Mapping[str, bytes | str]) -> Node:
    """Paths to contents; text is the target of a symbolic link."""
    root = directory()
    for path, value in files.items():
        *above, name = path.encode().split(b"/")
        here = root
        for part in above:
            assert here.children is not None
            here = here.children.setdefault(part, directory())
        assert here.children is not None
        here.children[name] = symlink(value.encode()) if isinstance(value, str) else file(contents, value)
    return root


def ext4(
    files: Mapping[str, bytes | str] = FILES,
    *,
    size: int = 8 * MIB,
    build: Callable[[Contents], Node] | None = None,
) -> bytes:
    """The bytes of a file system that dibo writes."""
    disk = Disk(size)
    writer = Writer(disk, parameters(size))
    writer.finish(build(writer) if build else tree(writer, files))
    return disk.read(0, size)


def read(system: FileSystem, path: str) -> bytes:
    entry = find(system, path)
    assert entry is not None, path
    return b"".join(system.content(entry))


def survives(data: bytes, use: Callable[[bytearray], object], *, times: int, near: list[range]) -> int:
    """Break bytes of `data` at random within the places `near`, again and again: `use` works or raises
    DiskImageError, nothing else. How often it raised."""
    words = random.Random(5)
    raised = 0
    for _ in range(times):
        broken = bytearray(data)
        for _ in range(words.choice((1, 2, 8))):
            where = words.choice(near)
            at = where.start + words.randrange(len(where))
            size = words.choice((1, 2, 4))
            value = words.choice((bytes(size), b"\xff" * size, words.randbytes(size)))
            broken[at : at + size] = value[: max(0, len(broken) - at)]
        try:
            use(broken)
        except DiskImageError:
            raised += 1
        except Exception as error:
            pytest.fail(f"{type(error).__name__}: {error}")
    return raised


def save(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
