"""Extended attributes out of an ext4 that dibo wrote, and out of damaged ones."""

from __future__ import annotations

import stat
import struct
from pathlib import Path

import pytest

from dibo.errors import DiskImageError
from dibo.formats.ext4 import Writer
from dibo.formats.ext4.reader import Ext
from dibo.formats.ext4.structures import ATTRIBUTE, ATTRIBUTES_MAGIC
from dibo.formats.ext4.xattr_reader import read_attributes
from dibo.formats.raw import RawFile
from dibo.inspect.open_image import FileSource
from dibo.tree.node import Node
from tests.support.disks.ext4_images import parameters

ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, 6, who)
    for tag, who in ((1, 0xFFFFFFFF), (2, 1000), (4, 0xFFFFFFFF), (0x20, 0xFFFFFFFF))
)
MAGIC = struct.pack("<I", ATTRIBUTES_MAGIC)


def _no_value(number: int, size: int) -> bytes:
    raise DiskImageError(f"inode {number} has no value of {size} bytes")


def test_what_was_written(tmp_path: Path) -> None:
    xattrs = {
        b"security.capability": bytes(range(20)),
        b"system.posix_acl_access": ACL,
        b"user.empty": b"",
        b"user.long": b"v" * 3000,
        b"trusted.x": b"1",
    }
    root = Node(stat.S_IFDIR | 0o755)
    assert root.children is not None
    node = root.children[b"a"] = Node(stat.S_IFREG | 0o644)
    node.xattrs = xattrs
    device = root.children[b"d"] = Node(stat.S_IFCHR | 0o600)
    device.device = (300, 70_000)
    with RawFile(tmp_path / "disk", 8 << 20) as target:
        Writer(target, parameters(8 << 20)).finish(root)
    source = FileSource(tmp_path / "disk")
    ext = Ext(source)
    entries = {name: ext.lookup(ext.root, name) for name in (b"a", b"d")}
    first, second = entries[b"a"], entries[b"d"]
    assert first is not None
    assert second is not None
    assert ext.xattrs(first) == xattrs
    assert ext.xattrs(second) == {}
    assert ext.device(second) == (300, 70_000)
    assert ext.inode(first.identity).identity == first.identity
    source.close()


@pytest.mark.parametrize(
    "body",
    [
        MAGIC + ATTRIBUTE.pack(200, 1, 0, 0, 0, 0) + b"short",
        MAGIC + ATTRIBUTE.pack(1, 1, 9999, 0, 5, 0) + b"a\0\0\0",
        MAGIC + ATTRIBUTE.pack(1, 1, 0, 0, 1 << 30, 0) + b"a\0\0\0",
        MAGIC + ATTRIBUTE.pack(1, 1, 0, 7, 5, 0) + b"a\0\0\0",
        MAGIC + b"\1\1\0\0",
        MAGIC + ATTRIBUTE.pack(0, 2, 16, 0, 6, 0) + struct.pack("<IHH", 1, 2, 7),
    ],
)
def test_damaged(body: bytes) -> None:
    with pytest.raises(DiskImageError):
        read_attributes(body, b"", _no_value)


def test_what_has_none() -> None:
    assert read_attributes(b"", b"", _no_value) == {}
    assert read_attributes(bytes(96), bytes(4096), _no_value) == {}
