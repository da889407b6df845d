"""What a type is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from dibo.boot.initramfs import BytesMissing, make_initramfs
from dibo.boot.keep import LIMIT
from dibo.boot.parts import BootKernel, Part
from dibo.errors import ConverterError, UsageError
from dibo.formats.vm_disks.identity import ImageIdentity
from dibo.images.layers.spool import Spool
from dibo.system import resources
from dibo.tree.node import Node
from dibo.units import human_size

NO_KERNEL_HINT: Final = "build on it: disk-image-create --base IMAGE vm, or install one in the image"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:,=/@%+-]+")
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class RootTree:
    """A root: its names, and the bytes of its files."""

    node: Node
    spool: Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionJob:
    """One artefact to make at `target`: of `disk`, a raw disk or a qcow2 as the type takes it, or of `root`."""

    target: Path
    name: str
    """What people call the artefact: the output's name without a type."""
    architecture: str
    """Debian's word."""
    size: int
    """Of the disk, in bytes."""
    identity: ImageIdentity
    options: Mapping[str, str] = field(default_factory=dict)
    """The variables for converters."""
    disk: Path | None = None
    root: RootTree | None = None
    root_uuid: UUID = UUID(int=0)  # noqa: RUF009  frozen
    """Of the root file system on a disk of the same image."""
    sign: Callable[[bytes], bytes] | None = None
    """Signs programs for UEFI that dibo makes."""
    scratch: Path = Path()
    """An empty directory that goes when all is made."""
    warn: Callable[[str], None] = lambda _: None
    on_output: Callable[[str], None] = lambda _: None
    """Called with each line of programs that run."""

    @property
    def source(self) -> Path:
        assert self.disk is not None
        return self.disk


def number_option(options: Mapping[str, str], name: str, *, default: int, largest: int) -> int:
    """The value of a variable for converters that is a whole number from 1 on. Raises UsageError."""
    text = options.get(name, "") or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) <= largest):
        raise UsageError(f"{name} is {text!r}", hint=f"it is a number from 1 to {largest}")
    return int(text)


def with_bytes(root: RootTree, make: Callable[[], _Made]) -> _Made:
    """What `make` returns; the bytes of files that it misses are read into the tree. Raises ConverterError where these
    are more than what boots can have, and what `make` raises."""
    room = LIMIT
    while True:
        try:
            return make()
        except BytesMissing as missing:
            for node in missing.nodes:
                room -= node.size
                if room < 0:
                    raise ConverterError(
                        f"kernel, initramfs and modules have more than {human_size(LIMIT)}"
                    ) from missing
                node.data = b"" if node.content is None else b"".join(root.spool.read(node.content))


def bytes_of_parts(root: RootTree, *parts: Part) -> bytes:
    """Files of what boots, one behind the other. Raises ConverterError where they are more than that can have."""
    if sum(part.node.size for part in parts) > LIMIT:
        raise ConverterError(
            f"{parts[0].path} has more than {human_size(LIMIT)}: nothing that boots is so large"
        )
    contents = (part.node.content for part in parts)
    return b"".join(data for content in contents if content is not None for data in root.spool.read(content))


def initramfs_of(root: RootTree, kernel: BootKernel, *, epoch: int) -> bytes:
    """One that finds the root, made of its modules and programs. Raises RootNotBootable, ConverterError."""
    init = find_root_init()
    return with_bytes(root, lambda: make_initramfs(root.node, kernel, init=init, epoch=epoch))


def plain_arguments(kernel: BootKernel, warn: Callable[[str], None]) -> list[str]:
    """The kernel's own arguments that every language of commands takes for one word, as they are: a shell in quotes,
    iPXE. Others are left out, with a warning."""
    others = [word for word in kernel.arguments if not _PLAIN.fullmatch(word)]
    if others:
        warn(f"arguments of kernel {kernel.version} are left out: {' '.join(map(ascii, others))}")
    return [word for word in kernel.arguments if _PLAIN.fullmatch(word)]


def find_root_init() -> bytes:
    """/init of an initramfs that finds a root."""
    return (resources.shared("converters") / "initramfs" / "find-root" / "init").read_bytes()


def boot_template(name: str) -> bytes:
    """A file of the flavour `boot-files`."""
    return (resources.shared("flavours") / "boot-files" / "files" / name).read_bytes()
