"""A root becomes a ramdisk: what the stack wishes for is picked from it, put in order, and packed."""

from __future__ import annotations

import itertools
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.errors import RamdiskError
from dibo.flavours.ramdisk_requests import Wishes, Word
from dibo.ramdisk.compress import Compression, compress
from dibo.ramdisk.cpio import archive
from dibo.ramdisk.microcode import microcode
from dibo.ramdisk.modules import ModuleTree, Taken, take_modules
from dibo.ramdisk.programs import PATH, Programs, applets_of
from dibo.ramdisk.selection import Found, Harvest, children, resolve
from dibo.ramdisk.source import Bytes, host_node, host_tree
from dibo.ramdisk.udev import put_rules, take_rules
from dibo.tree.node import Buffer, Node

_DIRECTORIES: Final = {
    "/boot": 0o755,
    "/dev": 0o755,
    "/etc": 0o755,
    "/mnt": 0o755,
    "/proc": 0o755,
    "/root": 0o700,
    "/run": 0o755,
    "/sys": 0o755,
    "/tmp": 0o1777,  # noqa: S108
    "/var/lib": 0o755,
    "/var/log": 0o755,
}
_FROM_ROOT: Final = (
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc/group",
    "/etc/os-release",
    "/usr/lib/systemd/network/99-default.link",
)
_TREES: Final = ("/etc/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
_TEXTS: Final = {
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "/etc/resolv.conf": "",
}
_NO_APPLETS: Final = ("init", "linuxrc", "busybox")
_KERNELS: Final = ("/boot/vmlinuz-{}", "/boot/vmlinux-{}", "/boot/Image-{}", "/lib/modules/{}/vmlinuz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What ramdisk is wanted."""

    wishes: tuple[Wishes, ...]
    init: str
    """The text of /init, checked."""
    udhcpc: bytes
    rules: tuple[str, ...]
    """Names of udev rules of the root."""
    epoch: int
    """Seconds since 1970: no time in the archive is later."""
    compression: Compression
    kernel_version: str | None = None
    module_root: Path | None = None
    busybox: Path | None = None
    microcode: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramdisk:
    """All that is in it."""

    tree: Node
    early: Node | None
    """What comes before it, without compression."""
    kernel: Node
    version: str
    modules: Taken


def make_ramdisk(root: Node, order: Order, contents: Bytes) -> Ramdisk:
    """Pick a ramdisk from a root. Raises RamdiskError."""
    harvest = Harvest(root, contents.read)
    for path in _FROM_ROOT:
        harvest.take(path)
    for path in _TREES:
        harvest.take_all(path)
    for path, mode in _DIRECTORIES.items():
        harvest.directory(path, mode)
    harvest.device("/dev/console", stat.S_IFCHR | 0o600, (5, 1))
    harvest.device("/dev/null", stat.S_IFCHR | 0o666, (1, 3))
    for path, text in _TEXTS.items():
        harvest.put(path, text.encode())
    _take_programs(harvest, order)
    modules = _kernel_tree(root, order, contents)
    kernel = _kernel(modules)
    taken = take_modules(modules, [word for each in order.wishes for word in each.modules], harvest)
    harvest.put("/init", order.init.encode(), 0o755)
    harvest.put("/usr/lib/dibo/udhcpc", order.udhcpc, 0o755)
    return Ramdisk(
        tree=harvest.tree,
        early=microcode(root, contents.read) if order.microcode else None,
        kernel=kernel,
        version=modules.version,
        modules=taken,
    )


def pack(ramdisk: Ramdisk, order: Order, contents: Bytes, *, threads: int | None = None) -> Iterator[Buffer]:
    """The bytes of the initramfs."""
    early: Iterator[Buffer] = iter(())
    if ramdisk.early is not None:
        early = archive(ramdisk.early, contents.stream, clamp=order.epoch)
    main = archive(ramdisk.tree, contents.stream, clamp=order.epoch)
    return itertools.chain(early, compress(main, order.compression, threads=threads))


def _take_programs(harvest: Harvest, order: Order) -> None:
    busybox = _busybox(harvest, order)
    applets = applets_of(harvest.read(busybox.node))
    if "sh" not in applets:
        raise RamdiskError(
            f"{busybox.path} is no busybox with a shell",
            hint="install busybox-static in the root, or name one of this machine by BUSYBOX",
        )
    programs = Programs(harvest, applets=applets)
    own = Word(text="busybox", flavour="ramdisk-base", file="BUSYBOX", line=1)
    where = posixpath.dirname(programs.find("sh") or "") or "/bin"
    if order.busybox is not None:
        harvest.place(f"{where}/busybox", busybox.node)
        programs.take_needs(busybox, own)
    else:
        programs.take_path(busybox.path, own)
    for each in order.wishes:
        for word in each.programs:
            programs.take(word)
    take_rules(order.rules, programs, harvest, own)
    put_rules(order.wishes, programs, harvest)
    place = resolve(harvest.tree, where)
    for name in applets:
        if name not in _NO_APPLETS and not any(harvest.has(f"{directory}/{name}") for directory in PATH):
            harvest.link(f"{place.path if place else where}/{name}", "busybox")


def _busybox(harvest: Harvest, order: Order) -> Found:
    if order.busybox is not None:
        return Found(path=str(order.busybox), node=host_node(order.busybox))
    path = Programs(harvest).find("busybox")
    found = resolve(harvest.root, path) if path else None
    if found is None:
        raise RamdiskError(
            "the root has no busybox, which runs /init",
            hint="the flavour ramdisk-base installs it; or name one of this machine by BUSYBOX",
        )
    return found


def _kernel_tree(root: Node, order: Order, contents: Bytes) -> ModuleTree:
    """Of the root; of another tree where MODULE_ROOT names one; of this machine where a version was asked for that the
    root does not have."""
    wanted, known = order.kernel_version, []
    if order.module_root is None:
        known = list(_versions(root))
        if version := _choose(wanted, known):
            return ModuleTree(root, version, contents.read)
    place = order.module_root or Path("/")
    if order.module_root is not None or wanted is not None:
        here = _host_versions(place)
        if version := _choose(wanted, here):
            kernels = tuple(each.format(version).lstrip("/") for each in _KERNELS)
            tree = host_tree(place, (f"lib/modules/{version}", *kernels, "lib/firmware"))
            return ModuleTree(tree, version, contents.read)
        known += here
    where = (
        str(order.module_root)
        if order.module_root
        else "the root" + (" or on this machine" if wanted else "")
    )
    raise RamdiskError(
        f"there is no kernel {wanted} with modules in {where}"
        if wanted
        else f"there is no kernel in {where}",
        hint=f"there are: {', '.join(known)}" if known else "the flavour ramdisk-base installs one",
    )


def _choose(wanted: str | None, versions: Sequence[str]) -> str | None:
    """The version that was asked for, else the newest."""
    if wanted is not None:
        return wanted if wanted in versions else None
    return versions[-1] if versions else None


def _versions(root: Node) -> tuple[str, ...]:
    """Kernels with modules, the newest last."""
    names = children(root, "/lib/modules")
    return tuple(sorted((n for n in names if resolve(root, f"/lib/modules/{n}/modules.dep")), key=by_version))


def _host_versions(place: Path) -> tuple[str, ...]:
    found = (path.parent.name for path in place.glob("lib/modules/*/modules.dep"))
    return tuple(sorted(found, key=by_version))


def by_version(text: str) -> list[tuple[int, int, str]]:
    """For sorting: numbers in a name count as numbers."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d+|\D+", text)]


def _kernel(modules: ModuleTree) -> Node:
    for place in _KERNELS:
        found = resolve(modules.root, place.format(modules.version))
        if found is not None and stat.S_ISREG(found.node.mode):
            return found.node
    raise RamdiskError(
        f"the modules of the kernel {modules.version} are there, the kernel itself is not",
        hint=f"it was looked for at {', '.join(place.format(modules.version) for place in _KERNELS)}",
    )


def kernel_path(output: Path) -> Path:
    """Where the kernel of a ramdisk goes: `deploy.ramdisk` → `deploy.kernel`."""
    known = {".ramdisk", ".initramfs", ".initrd", ".img", ".cpio"}
    stem = output.with_suffix("") if output.suffix in (".zst", ".gz", ".xz") else output
    stem = stem.with_suffix("") if stem.suffix in known else stem
    return stem.with_name(f"{stem.name}.kernel")


def rules_named(text: str) -> tuple[str, ...]:
    """The names in a list with comments."""
    return tuple(word for line in text.splitlines() for word in line.partition("#")[0].split())
