"""An initramfs for a kernel that has none: enough to find the root file system, mount it, and start its init.

Its parts come from the root: the modules of disks and file systems with all that they need, and the programs that
/init (converters/initramfs/find-root/init) calls, each with its libraries, as dibo.ramdisk follows them. busybox
provides all that it can; without it there must be a shell, and the programs of util-linux, coreutils and kmod. Nothing
is executed. Of modules that are built into the kernel, none is missed.

Bytes are read from memory. Which files these are becomes known on the way, so `make_initramfs` may say with
BytesMissing what else to read: first programs and libraries of unusual names, at last the modules.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from typing import Final

from dibo.boot.parts import BootKernel
from dibo.errors import RamdiskError, RootNotBootable
from dibo.flavours.ramdisk_requests import RequestedName
from dibo.ramdisk.compress import DEFAULTS, RamdiskCompression, compress
from dibo.ramdisk.cpio import archive
from dibo.ramdisk.modules import ModuleTree, take_modules
from dibo.ramdisk.programs import ProgramSelector, applets_of
from dibo.ramdisk.selection import Selection, resolve
from dibo.tree.node import Buffer, Node

_NEEDED: Final = ("sh", "mkdir", "mount", "sleep", "switch_root")
_WITH_MODULES: Final = ("modprobe",)
_TO_FIND: Final = ("blkid", "od")
"""What tells file systems apart: od reads their headers, blkid knows more kinds. root=/dev/… needs none of it."""
_PACKAGES: Final = "install busybox, or util-linux, coreutils, kmod and a shell in the image; or --prepare"
_DIRECTORIES: Final = {"/dev": 0o755, "/proc": 0o755, "/run": 0o755, "/sys": 0o755, "/sysroot": 0o755}
_FROM_ROOT: Final = ("/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/sbin")
_CONFIGURATION: Final = ("/etc/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
_MODULES: Final = (
    *("dir:drivers/ata", "dir:drivers/nvme/host", "dir:drivers/virtio", "virtio_blk", "virtio_scsi"),
    *("sd_mod", "hv_storvsc", "hv_vmbus", "vmw_pvscsi", "mptspi", "mptsas", "xen_blkfront", "vmd"),
    *("megaraid_sas", "mpt3sas", "hpsa", "aacraid", "smartpqi"),
    *("usb_storage", "uas", "xhci_pci", "ehci_pci", "xhci_plat_hcd"),
    *("mmc_block", "sdhci_pci", "sdhci_acpi", "sdhci_iproc", "sdhci_of_arasan"),
    *("ext4", "xfs", "btrfs", "overlay", "erofs", "isofs", "loop", "sr_mod"),
    *("crc32c_generic", "crc32c_intel", "crc32c_arm64", "libcrc32c", "xxhash_generic", "sha256_generic"),
    *("blake2b_generic",),
)
"""Names or directories; which of them a kernel has depends on how it was built."""

_PROGRAMS: Final = (
    *(_NEEDED + _WITH_MODULES + _TO_FIND),
    *("busybox", "dash", "bash", "ash", "kmod", "coreutils", "cat"),
)
_KEPT_PROGRAMS: Final = re.compile(
    rb"(?:usr/)?s?bin/(?:" + b"|".join(name.encode() for name in _PROGRAMS) + rb")"
    rb"|(?:usr/)?lib(?:32|64)?/(?:[^/]+-linux-[^/]+/)?(?:ld-|ld64\.|"
    rb"lib(?:c|m|dl|rt|pthread|mount|blkid|uuid|smartcols|selinux|pcre2?-8|pcre|kmod|zstd|lzma|z|crypto|tinfo"
    rb"|readline|ncursesw|cap|acl|attr|gcc_s|econf|resolv)(?=[-.]))[^/]*"
    rb"|etc/ld\.so\.conf(?:\.d/[^/]+)?|etc/modprobe\.d/[^/]+|(?:usr/)?lib/modprobe\.d/[^/]+"
)


def is_program(path: bytes) -> bool:
    """Whether a file, by its path without a first slash, is one that an initramfs is probably made of."""
    return _KEPT_PROGRAMS.fullmatch(path) is not None


class BytesMissing(Exception):
    """A tree was loaded without the bytes of files that are needed: these."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        super().__init__(f"{len(nodes)} files were not read")
        self.nodes = nodes


class _Need(RequestedName):
    """A program or module that the initramfs itself needs."""

    __slots__ = ()

    @property
    def origin(self) -> str:
        return "the initramfs"


def _need(text: str) -> RequestedName:
    return _Need(text=text, flavour="", file="", line=0)


def make_initramfs(root: Node, kernel: BootKernel, *, init: bytes, epoch: int) -> bytes:
    """The initramfs of a kernel, with programs of `root`; `init` is the script, `epoch` the latest time in it, in
    seconds since 1970. Raises RootNotBootable where something is missing, BytesMissing."""
    try:
        selection = _selection(root, kernel, init)
    except RamdiskError as error:
        raise RootNotBootable(
            f"kernel {kernel.version} has no initramfs, and none can be made: {error.message}",
            hint=error.hint or _PACKAGES,
            preparable=True,
        ) from error
    return b"".join(compress(archive(selection.tree, _stream, clamp=epoch), compression_for(kernel.version)))


def _selection(root: Node, kernel: BootKernel, init: bytes) -> Selection:
    selection = Selection(root, _read)
    for path in _FROM_ROOT:
        selection.take(path)
    for path, mode in _DIRECTORIES.items():
        selection.directory(path, mode)
    for path in _CONFIGURATION:
        selection.take_all(path)
    selection.device("/dev/console", stat.S_IFCHR | 0o600, (5, 1))
    selection.device("/dev/null", stat.S_IFCHR | 0o666, (1, 3))
    _take_programs(selection, with_modules=kernel.modules is not None)
    if kernel.modules is not None:
        modules = ModuleTree(kernel.tree, kernel.modules.rpartition("/")[2], _read)
        words = [_need(f"?{name}") for name in _MODULES]
        _require_bytes(modules, words)
        take_modules(modules, words, selection)
    selection.put("/init", init, 0o755)
    return selection


def _take_programs(selection: Selection, *, with_modules: bool) -> None:
    box = ProgramSelector(selection).find("busybox")
    busybox = resolve(selection.root, box) if box else None
    applets = frozenset(applets_of(_read(busybox.node))) if busybox is not None else frozenset()
    if not applets.issuperset(_NEEDED):
        applets = frozenset()
    programs = ProgramSelector(selection, applets=applets)
    needed = (*_NEEDED, *(_WITH_MODULES if with_modules else ()))
    missing = [name for name in needed if name not in applets and programs.find(name) is None]
    if missing:
        raise RamdiskError(f"the root has no {', '.join(missing)}", hint=_PACKAGES)
    if box is not None and applets:
        programs.take_path(box, _need("busybox"))
    for name in (*needed, *_TO_FIND):
        path = programs.find(name)
        if name in applets and (path is None or name != "blkid" or _is_busybox(selection, path, busybox)):
            if not selection.has(f"/bin/{name}"):
                selection.link(f"/bin/{name}", box or "")
        elif path is not None:
            programs.take_path(path, _need(name))
    if not selection.has("/bin/sh"):
        selection.link("/bin/sh", programs.find("sh") or "")
    if with_modules and not selection.has("/sbin/modprobe"):  # where the kernel itself looks for it
        applet = "/bin/modprobe"  # of busybox; the root's own modprobe is not here then
        selection.link(
            "/sbin/modprobe", applet if selection.has(applet) else programs.find("modprobe") or applet
        )


def _is_busybox(selection: Selection, path: str, busybox: object) -> bool:
    resolved = resolve(selection.root, path)
    return resolved is not None and resolved.node is getattr(busybox, "node", None)


def _require_bytes(modules: ModuleTree, words: list[RequestedName]) -> None:
    """Ask for the bytes of all modules at once."""
    names = modules.closure(name for word in words for name in modules.named(word))
    files = (resolve(modules.root, f"{modules.directory}/{modules.paths[name]}") for name in names)
    missing = tuple(module.node for module in files if module is not None and not _is_read(module.node))
    if missing:
        raise BytesMissing(missing)


def _is_read(node: Node) -> bool:
    return node.data is not None or not node.size


def _read(node: Node) -> bytes:
    if not _is_read(node):
        raise BytesMissing((node,))
    return node.data or b""


def _stream(node: Node) -> Iterator[Buffer]:
    yield _read(node)


def compression_for(version: str) -> RamdiskCompression:
    """zstd where a kernel surely unpacks it: since 5.9 (CONFIG_RD_ZSTD); gzip for older ones."""
    match = re.match(r"(\d+)\.(\d+)", version)
    method = "zstd" if match and (int(match[1]), int(match[2])) >= (5, 10) else "gzip"
    return RamdiskCompression(method=method, level=DEFAULTS[method])
