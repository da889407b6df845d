"""Which description of the disk counts: DIB_BLOCK_DEVICE_CONFIG, or the file of the first element that has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.errors import LayoutError

VARIABLE: Final = "DIB_BLOCK_DEVICE_CONFIG"
_FILE: Final = "file://"
_SAME_ARCHITECTURE: Final = {"ppc64le": "ppc64el"}
_NO_PARTITIONS: Final = """\
- local_loop:
    name: image0
    mkfs:
      name: mkfs_root
      mount:
        mount_point: /
        fstab:
          options: defaults
          fsck-passno: 1
"""
"""Without any description: one file system on the whole disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceText:
    text: str
    origin: str
    """For messages."""
    passed_over: tuple[str, ...] = ()
    """Files of later elements, which do not count."""


def choose_device_text(
    elements: Sequence[tuple[str, Path]], *, architecture: str, environment: Mapping[str, str]
) -> DeviceText:
    """The text that counts, for elements by name and directory, in the order of the stack. Raises LayoutError."""
    value = environment.get(VARIABLE, "")
    if value.startswith(_FILE):
        path = Path(value.removeprefix(_FILE))
        return DeviceText(text=_read(path), origin=f"{VARIABLE}={path}")
    if value:
        return DeviceText(text=value, origin=VARIABLE)
    files = [path for _, directory in elements for path in _file_of(directory, architecture)]
    if files:
        return DeviceText(
            text=_read(files[0]), origin=str(files[0]), passed_over=tuple(str(path) for path in files[1:])
        )
    return DeviceText(text=_NO_PARTITIONS, origin="the built-in description of a disk without partitions")


def _file_of(directory: Path, architecture: str) -> list[Path]:
    name = _SAME_ARCHITECTURE.get(architecture, architecture)
    names = (f"block-device-{name}.yaml", "block-device-default.yaml")
    return [path for path in (directory / name for name in names) if path.is_file()][:1]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(f"cannot read the description of the disk, {path}: {error}") from error
