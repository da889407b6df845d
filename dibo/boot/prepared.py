"""What a root needs to boot, once that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from dibo.boot.boot_files import BootFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRoot:
    """What a root needs to boot: `boot` goes to the disk, `files` and `links` into the tree, in place of what is
    there. Nothing of the tree has changed yet."""

    boot: BootFiles
    files: Mapping[PurePosixPath, bytes] = field(default_factory=dict)
    """New files: owned by root, of mode 0644."""
    programs: Mapping[PurePosixPath, bytes] = field(default_factory=dict)
    """The same of mode 0755."""
    links: Mapping[PurePosixPath, bytes] = field(default_factory=dict)
    directories: Mapping[PurePosixPath, int] = field(default_factory=dict)
    """Permissions of directories that are made if nothing is there."""
    removed: tuple[PurePosixPath, ...] = ()
    summary: str = ""
    """What was found and made, for the user: kernel, initramfs, boot loader."""
    notes: tuple[str, ...] = ()
    """What will not work as users may expect."""
