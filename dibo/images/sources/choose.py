"""Finds the source of an image by its reference, in the table of sources.

As with bases, a word without a host is not taken for an image of Docker Hub: a wrong guess would be noticed late.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dibo.errors import DiboError, UsageError
from dibo.formats import magic
from dibo.images.image import Image
from dibo.images.reference import ImageName, names_a_host, parse_image_name
from dibo.images.sources.archive import open_archive
from dibo.images.sources.table import POSSIBLE, SOURCES, ImagePlace, ImageRequest, Verify
from dibo.system.resources import expanded

_ON_DISKS: Final = ("ext", "xfs", "btrfs")
"""File systems of disks without a partition table."""


@contextlib.contextmanager
def choose_image(
    reference: str, *, architecture: str, scratch: Path, verify: Verify | None = None
) -> Iterator[Image]:
    """The image that `reference` names, for `architecture` (Debian's word), with its files open.

    What can be read only once is kept in nameless files in `scratch`. `verify` holds for registries. Raises UsageError
    if no source fits, and what opening an image raises (`dibo.images.sources.table.Open`), or `verify`.
    """
    prefix = _prefix(reference)
    if prefix is None:
        raise UsageError(f"{reference!r} names no image", hint=_hint(reference))
    request = ImageRequest(
        reference=reference,
        name=reference.removeprefix(prefix),
        architecture=architecture,
        scratch=scratch,
        verify=verify,
    )
    with SOURCES[prefix].open(request) as image:
        yield image


def registry_name(reference: str) -> ImageName | None:
    """The name of an image in a registry; None for one that is somewhere else. Raises UsageError."""
    prefix = _prefix(reference)
    if prefix is None or SOURCES[prefix].place is not ImagePlace.REGISTRY:
        return None
    return parse_image_name(reference)


def _prefix(reference: str) -> str | None:
    """The key of the source in SOURCES; None if no source fits."""
    prefix = next((prefix for prefix in SOURCES if prefix and reference.startswith(prefix)), "")
    return prefix if prefix or _is_in_a_registry(reference) else None


def _is_in_a_registry(reference: str) -> bool:
    """Whether it begins with a host. A path that exists may look so too; it gets a hint instead."""
    with contextlib.suppress(OSError, ValueError):  # a name that is too long, or has a NUL
        if Path(reference).exists():
            return False
    return names_a_host(reference) and not reference.startswith(("/", "./", "../", "~"))


def _hint(reference: str) -> str:
    """What might have been meant by something without a prefix."""
    with contextlib.suppress(OSError, UsageError, ValueError):
        path = expanded(reference)
        for name, prefix in (("index.json", "oci"), ("manifest.json", "dir")):
            if (path / name).is_file():
                return f"write {prefix}:{reference}"
        if path.is_dir():
            return f"it is a directory, but no image\n{POSSIBLE}"
        if path.is_file():
            return _hint_for_file(path, reference)
        if (expanded(reference.partition(":")[0]) / "index.json").is_file():
            return f"write oci:{reference}"
    with contextlib.suppress(DiboError):
        parse_image_name(reference)
        return f"if it is an image of Docker Hub: docker://{reference}\n{POSSIBLE}"
    return POSSIBLE


def _hint_for_file(path: Path, reference: str) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(magic.HEAD)
        if magic.disk_format(head) or magic.has_partition_table(head) or magic.file_system(head) in _ON_DISKS:
            return (
                "it is a disk, not a container image; qemu-img converts disks:\n"
                f"  qemu-img convert -O raw {shlex.quote(reference)} …"
            )
    with contextlib.suppress(DiboError), open_archive(path, scratch=None) as files:
        for name, prefix in (("manifest.json", "docker-archive"), ("index.json", "oci-archive")):
            if files.size(name) is not None:
                return f"write {prefix}:{reference}"
        return (
            f"it is a tar, but of no image; if it is one of a root file system:\n"
            f"  disk-image-create --base {shlex.quote(reference)} …"
        )
    return f"if it is an archive of an image: oci-archive:{reference} or docker-archive:{reference}"
