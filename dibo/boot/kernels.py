"""The kernels of a tree, by the names and places that distributions give them.

    kernel                              initramfs                             whose
    /boot/vmlinuz-V, Image-V            initrd.img-V                          Debian, Ubuntu
                                        initramfs-V.img                       Fedora and its kin
                                        initrd-V                              openSUSE
    /boot/vmlinuz-linux                 initramfs-linux.img                   Arch; V in /usr/lib/modules/V/pkgbase
    /boot/vmlinuz-lts                   initramfs-lts                         Alpine; V in /usr/share/kernel/lts
    /usr/lib/modules/V/vmlinuz          beside it, or in /boot as above       Fedora, bootc, openSUSE, Arch
    what an entry in loader/entries     its initrd lines                      Boot Loader Specification, type 1
    /nix/var/nix/profiles/system        kernel, initrd, kernel-params         NixOS
    /boot/vmlinuz                       initrd.img, initramfs.img, initrd     names without a version

A kernel that is found in two ways counts once: by its version, the names in /boot first.

UAPI Group Specifications: Boot Loader Specification. bootc: "Filesystem: /usr/lib/modules/$kver/vmlinuz and
initramfs.img". NixOS: system.build.toplevel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from dibo.boot.parts import ESP_PLACES, BootKernel, Part, part_at
from dibo.tree.kernel_names import (
    INITRAMFS,
    UNVERSIONED,
    UNVERSIONED_INITRAMFS,
    installed_version,
    is_version,
    version_in,
)
from dibo.tree.kernel_versions import newest_last, sort_key
from dibo.tree.node import Node
from dibo.tree.query import default_order, find, names_in

_VERSION: Final = re.compile(r"\d+\.\d.*")
_UNIFIED_NAME: Final = re.compile(r"[A-Za-z0-9 ._+~@^,=-]{1,200}\.efi", re.IGNORECASE)
"""A FAT can have it."""
_WORD: Final = re.compile(r'(?:[^\s"]|"[^"]*")+')
"""An argument of a kernel, which may have spaces in double quotes (lib/cmdline.c: next_arg)."""
_RESCUE: Final = "0-rescue-"
_MODULES: Final = ("/usr/lib/modules", "/lib/modules")
_IN_MODULES: Final = ("vmlinuz", "Image", "bzImage")
_INITRAMFS_IN_MODULES: Final = ("initramfs.img", "initrd", "initramfs")
_MICROCODE: Final = ("amd-ucode.img", "intel-ucode.img")
"""Images that Arch has beside each initramfs; they come before it."""
_ENTRIES: Final = ("/boot", *ESP_PLACES)
_NIXOS: Final = "/nix/var/nix/profiles/system"
_UNIFIED: Final = tuple(f"{place}/EFI/Linux" for place in ESP_PLACES)


def find_kernels(root: Node) -> tuple[BootKernel, ...]:
    """All that are there, the newest first."""
    kernels: dict[str, BootKernel] = {}
    for look in (_by_name, _in_modules, _nixos):
        for kernel in look(root):
            if not is_version(kernel.version):
                continue
            known = kernels.get(kernel.version)
            if known is None:
                kernels[kernel.version] = kernel
            elif kernel.initramfs and not known.initramfs:
                kernels[kernel.version] = replace(known, initramfs=kernel.initramfs)
    for entry in _entries(root):
        known = kernels.get(entry.version)
        kernels[entry.version] = (
            entry
            if known is None
            else replace(known, arguments=entry.arguments, initramfs=entry.initramfs or known.initramfs)
        )
    if not kernels:
        kernels = {kernel.version: kernel for kernel in _unversioned(root) if is_version(kernel.version)}
    order = newest_last(kernels, default_order=default_order(root))
    return tuple(kernels[version] for version in reversed(order))


def find_unified(root: Node) -> tuple[Part, ...]:
    """Unified kernel images, the newest by their names first."""
    images: list[tuple[str, Part]] = []
    modules = (f"{place}/{_text(name)}" for place in _MODULES for name in names_in(root, place))
    for directory in (*_UNIFIED, *modules, "/boot"):
        for name in map(_text, names_in(root, directory)):
            part = part_at(root, f"{directory}/{name}") if _UNIFIED_NAME.fullmatch(name) else None
            if part is not None and all(part.node is not known.node for _, known in images):
                in_modules = directory.startswith(_MODULES)
                match = _VERSION.search(name[: -len(".efi")])
                version = directory.rpartition("/")[2] if in_modules else match[0] if match else ""
                images.append((version, part))
    images.sort(key=lambda image: sort_key(image[0]), reverse=True)
    return tuple(part for _, part in images)


def module_directory(root: Node, version: str) -> str | None:
    """Where the modules of a kernel are, with an index."""
    for place in _MODULES:
        if find(root, f"{place}/{version}/modules.dep") is not None:
            return f"{place}/{version}"
    return None


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


def _kernel(
    root: Node, version: str, image: Part, initramfs: Sequence[Part] = (), arguments: Sequence[str] = ()
) -> BootKernel:
    return BootKernel(
        version=version,
        image=image,
        initramfs=tuple(initramfs),
        modules=module_directory(root, version),
        arguments=tuple(arguments),
        tree=root,
    )


def _by_name(root: Node) -> Iterator[BootKernel]:
    for name in sorted(
        map(_text, names_in(root, "/boot")), reverse=True
    ):  # vmlinuz before vmlinux before Image
        version = installed_version(name)
        if version is None or version.startswith(_RESCUE):
            continue
        image = part_at(root, f"/boot/{name}")
        if image is not None:
            yield _kernel(root, _version_of(root, version), image, _initramfs(root, version))


def _version_of(root: Node, name: str) -> str:
    """The version of a kernel whose file has the name of its package: `linux-lts`, `virt`."""
    if module_directory(root, name) is not None:
        return name
    versions = dict.fromkeys(_text(version) for place in _MODULES for version in names_in(root, place))
    for version in versions:
        for place in _MODULES:
            base = part_at(root, f"{place}/{version}/pkgbase")
            if base is not None and (base.data or b"").strip() == name.encode():
                return version
    release = part_at(root, f"/usr/share/kernel/{name}/kernel.release")
    text = (release.data or b"").decode(errors="replace").strip() if release is not None else ""
    if is_version(text):
        return text
    alike = [version for version in versions if version.endswith(f"-{name}")]
    return alike[0] if len(alike) == 1 else name


def _initramfs(root: Node, version: str, place: str = "/boot") -> tuple[Part, ...]:
    for pattern in INITRAMFS:
        part = part_at(root, f"{place}/{pattern.format(version)}")
        if part is not None:
            microcode = (part_at(root, f"{place}/{name}") for name in _MICROCODE)
            return (*(part for part in microcode if part is not None), part)
    return ()


def _in_modules(root: Node) -> Iterator[BootKernel]:
    for place in _MODULES:
        for version in map(_text, names_in(root, place)):
            directory = f"{place}/{version}"
            parts = (part_at(root, f"{directory}/{name}") for name in _IN_MODULES)
            image = next((part for part in parts if part is not None), None)
            if image is not None:
                parts = (part_at(root, f"{directory}/{name}") for name in _INITRAMFS_IN_MODULES)
                beside = tuple(part for part in parts if part is not None)[:1]
                yield _kernel(root, version, image, beside or _initramfs(root, version))


def _nixos(root: Node) -> Iterator[BootKernel]:
    image, initramfs = part_at(root, f"{_NIXOS}/kernel"), part_at(root, f"{_NIXOS}/initrd")
    if image is None or initramfs is None:
        return
    versions = names_in(root, f"{_NIXOS}/kernel-modules/lib/modules")
    parameters = part_at(root, f"{_NIXOS}/kernel-params")
    words = (parameters.data or b"" if parameters is not None else b"").decode(errors="replace").split()
    arguments = [f"init={_NIXOS}/init", *(word for word in words if not word.startswith(("root=", "init=")))]
    yield _kernel(root, _text(versions[-1]) if versions else "nixos", image, (initramfs,), arguments)


def _unversioned(root: Node) -> Iterator[BootKernel]:
    for place in ("/boot", ""):
        for name in UNVERSIONED:
            image = part_at(root, f"{place}/{name}")
            if image is None:
                continue
            parts = (part_at(root, f"{place}/{beside}") for beside in UNVERSIONED_INITRAMFS)
            initramfs = tuple(part for part in parts if part is not None)[:1]
            versions = [version for path in _MODULES for version in names_in(root, path)]
            version = _text(versions[0]) if len(set(versions)) == 1 else name
            yield _kernel(root, version, image, initramfs)
            return


def _entries(root: Node) -> Iterator[BootKernel]:
    """Entries of type 1. Their paths begin at the partition that they are on."""
    for place in dict.fromkeys(_ENTRIES):
        directory = f"{place}/loader/entries"
        for name in map(_text, names_in(root, directory)):
            part = part_at(root, f"{directory}/{name}")
            if not name.endswith(".conf") or part is None or not part.data or _RESCUE in name:
                continue
            keys = entry_keys(part.data)
            image = _of_entry(root, place, keys.get("linux", [""])[-1])
            initramfs = [_of_entry(root, place, path) for path in keys.get("initrd", []) if "$" not in path]
            if image is None or None in initramfs:
                continue
            named = version_in(image.path.rpartition("/")[2])
            versions = (named or "", keys.get("version", [""])[-1], name.removesuffix(".conf"))
            version = next(filter(is_version, versions), None)
            if version is None:
                continue
            arguments = _plain_arguments(" ".join(keys.get("options", [])))
            yield _kernel(
                root,
                version,
                image,
                [part for part in initramfs if part is not None] or _initramfs(root, version),
                arguments,
            )


def entry_keys(data: bytes) -> dict[str, list[str]]:
    """Keys and values of an entry of type 1; several lines of a key are one list."""
    keys: dict[str, list[str]] = {}
    for line in data.decode(errors="replace").splitlines():
        words = line.split(None, 1)
        if len(words) == 2 and not words[0].startswith("#"):
            keys.setdefault(words[0], []).append(words[1].strip())
    return keys


def _of_entry(root: Node, place: str, path: str) -> Part | None:
    path = "/" + path.lstrip("/")
    return (part_at(root, f"{place}{path}") or part_at(root, path)) if path != "/" else None


def _plain_arguments(text: str) -> list[str]:
    """Without those of another machine: its root, variables of its boot loader."""
    words = (
        word if re.search(r"\s", word) else word.replace('"', "")
        for word in _WORD.findall(text)
        if word.isprintable()
    )
    own = ("root=", "rootflags=", "resume=", "BOOT_IMAGE=", "initrd=", "rd.lvm", "rd.luks", "ostree=")
    return [word for word in words if word and "$" not in word and not word.lstrip('"').startswith(own)]
