"""What a machine that runs an image lacks of the next one, where it is files alone; and how they get there.

The two disks are compared as `dibo diff` does (dibo.contents.compare). What takes effect only when a machine boots, or
what a machine changes by itself, is an obstacle: then nothing is copied. A time alone is no change; logs and caches are
none either.

Files go in as one tar over SSH, as root, with owners and modes of the new image, beside the names to remove.
"""

from __future__ import annotations

import io
import re
import shlex
import tarfile
from dataclasses import dataclass
from typing import Final

from dibo.contents.compare import CompareOptions, compare
from dibo.contents.comparison import FileChange
from dibo.contents.inventory import FileRecord
from dibo.contents.read import OpenedContents, disk_contents
from dibo.contents.tree_source import node_at
from dibo.errors import DiskImageError
from dibo.formats.source import Source
from dibo.machines.running import RunningMachine
from dibo.machines.seed import ROOT
from dibo.machines.ssh import CommandResult, SshAccess, run_command

_LARGEST: Final = 64 << 20
_PIECE: Final = 1 << 20
_SECOND: Final = 1_000_000_000
_LARGEST_TEXT: Final = 1 << 18
_UUID: Final = re.compile(
    rb"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|\b[0-9A-F]{4}-[0-9A-F]{4}\b"
)
"""Of file systems and partitions; the second form is that of FAT."""
_KINDS: Final = ("file", "directory", "symlink")
_PACKAGES: Final = (
    "var/lib/dpkg/",
    "var/lib/rpm/",
    "usr/lib/sysimage/rpm/",
    "lib/apk/",
    "usr/lib/apk/",
    "var/lib/pacman/",
)
_OF_BOOT: Final = (
    *("boot/", "efi/", "lib/modules/", "usr/lib/modules/", "usr/lib/firmware/"),
    *("etc/fstab", "etc/default/grub", "etc/kernel/", "etc/initramfs-tools/", "etc/dracut", "etc/crypttab"),
)
"""What is read while a machine boots, or is made into what boots it."""
_OF_MACHINE: Final = (
    "etc/passwd",
    "etc/shadow",
    "etc/group",
    "etc/gshadow",
    "etc/machine-id",
    "etc/hostname",
    "etc/ssh/ssh_host",
)
"""What a machine has changed since: users, its name, its keys."""
_FIRST_BOOT: Final = ("etc/first-boot.d/", "usr/lib/dibo/", "etc/cloud/", "var/lib/cloud/")
"""What a machine does once, at its first boot."""
_UNITS: Final = ("etc/systemd/system/", "usr/lib/systemd/system/", "lib/systemd/system/")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveUpdate:
    """`archive` is a tar of the files that are new or others; `gone` are names to remove. With an `obstacle`, for
    people, the machine has to boot anew."""

    archive: bytes = b""
    paths: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    obstacle: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.paths or self.gone or self.obstacle)


def plan_update(running: Source, following: Source) -> LiveUpdate:
    """Compare the disk that a machine was booted from with the next. Raises DiskImageError."""
    try:
        before, after = (disk_contents(disk, name="the disk") for disk in (running, following))
    except DiskImageError:
        if _same_bytes(running, following):
            return LiveUpdate()
        return LiveUpdate(obstacle="the disk changed, and has no file system that dibo reads")
    comparison = compare(before, after, CompareOptions(sections=("files",)))
    changed = [change for change in comparison.files if not _names_disk(change, before, after)]
    obstacle = next((text for change in changed if (text := _obstacle(change))), "")
    if obstacle:
        return LiveUpdate(obstacle=obstacle)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for change in changed:
            if change.after is not None:
                _add(archive, change.path, change.after, after)
            if packed.tell() > _LARGEST:
                return LiveUpdate(obstacle="more changed than is worth copying")
    return LiveUpdate(
        archive=packed.getvalue(),
        paths=tuple(_text(change.path) for change in changed if change.after is not None),
        gone=tuple(_text(change.path) for change in changed if change.after is None),
    )


def apply_update(machine: RunningMachine, access: SshAccess, update: LiveUpdate) -> CommandResult:
    """Copy the files into the machine, remove what is gone, and have systemd read changed units."""
    return run_command(
        machine, access, update_command(access.user, update), lambda _: None, stdin=update.archive
    )


def update_command(user: str, update: LiveUpdate) -> str:
    """What a shell of the machine runs, with the tar as its input."""
    commands = ["tar -xpf - -C /"]
    if update.gone:
        commands.append(shlex.join(["rm", "-rf", "--", *(f"/{path}" for path in update.gone)]))
    if any(path.startswith(_UNITS) for path in (*update.paths, *update.gone)):
        commands.append("if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi")
    script = " && ".join(commands)
    return script if user == ROOT else shlex.join(["sudo", "-n", "sh", "-c", script])


def _same_bytes(running: Source, following: Source) -> bool:
    return running.size == following.size and all(
        running.read(at, size) == following.read(at, size)
        for at in range(0, running.size, _PIECE)
        for size in (min(_PIECE, running.size - at),)
    )


def _obstacle(change: FileChange) -> str:
    """Why a change takes a boot; empty where it does not."""
    text = _text(change.path)
    records = [record for record in (change.before, change.after) if record is not None]
    for prefixes, reason in (
        (_PACKAGES, "packages changed"),
        (_OF_BOOT, "what the machine boots with changed"),
        (_OF_MACHINE, "users, names or keys changed"),
        (_FIRST_BOOT, "what runs at the first boot changed"),
    ):
        if f"{text}/".startswith(prefixes):
            return f"{reason} (/{text})"
    if change.of_package:
        return f"packages changed (/{text})"
    if len({record.kind for record in records}) > 1:
        return f"/{text} is another kind of file"
    for record in records:
        if record.kind not in _KINDS:
            return f"/{text} is a {record.kind}"
        if record.xattrs:
            return f"/{text} has extended attributes"
    return ""


def _names_disk(change: FileChange, before: OpenedContents, after: OpenedContents) -> bool:
    """Whether all that changed is how the disk is called. Its UUIDs are made of what is on it, and the machine keeps
    those of the disk that it was booted from."""
    sides = (change.before, change.after)
    if not _text(change.path).startswith(_OF_BOOT) or not set(change.aspects) <= {"content", "size"}:
        return False
    if any(record is None or record.kind != "file" or record.size > _LARGEST_TEXT for record in sides):
        return False
    old, new = (_UUID.sub(b"", _content(change.path, contents)) for contents in (before, after))
    return old == new


def _add(archive: tarfile.TarFile, path: bytes, record: FileRecord, contents: OpenedContents) -> None:
    member = tarfile.TarInfo(_text(path))
    member.mode, member.uid, member.gid = record.mode, record.uid, record.gid
    member.mtime = record.mtime // _SECOND
    if record.kind == "file":
        data = _content(path, contents)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
        return
    member.type = tarfile.DIRTYPE if record.kind == "directory" else tarfile.SYMTYPE
    member.linkname = _text(record.target)
    archive.addfile(member)


def _content(path: bytes, contents: OpenedContents) -> bytes:
    node, content = node_at(contents.source.root, path), contents.source.content
    assert node is not None and content is not None  # of a disk, all can be read
    return b"".join(content(node))


def _text(path: bytes) -> str:
    return path.decode(errors="surrogateescape")
