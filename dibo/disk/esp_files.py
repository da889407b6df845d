"""Files of the EFI system partition, made to fit the disk: how the root is named there.

What boot loaders for UEFI read is static text, unlike GRUB's menu (dibo.disk.grub_cfg), which asks the disk. So the
root is named by the UUID of its file system: a deployment gives partitions new GUIDs, file systems stay.
"""

from __future__ import annotations

import re
from typing import Final

from dibo.boot.boot_files import BootFiles
from dibo.disk import grub_cfg
from dibo.disk.fstab import uuid_of
from dibo.layout.placement import Placement

_ENTRIES: Final = "loader/entries/"
_OURS: Final = b"# Made with the image."
_ROOT: Final = re.compile(rb"\broot=LABEL=cloudimg-rootfs(?=\s)")


def on_esp(boot: BootFiles, placement: Placement) -> dict[str, bytes]:
    """All files for UEFI, by their paths, for this disk. Raises LayoutError for a stub of unified kernel images that
    cannot be used."""
    root = f"UUID={uuid_of(placement.root)}"
    files = {path: _fitted(path, data, root, placement) for path, data in boot.esp.items()}
    return {**files, **{path: kernel.image(root) for path, kernel in boot.unified.items()}}


def _fitted(path: str, data: bytes, root: str, placement: Placement) -> bytes:
    if path.endswith("/grub.cfg"):
        return grub_cfg.on_esp(data, placement)
    if path.startswith(_ENTRIES) and data.startswith(_OURS):
        return _ROOT.sub(f"root={root}".encode(), data)
    return data
