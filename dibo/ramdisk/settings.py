"""What `ramdisk-image-create` was asked for, beside what every build is: options over variables over defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.ramdisk.compress import RamdiskCompression, parse_compression

BASE: Final = "ramdisk-base"
DEFAULT_NAME: Final = "ramdisk"


@dataclass(frozen=True, slots=True, kw_only=True)
class RamdiskSettings:
    """Everything decided."""

    output: Path
    kernel_version: str | None
    module_root: Path | None
    busybox: Path | None
    compression: RamdiskCompression
    microcode: bool


def decide_ramdisk(
    environment: Mapping[str, str],
    *,
    output: str | None,
    kernel_version: str | None,
    module_root: str | None,
    compression: str | None,
    microcode: bool,
) -> RamdiskSettings:
    """Options over environment variables over defaults; an empty variable counts as unset. Raises UsageError."""

    def given(option: str | None, variable: str) -> str | None:
        return option or environment.get(variable) or None

    root, busybox = given(module_root, "MODULE_ROOT"), environment.get("BUSYBOX")
    return RamdiskSettings(
        output=Path(given(output, "IMAGE_NAME") or DEFAULT_NAME),
        kernel_version=given(kernel_version, "KERNEL_VERSION"),
        module_root=Path(root) if root else None,
        busybox=Path(busybox) if busybox else None,
        compression=parse_compression(given(compression, "DIBO_RAMDISK_COMPRESSION") or "zstd"),
        microcode=microcode,
    )
