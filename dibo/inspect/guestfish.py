"""xfs and btrfs, by libguestfs: guestfish copies /boot out of the image, into the run's directory.

It reads the file systems with a kernel of its own in a virtual machine of its own, so the image's traps are set there.
What comes out is read with care all the same: links are not followed by this machine, but as `find` follows them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from dibo.errors import CommandFailed, DiskImageError
from dibo.formats.filesystem import FileEntry, Kind
from dibo.formats.source import PIECE
from dibo.inspect.volumes import FOREIGN, Volume
from dibo.system import process
from dibo.system.report import Report
from dibo.system.workspace import Run

_SECONDS: Final = 900.0
_HINT: Final = (
    "libguestfs-test-tool tries what guestfish needs: a kernel in /boot that the user may read is part of it"
)
_KINDS: Final = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.LINK}


def copied(
    volumes: tuple[Volume, ...], image: Path, kind: str, *, run: Run, report: Report
) -> tuple[Volume, ...]:
    """The volumes, those that dibo cannot read with a copy of their /boot, or of all where /boot is their own. Raises
    ToolMissing without guestfish, DiskImageError when it fails."""
    copies = []
    for volume in volumes:
        if volume.kind in FOREIGN:
            directory = run.subdirectory("boot")
            with report.task(f"{volume.name}, {volume.kind}: copying /boot by guestfish"):
                _copy(volume, image, kind, directory)
            volume = replace(volume, system=HostTree(directory))
        copies.append(volume)
    return tuple(copies)


def _copy(volume: Volume, image: Path, kind: str, directory: Path) -> None:
    device = f"/dev/sda{volume.place.number or ''}"
    # fmt: off
    argv = [
        "guestfish", "--ro", f"--format={kind}", "-a", str(image.absolute()), "--",  # what follows has dashes, too
        "run", ":", "mount-ro", device, "/", ":", "-copy-out", "/boot", str(directory),
        ":", "-copy-out", "/@/boot", str(directory), ":", "-copy-out", "/loader", str(directory),
        ":", "-glob", "copy-out", "/*-*", str(directory),
    ]
    # fmt: on
    try:
        process.run(argv, env=_environment(), options=process.ProcessOptions(timeout=_SECONDS))
    except CommandFailed as error:
        raise DiskImageError(
            f"cannot read the {volume.kind} in {volume.name}: {error.message}", hint=_HINT
        ) from error


def _environment() -> dict[str, str]:
    """What the user told libguestfs and the maker of its appliance; else no KVM: a /dev/kvm that is there and does not
    work, as in many virtual machines, would hang the appliance."""
    named = {
        name: value for name, value in os.environ.items() if name.startswith(("LIBGUESTFS_", "SUPERMIN_"))
    }
    return {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg", **named}


class HostTree:
    """A FileSystem: a directory of this machine."""

    def __init__(self, directory: Path) -> None:
        self.root = _entry(directory)

    def names(self, directory: FileEntry) -> tuple[bytes, ...]:
        return tuple(sorted(os.fsencode(path.name) for path in _path(directory).iterdir()))

    def lookup(self, directory: FileEntry, name: bytes) -> FileEntry | None:
        path = _path(directory) / os.fsdecode(name)
        return _entry(path) if os.path.lexists(path) else None

    def target(self, link: FileEntry) -> bytes:
        return os.fsencode(os.readlink(_path(link)))  # noqa: PTH115

    def content(self, file: FileEntry) -> Iterator[bytes]:
        with _path(file).open("rb") as opened:
            while piece := opened.read(PIECE):
                yield piece


def _entry(path: Path) -> FileEntry:
    status = path.lstat()
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), Kind.OTHER)
    return FileEntry(kind=kind, size=status.st_size, handle=path)


def _path(entry: FileEntry) -> Path:
    assert isinstance(entry.handle, Path)
    return entry.handle
