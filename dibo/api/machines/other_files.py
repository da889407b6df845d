"""Files that are no disks: a ramdisk is booted with the kernel beside it, others are named for what they are."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Final

from dibo.api.machines.request import BootRequest
from dibo.errors import DiskImageError
from dibo.formats import magic
from dibo.images.sources.archive import decompressing_opener
from dibo.ramdisk.make import kernel_path

_FILE_SYSTEMS: Final = ("squashfs", "erofs")


def with_kernel_beside(request: BootRequest) -> BootRequest:
    """The request itself; where its image is a ramdisk, one for the kernel that ramdisk-image-create writes beside it.
    Raises DiskImageError where there is none, and for a file that is neither a ramdisk nor a disk."""
    if request.image is None or request.kernel is not None or not (path := Path(request.image)).is_file():
        return request
    head = _plain_head(path)
    if magic.archive(head) == "cpio":
        kernel = kernel_path(path)
        if not kernel.is_file():
            raise DiskImageError(
                f"{path} is a ramdisk, and its kernel is not beside it as {kernel.name}",
                hint=f"name the kernel: dibo boot --kernel FILE --initrd {path}",
            )
        return replace(request, image=None, kernel=kernel, initrd=path)
    _refuse(path, head)
    return request


def _refuse(path: Path, head: bytes) -> None:
    """Raises DiskImageError for what no machine starts from."""
    if not head:
        raise DiskImageError(f"{path} is empty", hint="expected a disk image")
    if head.startswith(magic.PE) and not magic.has_partition_table(head):
        raise DiskImageError(
            f"{path} is a program for UEFI, and no disk image",
            hint="a unified kernel image starts from the disk that has it: dibo convert -t raw --boot uki; a kernel "
            "takes --kernel",
        )
    if head.startswith(magic.ELF):
        raise DiskImageError(f"{path} is a program, and no disk image", hint="a kernel takes --kernel")
    if (kind := magic.file_system(head)) in _FILE_SYSTEMS:
        raise DiskImageError(
            f"{path} is a file system that is only read, {kind}, without a kernel that QEMU could load",
            hint="boot a disk of the image, -t raw or qcow2, or a directory of the type microvm",
        )


def _plain_head(path: Path) -> bytes:
    """The first bytes of what a file has packed, or of the file."""
    import lzma

    import zstandard

    head = b""
    try:
        with path.open("rb") as file:
            head = file.read(magic.HEAD)
            if not magic.compression(head) or (opener := decompressing_opener(head)) is None:
                return head
            file.seek(0)
            with opener(file) as stream:
                return bytes(stream.read(magic.HEAD))
    except (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError):
        return head
    except OSError as error:
        raise DiskImageError(f"cannot read {path}: {error.strerror or error}") from error
