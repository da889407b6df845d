"""A kit, from a root that the flavour `boot-kit` installed: what machines need is picked, the rest stays behind.

    /boot                      the kernel, its initramfs, GRUB's menu
    /usr/lib/modules/VERSION   all modules, as their package has them; /usr/lib/firmware where there is any
    /usr/lib/dibo/boot         boot files for BIOS and UEFI, as dibo.boot.boot_files has them
    /usr/lib/dibo/kit          busybox, catatonit, dropbear, setpriv, and the scripts of converters/kit

Programs that are not linked statically bring their libraries and loader along, since the image may have others or
none: their loader is named in them, their libraries by a script of their name. No program of the root runs.
"""

from __future__ import annotations

import json
import posixpath
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dibo.boot.boot_files import MANIFEST as BOOT_MANIFEST
from dibo.boot.find import find_boot_parts
from dibo.boot.options import BootLoader
from dibo.boot.prepare_root import BootTemplates, BootWish, prepare
from dibo.boot.prepared import PreparedRoot
from dibo.errors import RamdiskError
from dibo.flavours.ramdisk_requests import RamdiskRequests, RequestedName
from dibo.kits.files import SERVICE
from dibo.kits.manifest import KIT, MANIFEST, KitManifest
from dibo.ramdisk.compress import RamdiskCompression
from dibo.ramdisk.elf import read_elf, with_interpreter
from dibo.ramdisk.make import RamdiskSpec, make_ramdisk, pack
from dibo.ramdisk.programs import ProgramSelector, applets_of
from dibo.ramdisk.selection import Selection, files_below, resolve
from dibo.ramdisk.source import ContentReader
from dibo.system import resources
from dibo.tree.node import Node

PROGRAMS: Final = ("catatonit", "setpriv")
OPTIONAL: Final = ("dropbear", "dropbearkey", "e2fsck", "ntpd", "partx", "resize2fs", "sfdisk")
_APPLETS: Final = (
    *("acpid", "awk", "chown", "cp", "cut", "env", "find", "findfs", "grep", "hostname", "ip", "modprobe"),
    *("mount", "nc", "od", "poweroff", "reboot", "sed", "setsid", "sh", "switch_root", "timeout", "udhcpc"),
    *("umount", "unshare", "wget", "xargs"),
)
"""What the scripts of a kit call, besides what every busybox has."""
_DEVICE_LINKS: Final = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
"""What /dev has besides the kernel's devices, as in containers (OCI runtime specification, config-linux.md)."""
_OTHERS: Final = ("busybox", "linuxrc", *PROGRAMS, *OPTIONAL)
_PACKAGES: Final = {"setpriv": "util-linux", "dropbear": "dropbear-bin", "dropbearkey": "dropbear-bin"}
_LOADER: Final = KIT / "ld.so"
"""Short: it replaces the path of a loader in programs, of which /lib/ld-linux-armhf.so.3 is the shortest."""
_COMPRESSION: Final = RamdiskCompression(method="zstd", level=12)
_COMMAND_LINE: Final = {
    "amd64": "console=tty0 console=ttyS0,115200 quiet rw",
    "arm64": "console=tty0 console=ttyAMA0,115200 quiet rw",
}
"""The console is the application's, so the kernel is quiet. Images have no fstab by which the root becomes writable."""
_OPAQUE: Final = ".wh..wh..opq"


@dataclass(frozen=True, slots=True, kw_only=True)
class KitSpec:
    """`requests` say which drivers the initramfs has; `epoch` in seconds since 1970."""

    profile: str
    architecture: str
    requests: tuple[RamdiskRequests, ...]
    templates: BootTemplates
    options: Mapping[str, str]
    """May have DIBO_CMDLINE and DIBO_GRUB_TIMEOUT."""
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """`tree` speaks of the contents of the root, or has bytes of its own (Node.data)."""

    tree: Node
    manifest: KitManifest


def make_kit(root: Node, spec: KitSpec, contents: ContentReader) -> Kit:
    """Pick the kit from a root. Raises RamdiskError, RootNotBootable for a root that lacks a part."""
    selection = Selection(root, contents.read)
    version = _put_kernel(selection, spec, contents)
    _put_modules(selection, version)
    _put_boot_files(selection, spec)
    _put_programs(selection)
    own = resources.shared("converters") / "kit"
    for path in ("start", "udhcpc", "acpi/PWRF/00000080"):
        selection.put(f"{KIT}/{path}", (own / path).read_bytes(), 0o755)
    for file in sorted((own / "functions").iterdir()):
        selection.put(f"{KIT}/functions/{file.name}", file.read_bytes())
    for name, target in _DEVICE_LINKS.items():
        selection.link(f"{KIT}/dev/{name}", target)
    manifest = KitManifest(profile=spec.profile, architecture=spec.architecture, kernel=version)
    selection.put(str(MANIFEST), manifest.text().encode())
    for directory in (KIT, SERVICE, BOOT_MANIFEST.parent):  # an image has nothing to say there
        selection.put(f"{directory}/{_OPAQUE}", b"")
    return Kit(tree=selection.tree, manifest=manifest)


def _put_kernel(selection: Selection, spec: KitSpec, contents: ContentReader) -> str:
    """Put the kernel and its initramfs; its version."""
    order = RamdiskSpec(
        requests=spec.requests,
        init=spec.templates.init.decode(),
        udhcpc=b"",
        rules=(),
        epoch=spec.epoch,
        compression=_COMPRESSION,
    )
    ramdisk = make_ramdisk(selection.root, order, contents)
    selection.place(f"/boot/vmlinuz-{ramdisk.version}", ramdisk.kernel)
    selection.put(f"/boot/initrd.img-{ramdisk.version}", b"".join(pack(ramdisk, order, contents)))
    return ramdisk.version


def _put_modules(selection: Selection, version: str) -> None:
    for place in (f"/lib/modules/{version}", "/lib/firmware"):
        resolved = resolve(selection.root, place)
        for path in files_below(selection.root, place) if resolved is not None else ():
            assert resolved is not None
            name = path.removeprefix(resolved.path)
            if name in ("/build", "/source"):
                continue
            directory = resolve(selection.root, posixpath.dirname(path))
            assert directory is not None and directory.node.children is not None
            node = directory.node.children[posixpath.basename(path).encode(errors="surrogateescape")]
            selection.place(f"/usr{place}{name}", node)


def _put_boot_files(selection: Selection, spec: KitSpec) -> None:
    """GRUB's images and menu, made of the root's GRUB and the kit's kernel."""
    bootable = Node(stat.S_IFDIR | 0o755)
    assert bootable.children is not None and selection.root.children is not None
    bootable.children.update(selection.root.children)
    boot = resolve(selection.tree, "/boot")
    assert boot is not None
    bootable.children[b"boot"] = boot.node
    options = {"DIBO_GRUB_TIMEOUT": "0", "DIBO_CMDLINE": _COMMAND_LINE[spec.architecture], **spec.options}
    wish = BootWish(architecture=spec.architecture, options=options, loader=BootLoader.GRUB, epoch=spec.epoch)
    parts = find_boot_parts(bootable, architecture=spec.architecture)
    prepared = prepare(bootable, parts, spec.templates, wish)
    for path, data in _boot_tree(prepared):
        selection.put(path, data)


def _boot_tree(prepared: PreparedRoot) -> Iterator[tuple[str, bytes]]:
    boot, directory = prepared.boot, BOOT_MANIFEST.parent
    document: dict[str, object] = {"format": 1}
    if boot.boot is not None and boot.core is not None:
        document["bios"] = {"boot": "boot.img", "core": "core.img"}
        yield f"{directory}/boot.img", boot.boot
        yield f"{directory}/core.img", boot.core
    if boot.esp:
        document["esp"] = "esp"
        for path, data in boot.esp.items():
            yield f"{directory}/esp/{path}", data
    yield str(BOOT_MANIFEST), json.dumps(document).encode()
    menu = next(path for path in prepared.files if path.name == "grub.cfg")
    yield str(menu), prepared.files[menu]


def _put_programs(selection: Selection) -> None:
    """busybox with a link for each of its applets, and the other programs with their libraries."""
    picked = Selection(selection.root, selection.read)
    programs = ProgramSelector(picked)
    busybox = _find(programs, selection.root, "busybox", "busybox-static")
    applets = applets_of(selection.read(busybox))
    lacking = [name for name in _APPLETS if name not in applets]
    if lacking:
        raise RamdiskError(
            f"the root's busybox has no {', '.join(lacking)}", hint="install busybox-static in the root"
        )
    selection.place(f"{KIT}/bin/busybox", busybox)
    for name in applets:
        if name not in _OTHERS:
            selection.link(f"{KIT}/bin/{name}", "busybox")
    for name in (*PROGRAMS, *OPTIONAL):
        if name in OPTIONAL and programs.find(name) is None:
            continue
        _put_program(selection, programs, picked, name)


def _find(programs: ProgramSelector, root: Node, name: str, package: str) -> Node:
    path = programs.find(name)
    resolved = resolve(root, path) if path is not None else None
    if resolved is None:
        raise RamdiskError(
            f"the root has no {name}, which a kit needs",
            hint=f"build it with the flavour boot-kit, or install {package} in the root",
        )
    return resolved.node


def _put_program(selection: Selection, programs: ProgramSelector, picked: Selection, name: str) -> None:
    node = _find(programs, selection.root, name, _PACKAGES.get(name, name))
    data = selection.read(node)
    try:
        loader = read_elf(data).interpreter
        if loader is None:
            selection.place(f"{KIT}/bin/{name}", node)
            return
        # What starts itself again, as dropbear does for each connection, finds its loader again.
        data = with_interpreter(data, str(_LOADER))
    except ValueError as error:
        raise RamdiskError(f"the root's {name} is no program: {error}") from error
    path = programs.find(name)
    assert path is not None
    programs.take_path(path, RequestedName(text=name, flavour="boot-kit", file="PROGRAMS", line=1))
    for file in files_below(picked.tree, "/"):
        library = resolve(picked.tree, file)
        if ".so" in posixpath.basename(file) and library is not None:
            selection.place(f"{KIT}/lib/{posixpath.basename(file)}", library.node)
    if not selection.has(str(_LOADER)):
        selection.link(str(_LOADER), f"lib/{posixpath.basename(loader)}")
    selection.put(f"{KIT}/libexec/{name}", data, 0o755)
    call = f'LD_LIBRARY_PATH={KIT}/lib exec {KIT}/libexec/{name} "$@"'
    selection.put(f"{KIT}/bin/{name}", f"#!{KIT}/bin/sh\n{call}\n".encode(), 0o755)
