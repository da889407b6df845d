"""How boot files are made of what a root has, for a disk."""

from __future__ import annotations

from dibo.boot.find import find_boot_parts
from dibo.boot.initramfs import BytesMissing
from dibo.boot.prepare_root import BootTemplates, BootWish, prepare
from dibo.boot.prepared import PreparedRoot
from dibo.boot.root_files import GROWING
from dibo.disk.built_in.job import find_root_init
from dibo.disk.plan import DiskSource
from dibo.disk.request import DiskRequest
from dibo.errors import RootNotBootable
from dibo.system import resources
from dibo.tree.node import Node


def made_boot_files(tree: Node, request: DiskRequest, source: DiskSource) -> PreparedRoot:
    """Raises RootNotBootable."""
    parts = find_boot_parts(tree, architecture=request.architecture)
    try:
        return prepare(tree, parts, boot_templates(), boot_wish(request, source))
    except BytesMissing as error:
        kernel = parts.kernels[0].version if parts.kernels else "unknown"
        raise RootNotBootable(
            f"the boot files for kernel {kernel} are to be made of files that were not read",
            hint="dibo convert makes them of an image; or install an initramfs and GRUB in the image",
            preparable=True,
        ) from error


def boot_wish(request: DiskRequest, source: DiskSource) -> BootWish:
    """How boot files are to be made for that disk."""
    return BootWish(
        architecture=request.architecture,
        options=request.options,
        loader=request.loader,
        filesystem=request.root_type,
        epoch=source.epoch,
        sign=request.sign,
    )


def boot_templates() -> BootTemplates:
    """Boot files of dibo's own, for unprepared roots."""
    directory = resources.shared("flavours") / "boot-files" / "files"
    unit = resources.shared("containerfiles") / "runner" / "first-boot" / "dibo-ssh-host-keys.service"
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    base = resources.shared("flavours") / "base" / "files"
    return BootTemplates(
        files=files,
        host_keys_unit=unit.read_bytes(),
        init=find_root_init(),
        growing={name: (base / name).read_bytes() for name in GROWING},
    )
