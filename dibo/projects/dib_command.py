"""The command of diskimage-builder for an image of its list: what `diskimage-builder --dry-run` prints."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from dibo.flavours.located_yaml import YamlKind
from dibo.projects.dib import DibImage
from dibo.projects.entry import ProjectEntry

_PROGRAM: Final = "disk-image-create"
_RAMDISK_PROGRAM: Final = "ramdisk-image-create"


@dataclass(frozen=True, slots=True, kw_only=True)
class DibCommand:
    name: str
    """Of the image."""
    program: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    logfile: str = ""
    clear: bool = False
    """Whether scripts see no variable of the user's."""

    def __str__(self) -> str:
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*variables, shlex.join([self.program, *self.arguments])])


def _value(entry: ProjectEntry, option: str) -> list[str]:
    if entry.kind in (YamlKind.LIST, YamlKind.MAPPING, YamlKind.NULL):
        entry.fail_kind("text")
    return [option, entry.value.text] if entry.value.text else []


def _flag(entry: ProjectEntry, option: str) -> list[str]:
    """A checksum may also be the name of one."""
    if entry.kind is YamlKind.TEXT and option == "--checksum":
        return [option]
    return [option] if entry.flag() else []


def _repeated(entry: ProjectEntry, option: str) -> list[str]:
    return [option] * int(entry.word(("0", "1", "2")) if entry.kind is YamlKind.TEXT else _level(entry))


def _level(entry: ProjectEntry) -> str:
    text = entry.number("a number from 0 to 2")
    if text not in ("0", "1", "2"):
        entry.fail(f"expected a number from 0 to 2, got {text}")
    return text


def _words(entry: ProjectEntry, _option: str) -> list[str]:
    return [item.text() for item in entry.items()]


def _commas(entry: ProjectEntry, option: str) -> list[str]:
    words = _words(entry, option)
    return [option, ",".join(words)] if words else []


def _pairs(entry: ProjectEntry, option: str) -> list[str]:
    pairs = [f"{key}={item.value.text}" for key, item in entry.mapping().items()]
    return [option, ",".join(pairs)] if pairs else []


_ARGUMENTS: Final[tuple[tuple[str, str, Callable[[ProjectEntry, str], list[str]]], ...]] = (
    ("imagename", "-o", _value),
    ("arch", "-a", _value),
    ("types", "-t", _commas),
    ("debug-trace", "-x", _repeated),
    ("uncompressed", "-u", _flag),
    ("clear", "-c", _flag),
    ("logfile", "--logfile", _value),
    ("checksum", "--checksum", _flag),
    ("image-size", "--image-size", _value),
    ("image-extra-size", "--image-extra-size", _value),
    ("image-cache", "--image-cache", _value),
    ("max-online-resize", "--max-online-resize", _value),
    ("min-tmpfs", "--min-tmpfs", _value),
    ("mkfs-journal-size", "--mkfs-journal-size", _value),
    ("mkfs-options", "--mkfs-options", _value),
    ("no-tmpfs", "--no-tmpfs", _flag),
    ("offline", "--offline", _flag),
    ("qemu-img-options", "--qemu-img-options", _pairs),
    ("root-label", "--root-label", _value),
    ("ramdisk-element", "--ramdisk-element", _value),
    ("install-type", "--install-type", _value),
    ("docker-target", "--docker-target", _value),
    ("packages", "-p", _commas),
    ("skip-base", "-n", _flag),
    ("elements", "", _words),
)
"""Keys, their options, in the order of a command."""


def command_of(image: DibImage) -> DibCommand:
    """Raises ProjectError."""
    arguments: list[str] = []
    for key, option, written in _ARGUMENTS:
        if key in image.keys:
            arguments += written(image.keys[key], option)
    environment: dict[str, str] = {}
    if "environment" in image.keys:
        for name, item in image.keys["environment"].mapping().items():
            environment[name] = item.value.text
    ramdisk = image.keys.get("ramdisk")
    is_ramdisk = ramdisk is not None and ramdisk.flag()
    return DibCommand(
        name=image.name,
        program=_RAMDISK_PROGRAM if is_ramdisk else _PROGRAM,
        arguments=tuple(arguments),
        environment=environment,
        logfile=image.keys["logfile"].value.text if "logfile" in image.keys else "",
        clear="clear" in image.keys and image.keys["clear"].flag(),
    )
