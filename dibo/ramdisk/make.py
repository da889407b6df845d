"""A root becomes a ramdisk: what the stack wishes for is picked from it, put in order, and packed."""

from __future__ import annotations

import itertools
import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.errors import RamdiskError
from dibo.flavours.ramdisk_requests import RamdiskRequests, RequestedName
from dibo.ramdisk.compress import RamdiskCompression, compress
from dibo.ramdisk.cpio import archive
from dibo.ramdisk.microcode import microcode
from dibo.ramdisk.modules import ModuleTree, SelectedModules, take_modules
from dibo.ramdisk.programs import PATH, ProgramSelector, applets_of
from dibo.ramdisk.selection import ResolvedPath, Selection, children, resolve
from dibo.ramdisk.source import ContentReader, host_node, host_tree
from dibo.ramdisk.udev import put_rules, take_rules
from dibo.tree.kernel_versions import newest_last
from dibo.tree.node import Buffer, Node
from dibo.tree.query import default_order

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
class RamdiskSpec:
    """Everything that decides the content of a ramdisk."""

    requests: tuple[RamdiskRequests, ...]
    init: str
    """The text of /init, checked."""
    udhcpc: bytes
    rules: tuple[str, ...]
    """Names of udev rules of the root."""
    epoch: int
    """Seconds since 1970: no time in the archive is later."""
    compression: RamdiskCompression
    kernel_version: str | None = None
    module_root: Path | None = None
    busybox: Path | None = None
    microcode: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramdisk:
    """The finished trees, the kernel and the module selection."""

    tree: Node
    early: Node | None
    """An uncompressed archive that precedes the main one: microcode."""
    kernel: Node
    version: str
    modules: SelectedModules


def make_ramdisk(root: Node, spec: RamdiskSpec, contents: ContentReader) -> Ramdisk:
    """Pick a ramdisk from a root. Raises RamdiskError."""
    selection = Selection(root, contents.read)
    for path in _FROM_ROOT:
        selection.take(path)
    for path in _TREES:
        selection.take_all(path)
    for path, mode in _DIRECTORIES.items():
        selection.directory(path, mode)
    selection.device("/dev/console", stat.S_IFCHR | 0o600, (5, 1))
    selection.device("/dev/null", stat.S_IFCHR | 0o666, (1, 3))
    for path, text in _TEXTS.items():
        selection.put(path, text.encode())
    _take_programs(selection, spec)
    modules = _kernel_tree(root, spec, contents)
    kernel = _kernel(modules)
    taken = take_modules(modules, [word for request in spec.requests for word in request.modules], selection)
    selection.put("/init", spec.init.encode(), 0o755)
    selection.put("/usr/lib/dibo/udhcpc", spec.udhcpc, 0o755)
    return Ramdisk(
        tree=selection.tree,
        early=microcode(root, contents.read) if spec.microcode else None,
        kernel=kernel,
        version=modules.version,
        modules=taken,
    )


def pack(
    ramdisk: Ramdisk, spec: RamdiskSpec, contents: ContentReader, *, threads: int | None = None
) -> Iterator[Buffer]:
    """The bytes of the initramfs."""
    early: Iterator[Buffer] = iter(())
    if ramdisk.early is not None:
        early = archive(ramdisk.early, contents.stream, clamp=spec.epoch)
    main = archive(ramdisk.tree, contents.stream, clamp=spec.epoch)
    return itertools.chain(early, compress(main, spec.compression, threads=threads))


def _take_programs(selection: Selection, spec: RamdiskSpec) -> None:
    busybox = _busybox(selection, spec)
    applets = applets_of(selection.read(busybox.node))
    if "sh" not in applets:
        raise RamdiskError(
            f"{busybox.path} is not a busybox with a shell",
            hint="install busybox-static in the root, or set BUSYBOX to one on this machine",
        )
    programs = ProgramSelector(selection, applets=applets)
    own = RequestedName(text="busybox", flavour="ramdisk-base", file="BUSYBOX", line=1)
    location = posixpath.dirname(programs.find("sh") or "") or "/bin"
    if spec.busybox is not None:
        selection.place(f"{location}/busybox", busybox.node)
        programs.take_needs(busybox, own)
    else:
        programs.take_path(busybox.path, own)
    for request in spec.requests:
        for word in request.programs:
            programs.take(word)
    take_rules(spec.rules, programs, selection, own)
    put_rules(spec.requests, programs, selection)
    place = resolve(selection.tree, location)
    for name in applets:
        if name not in _NO_APPLETS and not any(selection.has(f"{directory}/{name}") for directory in PATH):
            selection.link(f"{place.path if place else location}/{name}", "busybox")


def _busybox(selection: Selection, spec: RamdiskSpec) -> ResolvedPath:
    if spec.busybox is not None:
        return ResolvedPath(path=str(spec.busybox), node=host_node(spec.busybox))
    path = ProgramSelector(selection).find("busybox")
    resolved = resolve(selection.root, path) if path else None
    if resolved is None:
        raise RamdiskError(
            "the root has no busybox, which runs /init",
            hint="the flavour ramdisk-base installs it; or set BUSYBOX to one on this machine",
        )
    return resolved


def _kernel_tree(root: Node, spec: RamdiskSpec, contents: ContentReader) -> ModuleTree:
    """Of the root; of another tree where MODULE_ROOT names one; of this machine where a version was asked for that the
    root does not have."""
    requested, known = spec.kernel_version, []
    if spec.module_root is None:
        known = list(_versions(root))
        if version := _choose(requested, known):
            return ModuleTree(root, version, contents.read)
    place = spec.module_root or Path("/")
    if spec.module_root is not None or requested is not None:
        here = _host_versions(place)
        if version := _choose(requested, here):
            kernels = tuple(pattern.format(version).lstrip("/") for pattern in _KERNELS)
            tree = host_tree(place, (f"lib/modules/{version}", *kernels, "lib/firmware"))
            return ModuleTree(tree, version, contents.read)
        known += here
    location = (
        str(spec.module_root)
        if spec.module_root
        else "the root" + (" or on this machine" if requested else "")
    )
    raise RamdiskError(
        f"no kernel {requested} with modules in {location}" if requested else f"no kernel in {location}",
        hint=f"present: {', '.join(known)}" if known else "the flavour ramdisk-base installs one",
    )


def _choose(requested: str | None, versions: Sequence[str]) -> str | None:
    """The version that was asked for, else the newest."""
    if requested is not None:
        return requested if requested in versions else None
    return versions[-1] if versions else None


def _versions(root: Node) -> tuple[str, ...]:
    """Kernels with modules, the newest last."""
    names = children(root, "/lib/modules")
    complete = (name for name in names if resolve(root, f"/lib/modules/{name}/modules.dep"))
    return newest_last(complete, default_order=default_order(root))


def _host_versions(place: Path) -> tuple[str, ...]:
    return newest_last(path.parent.name for path in place.glob("lib/modules/*/modules.dep"))


def _kernel(modules: ModuleTree) -> Node:
    for place in _KERNELS:
        resolved = resolve(modules.root, place.format(modules.version))
        if resolved is not None and stat.S_ISREG(resolved.node.mode):
            return resolved.node
    raise RamdiskError(
        f"the modules of kernel {modules.version} are present, but the kernel itself is missing",
        hint=f"paths searched: {', '.join(place.format(modules.version) for place in _KERNELS)}",
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
