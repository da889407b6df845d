"""The images.yaml of diskimage-builder, in the terms of a project file.

It is a list of mappings. Several lists are one; mappings with the same `imagename` are merged (lists append, mappings
update, all else replaces), one without it is merged into the one before, and the first is called `image`
(diskimage_builder/diskimage_builder.py of release 3). What has no counterpart here is refused, with what to do instead;
what only says how diskimage-builder runs is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from dibo.errors import UsageError
from dibo.flavours.located_yaml import LocatedValue, YamlKind
from dibo.flavours.schema import nearest
from dibo.images.platforms import split_architecture
from dibo.projects.entry import ProjectEntry
from dibo.projects.keys import IMAGE_NAME, NAME_TEXT
from dibo.settings.dib_options import (
    CHECKSUM,
    INSTALL_TYPE,
    INSTALL_TYPES,
    OFFLINE,
    VARIABLES_OF_OPTIONS,
    qemu_img_variables,
)

_DEFAULT_NAME: Final = "image"
_BASES: Final = {
    "debian": "debian",
    "debian-minimal": "debian",
    "ubuntu": "ubuntu",
    "ubuntu-minimal": "ubuntu",
}
"""Elements that make a root, and the base in their place."""
_TYPES: Final = {name: name for name in ("qcow2", "raw", "tar", "squashfs", "vmdk", "vdi", "vhdx")} | {
    "tgz": "tgz",
    "vhd": "vhd",
    "vpc": "vhd",
}
"""Types of diskimage-builder, or of qemu-img, and those of dibo."""
_PASSED_OVER: Final = (
    *("debug-trace", "clear", "logfile", "no-tmpfs", "min-tmpfs", "max-online-resize"),
    *("docker-target", "ramdisk-element"),
)
"""They say how diskimage-builder runs, or what dibo does always: hooks see a clean environment, file systems can
grow. `diskimage-builder FILE` writes the log file, and hides variables."""
_REFUSED: Final = {
    "image-extra-size": "a layout with `size: fit` and `headroom` adds free space",
    "root-label": "the key layout has labels of file systems",
    "install-type": "a flavour chooses where it installs from, by a variable that it declares",
    "packages": "a flavour lists packages: `packages:` in its flavour.yaml",
}
"""Keys without a counterpart for flavours, and what there is instead."""
_MAPPED: Final = (
    "imagename",
    "arch",
    "types",
    "environment",
    "ramdisk",
    "uncompressed",
    "checksum",
    "image-size",
    "skip-base",
    "elements",
    "image-cache",
    "offline",
    "mkfs-options",
    "mkfs-journal-size",
    "qemu-img-options",
)
_KNOWN: Final = (*_MAPPED, *_PASSED_OVER, *_REFUSED)
_NO_ELEMENT: Final = re.compile(r"block-device-.*|bootloader|grub2")  # codespell:ignore bootloader
ELEMENTS_PATH: Final = "ELEMENTS_PATH"
_FIRST_FLAVOUR: Final = "base"
"""Which every stack begins with, there and here."""
_RELEASE: Final = "DIB_RELEASE"
_MIRROR: Final = "DIB_DISTRIBUTION_MIRROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class DibImage:
    """One image of the list, merged."""

    name: str
    first: ProjectEntry
    keys: Mapping[str, ProjectEntry]

    @property
    def has_elements_path(self) -> bool:
        """Whether its environment says where elements are."""
        environment = self.keys.get("environment")
        return environment is not None and ELEMENTS_PATH in (environment.value.mapping or {})


def merged_images(lists: Sequence[ProjectEntry]) -> tuple[DibImage, ...]:
    """The images of the lists of several files, in the order of their first mention. Raises ProjectError."""
    merged: dict[str, DibImage] = {}
    name = _DEFAULT_NAME
    for entry in (item for one_list in lists for item in one_list.items()):
        given = entry.mapping(_KNOWN)
        if "imagename" in given:
            name = given["imagename"].text(IMAGE_NAME, f"a name: {NAME_TEXT}")
        before = merged.get(name)
        merged[name] = (
            DibImage(name=name, first=entry, keys=given)
            if before is None
            else replace(before, keys=_merged(before.keys, given))
        )
    return tuple(merged.values())


def images_of(
    lists: Sequence[ProjectEntry], *, elements: Callable[[DibImage], bool] = lambda _: False
) -> dict[str, ProjectEntry]:
    """The images of the lists of several files, each as an entry of `images` in a project file. `elements` says whether
    names are those of elements, which are built as they are, and not of flavours alone. Raises ProjectError."""
    return {image.name: _converted(image, elements=elements(image)) for image in merged_images(lists)}


def _merged(below: Mapping[str, ProjectEntry], above: Mapping[str, ProjectEntry]) -> dict[str, ProjectEntry]:
    result = dict(below)
    for key, entry in above.items():
        lower = below.get(key)
        if lower is not None and lower.kind is entry.kind is YamlKind.LIST:
            value = replace(entry.value, items=(*lower.value.items, *entry.value.items))
        elif lower is not None and lower.kind is entry.kind is YamlKind.MAPPING:
            value = replace(
                entry.value, mapping={**(lower.value.mapping or {}), **(entry.value.mapping or {})}
            )
        else:
            value = entry.value
        result[key] = replace(entry, value=value)
    return result


def _converted(image: DibImage, *, elements: bool) -> ProjectEntry:
    keys: dict[str, LocatedValue] = {}
    for key, entry in image.keys.items():
        if key in _REFUSED and not elements:
            entry.fail(f"dibo has no counterpart of {key}", hint=_REFUSED[key])
        if elements and key in _WITH_ELEMENTS:
            _WITH_ELEMENTS[key](entry, keys)
        elif key in _CONVERT:
            _CONVERT[key](entry, keys)
    if "base" not in keys and not elements:
        image.first.fail(
            "no element is called debian or ubuntu, which says what the root is",
            hint=f"add one of {', '.join(_BASES)} to elements, or set {ELEMENTS_PATH}",
        )
    return replace(
        image.first, value=LocatedValue(kind=YamlKind.MAPPING, line=image.first.value.line, mapping=keys)
    )


def _architecture(entry: ProjectEntry, keys: dict[str, LocatedValue]) -> None:
    keys["arch"] = replace(entry.value, text=split_architecture(entry.text())[0])


def _types(entry: ProjectEntry, keys: dict[str, LocatedValue]) -> None:
    items = []
    for item in entry.items():
        text = item.text()
        if text not in _TYPES:
            item.fail(
                f"dibo has no type {text!r}{nearest(text, _TYPES)}",
                hint="the key types of dibo.yaml has more",
            )
        items.append(replace(item.value, text=_TYPES[text]))
    keys["types"] = replace(entry.value, items=tuple(items))


def _environment(entry: ProjectEntry, keys: dict[str, LocatedValue], *, elements: bool = False) -> None:
    variables = {}
    for name, item in entry.mapping().items():
        if item.kind in (YamlKind.LIST, YamlKind.MAPPING):
            item.fail_kind("text")
        value = replace(item.value, kind=YamlKind.TEXT)
        if elements:  # whose scripts read them
            variables[name] = value
        elif name == _RELEASE:
            keys["release"] = value
        elif name == _MIRROR:
            keys["mirror"] = value
        else:
            variables[name] = value
    _add_variables(keys, entry.value.line, variables)


def _add_variables(keys: dict[str, LocatedValue], line: int, variables: dict[str, LocatedValue]) -> None:
    before = keys["variables"].mapping or {} if "variables" in keys else {}
    keys["variables"] = LocatedValue(kind=YamlKind.MAPPING, line=line, mapping={**before, **variables})


def _set_variable(keys: dict[str, LocatedValue], entry: ProjectEntry, name: str, text: str) -> None:
    value = LocatedValue(kind=YamlKind.TEXT, line=entry.value.line, text=text)
    _add_variables(keys, entry.value.line, {name: value})


def _uncompressed(entry: ProjectEntry, keys: dict[str, LocatedValue]) -> None:
    if entry.flag():
        _set_variable(keys, entry, "DIBO_QCOW2_COMPRESSION", "none")


def _offline(entry: ProjectEntry, keys: dict[str, LocatedValue]) -> None:
    if entry.flag():
        _set_variable(keys, entry, OFFLINE, "1")


def _qemu_img_options(entry: ProjectEntry, keys: dict[str, LocatedValue]) -> None:
    words = ",".join(f"{name}={item.value.text}" for name, item in entry.mapping().items())
    try:
        variables = qemu_img_variables(words)
    except UsageError as error:
        entry.fail(error.message, hint=error.hint)
    for name, value in variables.items():
        _set_variable(keys, entry, name, value)


def _variable(name: str) -> Callable[[ProjectEntry, dict[str, LocatedValue]], None]:
    """Of a key whose value is that of a variable."""

    def convert(entry: ProjectEntry, keys: dict[str, LocatedValue]) -> None:
        if entry.kind in (YamlKind.LIST, YamlKind.MAPPING, YamlKind.NULL, YamlKind.BOOLEAN):
            entry.fail_kind("text")
        _set_variable(keys, entry, name, entry.value.text)

    return convert


def _checksum(entry: ProjectEntry, keys: dict[str, LocatedValue]) -> None:
    """Both digests for `true`; here, a sha256 is beside each artefact always."""
    if entry.flag() if entry.kind is YamlKind.BOOLEAN else entry.word(("sha256", "md5")) == "md5":
        _set_variable(keys, entry, CHECKSUM, "1")


def _elements(entry: ProjectEntry, keys: dict[str, LocatedValue]) -> None:
    flavours = []
    for item in entry.items():
        name = item.text()
        if _NO_ELEMENT.fullmatch(name):
            item.fail(
                f"dibo has no counterpart of the element {name}",
                hint="leave it out: disks of the flavour vm boot with BIOS and UEFI; the key layout changes them",
            )
        if name in _BASES:
            keys["base"] = replace(item.value, text=_BASES[name])
        elif name != _FIRST_FLAVOUR:
            flavours.append(item.value)
    if not flavours:  # the distribution alone
        flavours = [LocatedValue(kind=YamlKind.TEXT, line=entry.value.line, text=_FIRST_FLAVOUR)]
    keys["flavours"] = replace(entry.value, items=tuple(flavours))


def _names_of_elements(entry: ProjectEntry, keys: dict[str, LocatedValue]) -> None:
    names = tuple(item.value for item in entry.items() if item.text() != _FIRST_FLAVOUR)
    keys["flavours"] = replace(entry.value, items=names)


def _install_type(entry: ProjectEntry, keys: dict[str, LocatedValue]) -> None:
    _set_variable(keys, entry, INSTALL_TYPE, entry.word(INSTALL_TYPES))


def _same(key: str) -> Callable[[ProjectEntry, dict[str, LocatedValue]], None]:
    def keep(entry: ProjectEntry, keys: dict[str, LocatedValue]) -> None:
        keys[key] = entry.value

    return keep


_CONVERT: Final[Mapping[str, Callable[[ProjectEntry, dict[str, LocatedValue]], None]]] = {
    "arch": _architecture,
    "types": _types,
    "environment": _environment,
    "ramdisk": _same("ramdisk"),
    "uncompressed": _uncompressed,
    "checksum": _checksum,
    "image-size": _same("size"),
    "skip-base": _same("no-base"),
    "elements": _elements,
    "image-cache": _variable("IMG_PATH"),
    "offline": _offline,
    "mkfs-options": _variable(VARIABLES_OF_OPTIONS["mkfs-options"]),
    "mkfs-journal-size": _variable(VARIABLES_OF_OPTIONS["mkfs-journal-size"]),
    "qemu-img-options": _qemu_img_options,
}
_WITH_ELEMENTS: Final[Mapping[str, Callable[[ProjectEntry, dict[str, LocatedValue]], None]]] = {
    "environment": partial(_environment, elements=True),
    "elements": _names_of_elements,
    "install-type": _install_type,
    "packages": _same("packages"),
    "root-label": _variable(VARIABLES_OF_OPTIONS["root-label"]),
    "image-extra-size": _variable(VARIABLES_OF_OPTIONS["image-extra-size"]),
}
"""The same where names are those of elements."""
