"""The kernels of a disk, their ramdisks, and the arguments that its boot loader would give them.

    /boot/vmlinuz-VERSION     initrd.img-VERSION            Debian, Ubuntu
                              initramfs-VERSION.img         Fedora and its kin, Arch
                              initrd-VERSION                SUSE
                              initramfs-VERSION             Alpine
    /boot/loader/entries/*.conf: linux, initrd, options     Boot Loader Specification, type 1

/boot may be a volume of its own; then all of it lies at its top. Names that are not plain, printable ASCII are left
out: no kernel is called so, and they go to a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dibo.errors import DiskImageError
from dibo.formats.filesystem import Entry, FileSystem, Kind, find, names_in, read_text
from dibo.inspect.volumes import Volume
from dibo.tree.query import by_version

LIMIT: Final = 1 << 30
"""Bytes of a kernel or a ramdisk."""
_KERNEL: Final = re.compile(rb"(vmlinuz|vmlinux|Image|kernel)-([!-.0-~]{1,200})")
_NOT: Final = (".old", ".bak", ".orig", ".signed", ".sig", ".hmac", ".efi", ".gz", ".xz")
_NOT_RELEASED: Final = re.compile(r"\.(dpkg|rpm|ucf)[-a-z]*$")
_RAMDISKS: Final = (
    "initrd.img-{}",
    "initramfs-{}.img",
    "initrd-{}",
    "initrd-{}.img",
    "initramfs-{}",
    "initramfs.img-{}",
)
_PLACES: Final = ("/boot", "/")
_GRUB: Final = ("grub/grub.cfg", "grub2/grub.cfg")
_MOST_CONFIG: Final = 1 << 20
_MOST_ENTRIES: Final = 256
_PLAIN: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    path: str
    entry: Entry = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """`ramdisks` belong one behind the other in memory; `arguments` are the boot loader's, None where it has none."""

    version: str
    volume: Volume
    kernel: File
    ramdisks: tuple[File, ...]
    arguments: tuple[str, ...] | None = None

    @property
    def system(self) -> FileSystem:
        assert self.volume.system is not None
        return self.volume.system


def kernels(volumes: Sequence[Volume]) -> tuple[Kernel, ...]:
    """All that are there, the newest last. Raises DiskImageError for a file system that turns out to be damaged when
    no other has a kernel."""
    found: list[Kernel] = []
    trouble: DiskImageError | None = None
    for volume in volumes:
        if volume.system is not None:
            try:
                found += _of_volume(volume, volume.system)
            except DiskImageError as error:
                trouble = DiskImageError(f"{volume.name}: {error.message}", hint=error.hint)
    if not found and trouble is not None:
        raise trouble
    return tuple(sorted(found, key=lambda kernel: by_version(kernel.version)))


def choose(found: Sequence[Kernel], version: str | None) -> Kernel:
    """The kernel of that version, else the newest that has a ramdisk. Raises DiskImageError."""
    if version is not None:
        named = [kernel for kernel in found if kernel.version == version]
        if not named:
            raise DiskImageError(
                f"the image has no kernel {version}", hint=f"it has {_enumerated(found)}: see --list"
            )
        found = named
    complete = [kernel for kernel in found if kernel.ramdisks]
    if not complete:
        raise DiskImageError(
            f"there is a kernel, but no ramdisk that belongs to it: {_enumerated(found)}",
            hint="wanted beside it: " + ", ".join(name.format("VERSION") for name in _RAMDISKS[:3]),
        )
    return complete[-1]


def _enumerated(found: Sequence[Kernel]) -> str:
    return ", ".join(kernel.version for kernel in found)


def _of_volume(volume: Volume, system: FileSystem) -> Iterator[Kernel]:
    by_name: dict[str, Kernel] = {}
    for place in _PLACES:
        for kernel in _by_name(volume, system, place):
            by_name.setdefault(kernel.version, kernel)
        for kernel in _by_entry(volume, system, place):
            known = by_name.get(kernel.version, kernel)
            by_name[kernel.version] = replace(
                known, ramdisks=known.ramdisks or kernel.ramdisks, arguments=kernel.arguments
            )
    loader = _grub(system)
    for kernel in by_name.values():
        if kernel.arguments is None and loader:
            kernel = replace(kernel, arguments=_arguments_of(loader, kernel.kernel.path))
        yield kernel


def _by_name(volume: Volume, system: FileSystem, place: str) -> Iterator[Kernel]:
    for name in sorted(names_in(system, place), reverse=True):  # vmlinuz before vmlinux before Image
        match = _KERNEL.fullmatch(name)
        if match is None:
            continue
        version = match[2].decode()
        if version.endswith(_NOT) or _NOT_RELEASED.search(version):
            continue
        kernel = _file(system, f"{place.rstrip('/')}/{name.decode()}")
        if kernel is not None:
            ramdisks = (
                _file(system, f"{place.rstrip('/')}/{pattern.format(version)}") for pattern in _RAMDISKS
            )
            ramdisk = next((file for file in ramdisks if file is not None), None)
            yield Kernel(
                version=version, volume=volume, kernel=kernel, ramdisks=(ramdisk,) if ramdisk else ()
            )


def _by_entry(volume: Volume, system: FileSystem, place: str) -> Iterator[Kernel]:
    directory = f"{place.rstrip('/')}/loader/entries"
    entries = [name for name in names_in(system, directory) if name.endswith(b".conf")]
    for name in entries[:_MOST_ENTRIES]:
        text = read_text(system, f"{directory}/{name.decode(errors='replace')}", limit=_MOST_CONFIG) or ""
        lines = [line.split(None, 1) for line in text.splitlines() if not line.startswith("#")]
        pairs = [(words[0], words[1].strip()) for words in lines if len(words) == 2]
        keys = dict(pairs)
        path = keys.get("linux", "")
        kernel = _file(system, path) if _PLAIN.fullmatch(path) else None
        version = keys.get("version") or path.rpartition("-")[2]
        if (match := _KERNEL.fullmatch(path.rpartition("/")[2].encode())) is not None:
            version = match[2].decode()
        if kernel is None or _PLAIN.fullmatch(version) is None:
            continue
        paths = [word for key, value in pairs if key == "initrd" for word in value.split() if "$" not in word]
        ramdisks = [_file(system, each) for each in paths if _PLAIN.fullmatch(each)]
        yield Kernel(
            version=version,
            volume=volume,
            kernel=kernel,
            ramdisks=tuple(file for file in ramdisks if file) if all(ramdisks) else (),
            arguments=_plain(keys.get("options", "").split()),
        )


def _file(system: FileSystem, path: str) -> File | None:
    """Raises DiskImageError for one that is larger than any kernel or ramdisk."""
    entry = find(system, path)
    if entry is None or entry.kind is not Kind.FILE or not entry.size:
        return None
    if entry.size > LIMIT:
        raise DiskImageError(f"{path} claims to have {entry.size} bytes; more than {LIMIT} are not believed")
    return File(path=path, entry=entry)


def _grub(system: FileSystem) -> str:
    for place in _PLACES:
        for name in _GRUB:
            text = read_text(system, f"{place.rstrip('/')}/{name}", limit=_MOST_CONFIG)
            if text:
                return text
    return ""


def _arguments_of(loader: str, path: str) -> tuple[str, ...] | None:
    """What grub.cfg gives the kernel at `path` where it names it first."""
    for line in loader.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] in ("linux", "linux16", "linuxefi") and words[1].endswith(path):
            return _plain(words[2:])
    return None


def _plain(words: list[str]) -> tuple[str, ...]:
    """Without what is a variable of the boot loader's, or of its own business."""
    own = ("BOOT_IMAGE=", "initrd=")
    return tuple(
        word
        for word in words
        if _PLAIN.fullmatch(word) and "$" not in word and not word.startswith((*own, '"', "'"))
    )
