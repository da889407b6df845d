"""The kernels of a disk, their ramdisks, and the arguments that its boot loader would give them.

    /boot/vmlinuz-VERSION     initrd.img-VERSION            Debian, Ubuntu
                              initramfs-VERSION.img         Fedora and its kin, Arch
                              initrd-VERSION                SUSE
                              initramfs-VERSION             Alpine
    /boot/vmlinuz             initrd.img, initramfs.img     where none has a version
    /boot/loader/entries/*.conf: linux, initrd, options     Boot Loader Specification, type 1
    /EFI/Linux/*.efi                                        the same, type 2: dibo/inspect/unified.py
    /usr/lib/modules/VERSION/vmlinuz                        where nothing else has that version

/boot may be a volume of its own; then all of it lies at its top. Names that are not plain, printable ASCII are left
out: no kernel is called so, and they go to a terminal. What the boot loader names counts before names that match.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dibo.errors import DiskImageError
from dibo.formats.filesystem import FileEntry, FileSystem, Kind, find, names_in
from dibo.inspect.boot_loader import PLACES, BootEntry, Grub, specified_entries, version_of
from dibo.inspect.unified import Unified, unified_images
from dibo.inspect.volumes import Volume
from dibo.tree.kernel_names import (
    INITRAMFS,
    UNVERSIONED,
    UNVERSIONED_INITRAMFS,
    installed_version,
    version_in,
)
from dibo.tree.kernel_versions import grub_order, sort_key

LIMIT: Final = 1 << 30
"""Bytes of a kernel or a ramdisk."""
_MODULES: Final = "/usr/lib/modules"
_MOST_MODULES: Final = 64
_PLAIN: Final = re.compile(rb"[!-.0-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    path: str
    entry: FileEntry = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """`ramdisks` belong one behind the other in memory; `arguments` are the boot loader's, None where it has none."""

    version: str
    volume: Volume
    kernel: File
    ramdisks: tuple[File, ...]
    arguments: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()
    """Variables of the boot loader that have more arguments, and cannot be read."""

    @property
    def system(self) -> FileSystem:
        assert self.volume.system is not None
        return self.volume.system


def kernels(volumes: Sequence[Volume]) -> tuple[Kernel, ...]:
    """All that are there, the newest last. Raises DiskImageError for a file system that turns out to be damaged when
    no other has a kernel."""
    available: list[Kernel] = []
    order: list[str] = []
    trouble: DiskImageError | None = None
    for look in (_of_volume, _of_modules):
        for volume in volumes:
            if volume.system is None:
                continue
            try:
                known = {kernel.version for kernel in available} if look is _of_modules else set()
                available += [kernel for kernel in look(volume, volume.system) if kernel.version not in known]
                order += grub_order(Grub(volume.system).config)
            except DiskImageError as error:
                trouble = DiskImageError(f"{volume.name}: {error.message}", hint=error.hint)
    if not available and trouble is not None:
        raise trouble
    return tuple(sorted(available, key=lambda kernel: sort_key(kernel.version, default_order=order)))


def choose(available: Sequence[Kernel], version: str | None) -> Kernel:
    """The kernel of that version, else the newest that has a ramdisk. Raises DiskImageError."""
    if version is not None:
        named = [kernel for kernel in available if kernel.version == version]
        if not named:
            raise DiskImageError(
                f"the image has no kernel {version}", hint=f"it has {_enumerated(available)}: see --list"
            )
        available = named
    complete = [kernel for kernel in available if kernel.ramdisks]
    if not complete:
        raise DiskImageError(
            f"there is a kernel, but no ramdisk that belongs to it: {_enumerated(available)}",
            hint="expected beside it: " + ", ".join(name.format("VERSION") for name in INITRAMFS[:3]),
        )
    return complete[-1]


def _enumerated(available: Sequence[Kernel]) -> str:
    return ", ".join(kernel.version for kernel in available)


def _of_volume(volume: Volume, system: FileSystem) -> Iterator[Kernel]:
    grub = Grub(system)
    by_version: dict[str, Kernel] = {}
    for place in PLACES:
        for kernel in _by_name(volume, system, place):
            by_version.setdefault(kernel.version, _as_loaded(kernel, grub))
    for place in PLACES:
        for entry in specified_entries(system, place, grub.variables):
            specified = _by_entry(volume, system, entry)
            if specified is not None:
                by_version[specified.version] = _merged(by_version.get(specified.version), specified)
    for image in unified_images(system):
        version = image.version if _PLAIN.fullmatch(image.version.encode()) else image.name
        by_version.setdefault(version, _unified(volume, image, version))
    if not by_version:
        unversioned = (_unversioned(volume, system, place) for place in PLACES)
        first = next((kernel for kernel in unversioned if kernel is not None), None)
        if first is not None:
            by_version[first.version] = _as_loaded(first, grub)
    yield from by_version.values()


def _merged(known: Kernel | None, specified: Kernel) -> Kernel:
    """An entry names the kernel, its ramdisks and arguments. Of one that was found by name, too, it is the same file:
    an entry without a ramdisk leaves it the one beside it."""
    if known is None or specified.ramdisks:
        return specified
    return replace(specified, ramdisks=known.ramdisks)


def _as_loaded(kernel: Kernel, grub: Grub) -> Kernel:
    """With the arguments of GRUB's configuration, and its ramdisks where all of them are there: their order counts."""
    entry = grub.entry_of(kernel.kernel.path)
    if entry is None:
        return kernel
    above = entry.kernel.removesuffix(kernel.kernel.path)
    ramdisks = [_file(kernel.system, path.removeprefix(above)) for path in entry.ramdisks]
    complete = tuple(file for file in ramdisks if file is not None)
    return replace(
        kernel,
        arguments=entry.arguments,
        missing=entry.missing,
        ramdisks=complete if complete and len(complete) == len(ramdisks) else kernel.ramdisks,
    )


def _by_name(volume: Volume, system: FileSystem, place: str) -> Iterator[Kernel]:
    for name in sorted(names_in(system, place), reverse=True):  # vmlinuz before vmlinux before Image
        version = installed_version(name.decode(errors="surrogateescape"))
        if version is None:
            continue
        kernel = _file(system, f"{place.rstrip('/')}/{name.decode()}")
        if kernel is not None:
            ramdisks = _first_of(system, place, [pattern.format(version) for pattern in INITRAMFS])
            yield Kernel(version=version, volume=volume, kernel=kernel, ramdisks=ramdisks)


def _unversioned(volume: Volume, system: FileSystem, place: str) -> Kernel | None:
    for name in UNVERSIONED:
        kernel = _file(system, f"{place.rstrip('/')}/{name}")
        if kernel is not None:
            ramdisks = _first_of(system, place, UNVERSIONED_INITRAMFS)
            return Kernel(version=name, volume=volume, kernel=kernel, ramdisks=ramdisks)
    return None


def _of_modules(volume: Volume, system: FileSystem) -> Iterator[Kernel]:
    """Kernels beside their modules: /boot is filled from there when the machine is installed or booted."""
    for name in names_in(system, _MODULES)[:_MOST_MODULES]:
        if _PLAIN.fullmatch(name) is None:
            continue
        version = name.decode()
        directory = f"{_MODULES}/{version}"
        kernel = _file(system, f"{directory}/vmlinuz")
        if kernel is not None:
            beside = _first_of(system, directory, ("initramfs.img", "initrd"))
            named = (
                _first_of(system, place, [pattern.format(version) for pattern in INITRAMFS])
                for place in PLACES
            )
            ramdisks = beside or next((files for files in named if files), ())
            yield Kernel(version=version, volume=volume, kernel=kernel, ramdisks=ramdisks)


def _by_entry(volume: Volume, system: FileSystem, entry: BootEntry) -> Kernel | None:
    kernel = _file(system, entry.kernel)
    if kernel is None:
        return None
    version = version_in(entry.kernel.rpartition("/")[2]) or version_of(entry)
    if not version:
        return None
    ramdisks = [_file(system, path) for path in entry.ramdisks]
    return Kernel(
        version=version,
        volume=volume,
        kernel=kernel,
        ramdisks=tuple(file for file in ramdisks if file) if all(ramdisks) else (),
        arguments=entry.arguments,
        missing=entry.missing,
    )


def _unified(volume: Volume, image: Unified, version: str) -> Kernel:
    ramdisks = tuple(File(path=f"{image.path}:{name}", entry=entry) for name, entry in image.ramdisks)
    return Kernel(
        version=version,
        volume=replace(volume, system=image),
        kernel=File(path=f"{image.path}:.linux", entry=image.kernel),
        ramdisks=ramdisks,
        arguments=image.arguments,
    )


def _first_of(system: FileSystem, place: str, names: Sequence[str]) -> tuple[File, ...]:
    """The first of these files that is there."""
    files = (_file(system, f"{place.rstrip('/')}/{name}") for name in names)
    first = next((file for file in files if file is not None), None)
    return () if first is None else (first,)


def _file(system: FileSystem, path: str) -> File | None:
    """Raises DiskImageError for one that is larger than any kernel or ramdisk."""
    entry = find(system, path)
    if entry is None or entry.kind is not Kind.FILE or not entry.size:
        return None
    if entry.size > LIMIT:
        raise DiskImageError(f"{path} claims to have {entry.size} bytes; more than {LIMIT} are not believed")
    return File(path=path, entry=entry)
