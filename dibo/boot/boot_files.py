"""What a root brings along to be booted: GRUB's images for BIOS, a tree of files for UEFI.

The flavour that makes a root bootable prepares them while its layer is built, where GRUB's own tools are at
hand, and says in a small manifest beside them where they are:

    /usr/lib/dibo/boot/manifest.json
        {"format": 1, "bios": {"boot": "boot.img", "core": "core.img"}, "esp": "esp"}
    /usr/lib/dibo/boot/boot.img, core.img, esp/EFI/BOOT/BOOTX64.EFI, ...

`bios` and `esp` can each be missing. Paths are relative to the manifest and stay below it: a manifest is a
byte from outside, and must not make the converter read some other file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NoReturn

from dibo.errors import LayoutError
from dibo.formats.pe import unified_image

MANIFEST = PurePosixPath("/usr/lib/dibo/boot/manifest.json")
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BiosImages:
    """Paths in the root."""

    boot: PurePosixPath
    core: PurePosixPath


@dataclass(frozen=True, slots=True, kw_only=True)
class BootManifest:
    bios: BiosImages | None = None
    esp: PurePosixPath | None = None
    """The directory in the root whose tree fills the EFI system partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnifiedKernel:
    """A unified kernel image that is made once its command line is known: it names the root by what the disk is."""

    stub: bytes
    architecture: str
    parts: Mapping[str, bytes]
    """Its sections, by name; `.cmdline` without the root."""
    sign: Callable[[bytes], bytes] | None = None
    """Makes a signed image of one without a signature."""

    def image(self, root: str) -> bytes:
        """The image for a disk whose root is `root`: `UUID=…`. Raises LayoutError."""
        command_line = b" ".join([f"root={root}".encode(), self.parts[".cmdline"]])
        parts = {**self.parts, ".cmdline": command_line}
        made = unified_image(self.stub, architecture=self.architecture, parts=parts)
        return self.sign(made) if self.sign is not None else made


@dataclass(frozen=True, slots=True, kw_only=True)
class BootFiles:
    """What the manifest names, read, or what was made in its place. `esp` maps paths such as EFI/BOOT/BOOTX64.EFI to
    their bytes."""

    boot: bytes | None = None
    core: bytes | None = None
    esp: Mapping[str, bytes] = field(default_factory=dict)
    unified: Mapping[str, UnifiedKernel] = field(default_factory=dict)
    """More files of the EFI system partition."""
    is_wanted: bool = True
    """Whether a disk without boot files is a mistake."""


def parse_manifest(text: str | bytes) -> BootManifest:
    """The manifest, with absolute paths in the root. Raises LayoutError."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        _fail(f"not JSON: {error}")
    if not isinstance(data, dict) or data.get("format") != FORMAT or isinstance(data["format"], bool):
        _fail(f'expected an object with "format": {FORMAT}')
    _refuse_others(data, {"format", "bios", "esp"}, "")
    return BootManifest(
        bios=_parse_bios(data["bios"]) if "bios" in data else None,
        esp=_parse_path(data["esp"], "esp") if "esp" in data else None,
    )


def _parse_bios(value: object) -> BiosImages:
    if not isinstance(value, dict):
        _fail('bios: expected an object with "boot" and "core"')
    _refuse_others(value, {"boot", "core"}, "bios.")
    return BiosImages(
        boot=_parse_path(value.get("boot"), "bios.boot"), core=_parse_path(value.get("core"), "bios.core")
    )


def _parse_path(value: object, key: str) -> PurePosixPath:
    if not isinstance(value, str) or not value or "\0" in value:
        _fail(f"{key}: expected a path")
    if any(part in ("", ".", "..") for part in value.split("/")):
        _fail(f"{key}: {value!r} is not a plain path below the manifest")
    return MANIFEST.parent / value


def _refuse_others(data: Mapping[str, object], known: set[str], prefix: str) -> None:
    for key in data:
        if key not in known:
            _fail(f"{prefix}{key}: no such key")


def _fail(message: str) -> NoReturn:
    raise LayoutError(
        f"{MANIFEST} in the root: {message}", hint="the flavour that makes the root bootable writes this file"
    )
