"""Reading from a finished root: how much it is, its boot files, and all of it as a tar.

The tree lives where only commands in the engine's namespace see it (dibo.ports.Root), so each question is one
command there and a parser here.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from dibo import process
from dibo.disk.bootfiles import MANIFEST, BootFiles, parse_manifest
from dibo.errors import LayoutError
from dibo.ports import Root

_BLOCK = 4096
_FAST_SYMLINK = 60  # shorter targets live in the inode (kernel documentation, ext4/dynamic.rst, i_block)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a tree needs of a file system with blocks of 4 KiB."""

    inodes: int
    blocks: int

    @property
    def bytes(self) -> int:
        return self.blocks * _BLOCK


def measure(root: Root) -> Usage:
    """Count inodes and blocks, hard links once."""
    # Of each entry: inode, kind, size, length of its name, the directory it is in.
    argv = ["sh", "-c", r'exec find "$ROOT" -xdev -printf "%i %y %s %f\0%h\0"']
    seen: set[bytes] = set()
    names: dict[bytes, int] = {}
    blocks = 0
    with root.process(argv, stdout=process.PIPE) as find:
        fields = find.stdout.read().split(b"\0")
        code = find.wait()
    if code != 0:
        raise process.failure(argv, code, find.tail)
    for entry, directory in zip(fields[::2], fields[1::2], strict=False):
        inode, kind, size, name = entry.split(b" ", 3)
        # A directory's block holds 8 bytes and the name, rounded up to 4 (ext4/directory.rst).
        names[directory] = names.get(directory, 0) + 8 + -(-len(name) // 4) * 4
        if inode in seen:
            continue
        seen.add(inode)
        if kind == b"f" or (kind == b"l" and int(size) >= _FAST_SYMLINK):
            blocks += -(-int(size) // _BLOCK)
        elif kind == b"d":
            blocks += 1
    blocks += sum(length // (_BLOCK - 64) for length in names.values())
    return Usage(inodes=len(seen), blocks=blocks)


def read_boot_files(root: Root) -> BootFiles:
    """What the root brings along to be booted. Raises LayoutError when it brings nothing."""
    files = _read_directory(root, MANIFEST.parent)
    text = files.get(MANIFEST)
    if text is None:
        raise LayoutError(
            f"the layout asks for a boot loader, but the root has no {MANIFEST}",
            hint="the flavour that gives the layout prepares it, as `vm` does; is another of that name used?",
        )
    manifest = parse_manifest(text)
    esp = manifest.esp
    try:
        return BootFiles(
            boot=files[manifest.bios.boot] if manifest.bios else None,
            core=files[manifest.bios.core] if manifest.bios else None,
            esp={str(path.relative_to(esp)): data for path, data in files.items() if path.is_relative_to(esp)}
            if esp
            else {},
        )
    except KeyError as error:
        raise LayoutError(f"{MANIFEST} names {error.args[0]}, which is not in the root") from error


def _read_directory(root: Root, directory: PurePosixPath) -> dict[PurePosixPath, bytes]:
    relative = str(directory.relative_to("/"))
    script = '[ ! -d "$ROOT/$1" ] || exec tar -C "$ROOT" --format=pax -cf - "$1"'
    with root.process(["sh", "-c", script, "sh", relative], stdout=process.PIPE) as tar:
        data = tar.stdout.read()
        code = tar.wait()
    if code != 0:
        raise process.failure(["tar"], code, tar.tail)
    if not data:
        return {}
    files = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                files[PurePosixPath("/", member.name)] = content.read()
    return files


_TAR = (
    'exec tar -C "$ROOT" --create --file - --format=pax --sort=name --numeric-owner --sparse'
    " --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"
    ' --xattrs --xattrs-include="security.capability" --xattrs-include="user.*" --acls'
    ' --clamp-mtime --mtime="@$1" --one-file-system .'
)


@contextmanager
def tar_stream(root: Root, *, epoch: int) -> Iterator[IO[bytes]]:
    """The whole tree as a tar; times after `epoch` are clamped to it. Reading to the end is the caller's part."""
    with root.process(["sh", "-c", _TAR, "sh", str(epoch)], stdout=process.PIPE) as tar:
        yield tar.stdout
        code = tar.wait()
        if code != 0:
            raise process.failure(["tar"], code, tar.tail)
