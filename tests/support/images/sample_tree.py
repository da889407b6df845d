"""One small file tree that has everything in it that a Linux file system can hold, and a script that changes it.

Tools of all kinds pack this tree into layers; the script runs on the first layer to make the second. It is plain enough
for busybox, since inside a container there may be nothing else.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import struct
from pathlib import Path

from dibo.system import process

LONG_NAME = b"n" * 255
NAMES = (
    LONG_NAME,
    b"\xff\xfe not UTF-8 \xe9" + b"\xf0" * 200,
    "ärger-名前".encode(),
    b"new\nline",
    b" space ",
    b"-dash",
    b"back\\slash",
    b"quote'\"",
    b"wh.not-a-whiteout",
    b"a.wh.b",
    b"..three",
    b"PaxHeaders",
)
SIZES = (0, 1, 511, 512, 513, 4095, 4096, 4097, 65536, 1_000_007)
TIMES = {
    "nanoseconds": 1_234_567_890_123_456_789,
    "epoch": 0,
    "before-1970": -1_500_000_000,
    "long-before-1970": -2_000_000_000_000_000_001,
    "after-2038": 2_147_483_648_000_000_001,
    "after-2106": 4_294_967_296_999_999_999,
    "in-2250": 8_835_998_400_000_000_000,
}
IDS = ((70_000, 70_001), (65_536, 0), (0, 2_097_152), (2_147_483_653, 4_294_967_294))
MODES = (0o4755, 0o2755, 0o1644, 0o6711, 0o000, 0o400, 0o777)
TARGETS = {
    "relative": b"../plain/size-1",
    "absolute": b"/plain",
    "dangling": b"no/such/thing",
    "itself": b"itself",
    "59-bytes": b"x" * 59,
    "60-bytes": b"x" * 60,
    "61-bytes": b"x" * 61,
    "4095-bytes": b"y/" * 2047 + b"y",
    "not-utf-8": b"\xe9\xff",
}
DEVICES = {
    "null": (stat.S_IFCHR, 1, 3),
    "block": (stat.S_IFBLK, 8, 1),
    "large": (stat.S_IFCHR, 300, 70_000),
    "fifo": (stat.S_IFIFO, 0, 0),
}
BIG = 5_000_000_000
"""More than 4 GiB."""

_CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # v2, effective, CAP_NET_RAW: capability.h
_LATER = 1_700_000_000_000_000_000

# In a root of its own or as the root of a container. Busybox's applets have neither long options nor fractions.
CHANGE = r"""
set -e
cd "$1"
rm changes/gone
rm -r changes/tree
rm -r changes/anew && mkdir changes/anew && echo new > changes/anew/new
rm -r changes/directory-to-file && echo file > changes/directory-to-file
rm changes/file-to-directory && mkdir changes/file-to-directory && echo in > changes/file-to-directory/inside
rm -r changes/directory-to-symlink && ln -s anew changes/directory-to-symlink
rm changes/symlink-to-directory && mkdir changes/symlink-to-directory && echo in > changes/symlink-to-directory/f
rm changes/file-to-fifo && mkfifo changes/file-to-fifo
rm changes/fifo-to-file && echo file > changes/fifo-to-file
chmod 0750 changes/mode changes/mode-of-directory
chown 3000:70000 changes/owner
echo more >> changes/content
touch -d '2001-02-03 04:05:06' changes/time
mv changes/old-name changes/new-name
ln links/one links/later
rm links/two
mkdir -p deep/new/directories/here && echo deep > deep/new/directories/here/file
: > changes/empty-after
"""


def make_sample_tree(root: Path) -> None:
    """Fill an empty directory. Root only."""
    old = os.umask(0o022)
    try:
        for name in (
            "bin",
            "etc",
            "plain",
            "names",
            "ids",
            "modes",
            "times",
            "changes",
            "links",
            "links/sub",
        ):
            (root / name).mkdir()
        shutil.copy(process.find("busybox") or "/bin/busybox", root / "bin" / "busybox")
        (root / "etc" / "os-release").write_text("ID=corpus\n")
        for size in SIZES:
            (root / "plain" / f"size-{size}").write_bytes(random.Random(size).randbytes(size))
        for odd in NAMES:
            (root / "names" / os.fsdecode(odd)).write_bytes(odd)
        _attributes(root)
        _links(root)
        _special(root)
        _to_be_changed(root / "changes")
        _settle(root)
    finally:
        os.umask(old)


def _attributes(root: Path) -> None:
    for uid, gid in IDS:
        path = root / "ids" / f"{uid}-{gid}"
        path.write_text("owned")
        os.chown(path, uid, gid)
    for mode in MODES:
        (root / "modes" / f"{mode:o}").write_text("mode")
        (root / "modes" / f"{mode:o}").chmod(mode)
        (root / "modes" / f"{mode:o}-directory").mkdir()
        (root / "modes" / f"{mode:o}-directory").chmod(mode)
    place = root / "xattrs"
    place.mkdir()
    attributes = {
        "note": {"user.note": b"a note"},
        "binary": {"user.binary": bytes(range(256)), "user.empty": b""},
        "many": {f"user.number-{number}": b"%d" % number for number in range(40)},
        "large": {"user.large": b"L" * 3000},
        "capability": {"security.capability": _CAPABILITY},
        "acl": {"system.posix_acl_access": acl((1, 7), (2, 5, 70_000), (4, 5), (16, 7), (32, 4))},
        "trusted": {"trusted.thing": b"of this machine"},
        "directory": {
            "system.posix_acl_default": acl((1, 7), (4, 5), (8, 7, 12), (16, 7), (32, 5)),
            "user.of-a-directory": b"yes",
        },
    }
    for name, values in attributes.items():
        if name == "directory":
            (place / name).mkdir()
        else:
            (place / name).write_text(name)
        for key, value in values.items():
            os.setxattr(place / name, key, value)


def acl(*entries: tuple[int, ...]) -> bytes:
    """An access control list as the kernel keeps it: version 2, then tag, permissions and id of each entry, the id
    all ones where the tag has none (include/uapi/linux/posix_acl_xattr.h)."""
    packed = (
        struct.pack("<HHI", tag, permissions, *(rest or [0xFFFFFFFF])) for tag, permissions, *rest in entries
    )
    return struct.pack("<I", 2) + b"".join(packed)


def _links(root: Path) -> None:
    links = root / "links"
    (links / "one").write_text("linked")
    for name in ("two", "sub/three", "zero"):
        os.link(links / "one", links / name)
    (links / "symlink").symlink_to("one")
    os.link(links / "symlink", links / "symlink-again", follow_symlinks=False)
    os.mkfifo(links / "fifo")
    os.link(links / "fifo", links / "fifo-again")
    (links / "empty").touch()
    os.link(links / "empty", links / "empty-again")


def _special(root: Path) -> None:
    place = root / "symlinks"
    place.mkdir()
    for name, target in TARGETS.items():
        (place / name).symlink_to(os.fsdecode(target))
    place = root / "devices"
    place.mkdir()
    for name, (kind, major, minor) in DEVICES.items():
        os.mknod(place / name, kind | 0o640, os.makedev(major, minor))
        (place / name).chmod(0o664)
    place = root / "sparse"
    place.mkdir()
    for name, data in {"nothing": (), "inside": (1 << 20,), "first": (0,), "end": (3 << 20,)}.items():
        with (place / name).open("wb") as file:
            for offset in data:
                file.seek(offset)
                file.write(b"data" * 3000)
            file.truncate((3 << 20) + 12_000)
    place = root / "very"
    for number in range(60):
        place = place / f"deep-{number}"
        place.mkdir(parents=True)
    (place / "file").write_text("deep")
    (root / "empty-directory").mkdir()
    for name in TIMES:
        (root / "times" / name).write_text(name)
        (root / "times" / f"{name}-directory").mkdir()
        (root / "times" / f"{name}-symlink").symlink_to(name)


def _to_be_changed(place: Path) -> None:
    files = ("gone", "file-to-directory", "file-to-fifo", "mode", "owner", "content", "time", "old-name")
    for name in files:
        (place / name).write_text(f"{name} in the first layer\n")
    directories = ("tree/of/many", "anew/below", "directory-to-file/below", "directory-to-symlink/below")
    for name in (*directories, "mode-of-directory"):
        (place / name).mkdir(parents=True)
        (place / name / "file").write_text("of the first layer\n")
    (place / "symlink-to-directory").symlink_to("tree")
    os.mkfifo(place / "fifo-to-file")


def _settle(root: Path) -> None:
    """Give everything a time of its own, from the leaves up."""
    number = 0
    for directory, names, files in os.walk(root, topdown=False):
        for name in sorted((*names, *files)):
            number += 1
            when = _LATER + number * 1_000_000_007
            os.utime(Path(directory, name), ns=(when, when), follow_symlinks=False)
    for name, when in TIMES.items():
        for suffix in ("", "-directory", "-symlink"):
            os.utime(root / "times" / f"{name}{suffix}", ns=(when, when), follow_symlinks=False)
    os.utime(root, ns=(_LATER, _LATER))
