"""What a converted image must hold: the same image, unpacked by somebody else's program.

    image ── umoci unpack ─────────────────────► a directory ── walk ──► tree ──┐
      │                                                                         ├── differences
      └───── dibo convert ► disk ► e2fsck ► the kernel's own mount ── walk ──► tree ──┘

The disk is mounted read-only from a loop device with an offset, in a mount namespace that dies with the process that
walks it. A disk that the kernel takes to be damaged, or whose journal wants replaying, is a failure.

Differences that are right are in DIFFERENCES, each with its reason; all others fail the test.
"""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from tests.support.images.tree_entries import WALK, Entry, Tree, walk
from tests.support.markdown import PROJECT
from tests.support.requirements import need, unmet

_LINUX_ROOTS = {
    UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"): "x86-64",
    UUID("b921b045-1df0-41c3-af44-4c6f280d3fae"): "arm64",
    UUID("0fc63daf-8483-4772-8e79-3d69d8477de4"): "Linux file system data",
}


_DROPPED = (
    "trusted.",
    "security.selinux",
    "security.ima",
    "security.evm",
    "user.overlay.",
    "user.containers.",
    "user.rootlesscontainers",
)


class NotRight(AssertionError):
    """A disk that is not what it should be; the message says all that is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A way in which a converted tree may differ from the oracle's. `wanted` makes the one from the other."""

    name: str
    reason: str
    wanted: Callable[[Entry], Entry]


def _kept(entry: Entry) -> Entry:
    return replace(entry, xattrs=tuple(each for each in entry.xattrs if not each[0].startswith(_DROPPED)))


DIFFERENCES = (
    Difference(
        name="attributes of the machine that packed",
        reason="trusted.*, security.selinux, security.ima, security.evm and the bookkeeping of container tools "
        "mean nothing on another machine, or worse",
        wanted=_kept,
    ),
)


def unpacked(layout: Path, tag: str, directory: Path) -> Tree:
    """The tree of an image in an OCI layout, by umoci. Root only: there must be nothing it may not do."""
    need("umoci")
    _root_only()
    bundle = directory / "bundle"
    try:
        command("umoci", "unpack", "--image", f"{layout}:{tag}", bundle)
        return walk(bundle / "rootfs")
    finally:
        shutil.rmtree(bundle, ignore_errors=True)


def by_tar(archive: Path, directory: Path) -> Tree:
    """The tree in one tar, by GNU tar: for what would take umoci minutes or gigabytes."""
    need("tar")
    _root_only()
    place = directory / "tar"
    place.mkdir()
    options = ("--numeric-owner", "--xattrs", "--xattrs-include=*", "--same-owner", "--preserve-permissions")
    try:
        command("tar", "-C", place, *options, "-xf", archive)
        return walk(place)
    finally:
        shutil.rmtree(place)


def on_disk(disk: Path) -> Tree:
    """The tree of the root file system of a raw disk: checked by e2fsck, then mounted by the kernel."""
    offset, size = find_root(disk)
    fsck(disk, offset)
    return mounted(disk, offset, size)


def mounted(disk: Path, offset: int, size: int, *, kind: str = "ext4") -> Tree:
    """Mount a file system inside a raw disk, read-only, and walk it."""
    need("unshare", "mount")
    _root_only()
    script = (
        'set -eu; mount -t tmpfs none /mnt; mkdir /mnt/root; mount -t "$5" -o "$2" "$1" /mnt/root; '
        'exec "$3" -c "$4" /mnt/root'
    )
    options = f"ro,loop,offset={offset},sizelimit={size}" + (",errors=remount-ro" if kind == "ext4" else "")
    shell = ["sh", "-c", script, "sh", str(disk.resolve()), options, sys.executable, WALK, kind]
    argv = ["unshare", "--mount", "--propagation", "private", *shell]
    done = subprocess.run(argv, capture_output=True, cwd=PROJECT)
    if done.returncode != 0:
        raise NotRight(f"the kernel did not mount {disk.name}: {done.stderr.decode()}")
    tree: Tree = pickle.loads(done.stdout)
    return tree


def find_root(disk: Path) -> tuple[int, int]:
    """Offset and size in bytes of the root: a partition, or the whole of a bare file system.

    Its own few lines, so that dibo's reader of partition tables has no part in the judgement.
    """
    with disk.open("rb") as file:
        file.seek(512)
        header = file.read(92)
        if header[:8] != b"EFI PART":
            return 0, disk.stat().st_size
        table, count, size = struct.unpack("<QII", header[72:88])
        file.seek(table * 512)
        entries = file.read(count * size)
    for start in range(0, len(entries), size):
        if UUID(bytes_le=entries[start : start + 16]) in _LINUX_ROOTS:
            first, last = struct.unpack_from("<QQ", entries, start + 32)
            return first * 512, (last - first + 1) * 512
    raise NotRight(f"{disk.name} has a partition table, and no root partition in it")


def fsck(disk: Path, offset: int = 0) -> None:
    """Let e2fsck look for anything at all to say about a file system."""
    need("e2fsck")
    argv = ["e2fsck", "-f", "-n", f"{disk}?offset={offset}" if offset else str(disk)]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace")
    said = [line for line in done.stdout.splitlines() if line and not line.startswith("Pass ")]
    if done.returncode != 0 or len(said) != 1 or "files" not in said[0]:
        raise NotRight(f"e2fsck -fn, code {done.returncode}:\n{done.stdout}{done.stderr}")


def differences(
    found: Tree, oracle: Tree, not_judged: Mapping[bytes, tuple[str, ...]] | None = None
) -> list[str]:
    """What is wrong with a converted tree, a line for each path; empty if it is right."""
    not_judged = not_judged or {}
    wanted = {path: _all_applied(entry) for path, entry in oracle.items()}
    found = {path: entry for path, entry in found.items() if path != b"lost+found" or path in wanted}
    wrong = [f"{_shown(path)}: missing" for path in sorted(wanted.keys() - found.keys())]
    wrong += [f"{_shown(path)}: should not be there" for path in sorted(found.keys() - wanted.keys())]
    for path in sorted(wanted.keys() & found.keys()):
        if unlike := _unlike(found[path], wanted[path], not_judged.get(path, ())):
            wrong.append(f"{_shown(path)}: {unlike}")
    return wrong


def require_same(
    found: Tree, oracle: Tree, not_judged: Mapping[bytes, tuple[str, ...]] | None = None
) -> None:
    if wrong := differences(found, oracle, not_judged):
        more = f"\n… and {len(wrong) - 40} more" if len(wrong) > 40 else ""
        raise NotRight("\n".join(wrong[:40]) + more)


def _all_applied(entry: Entry) -> Entry:
    for difference in DIFFERENCES:
        entry = difference.wanted(entry)
    return entry


def _unlike(found: Entry, wanted: Entry, not_judged: tuple[str, ...]) -> str:
    names = [name for name in Entry.__slots__ if name not in ("allocated", *not_judged)]
    return ", ".join(
        f"{name} is {_value(name, getattr(found, name))}, not {_value(name, getattr(wanted, name))}"
        for name in names
        if getattr(found, name) != getattr(wanted, name)
    )


def _value(name: str, value: object) -> str:
    return oct(value) if name == "mode" and isinstance(value, int) else repr(value)


def _shown(path: bytes) -> str:
    return ascii(path.decode(errors="surrogateescape"))[1:-1][:200] or "/"


def command(*argv: str | Path, cwd: Path | None = None) -> str:
    """Run a program that must succeed; its standard output."""
    done = subprocess.run([*map(str, argv)], capture_output=True, cwd=cwd, stdin=subprocess.DEVNULL)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{' '.join(map(str, argv))}:\n{said}{done.stderr.decode(errors='replace')}"
    return said


def _root_only() -> None:
    if os.geteuid() != 0:
        unmet("only root can give files to others and mount")
