"""The disk of a stack of elements: what they describe, and what variables of diskimage-builder say of it.

ROOT_LABEL            label of the root file system
DIB_IMAGE_EXTRA_SIZE  MiB that stay free beside the files of the root, where no size is set
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dibo.elements.block_devices.choose import choose_device_text
from dibo.elements.block_devices.devices import check_devices
from dibo.elements.block_devices.graph import parse_nodes
from dibo.elements.block_devices.model import BlockDevices, RootOptions
from dibo.elements.block_devices.to_layout import DEVICE_HEADROOM, to_layout
from dibo.elements.model import Element
from dibo.errors import UsageError
from dibo.layout.model import Headroom, Layout
from dibo.units import MIB

ROOT_LABEL: Final = "ROOT_LABEL"
EXTRA_SIZE: Final = "DIB_IMAGE_EXTRA_SIZE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementDisk:
    """Decided, but for its size where nothing says one."""

    layout: Layout | None
    """None for one file system on the whole disk."""
    root_label: str
    headroom: Headroom
    """What stays free beside the files of the root, where nothing says a size."""
    notes: tuple[str, ...] = ()
    """What of the description has no effect: warnings."""


def read_devices(
    elements: tuple[Element, ...], *, architecture: str, filesystem: str, environment: Mapping[str, str]
) -> BlockDevices:
    """The disk that a variable or an element describes; one file system where none does. Raises LayoutError."""
    text = choose_device_text(
        [(element.name, element.directory) for element in elements],
        architecture=architecture,
        environment=environment,
    )
    return check_devices(
        parse_nodes(text.text, origin=text.origin),
        origin=text.origin,
        root=RootOptions(filesystem=filesystem, label=environment.get(ROOT_LABEL, "")),
        environment=environment,
    )


def make_disk(
    devices: BlockDevices, *, size: int | None, bootable: bool, environment: Mapping[str, str]
) -> ElementDisk:
    """The disk of `size` bytes, where a size is set. `bootable` says whether there are boot files for it. Raises
    LayoutError, UsageError."""
    headroom = _headroom(environment.get(EXTRA_SIZE, ""))
    made = to_layout(devices, size=size, bootable=bootable, headroom=headroom)
    notes = list(made.notes)
    if environment.get(EXTRA_SIZE) and (size is not None or devices.disk.size is not None):
        notes.append(
            f"--image-extra-size ({EXTRA_SIZE}) has no effect: the size of the disk is set otherwise"
        )
    return ElementDisk(layout=made.layout, root_label=made.root_label, headroom=headroom, notes=tuple(notes))


def _headroom(extra: str) -> Headroom:
    if not extra:
        return DEVICE_HEADROOM
    if re.fullmatch(r"[0-9]{1,9}", extra) is None:
        raise UsageError(
            f"--image-extra-size ({EXTRA_SIZE}) is {extra!r}, not a number of MB", hint="such as 500"
        )
    return Headroom(size=int(extra) * MIB)
