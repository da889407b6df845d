"""Which kit is put on an image, and what layout their disk has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from dibo.errors import RootNotBootable
from dibo.images.image import Image
from dibo.kits.attach import Attachment
from dibo.layout.model import FileSystemType, Layout, Partition, PartitionType
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.units import GIB

KIT_FLAVOUR: Final = "boot-kit"
_STATE: Final = "persistent-state"


@dataclass(frozen=True, slots=True, kw_only=True)
class KitRequest:
    """The options of `dibo convert` about kits. `reference` names an image; `own_init` as in Attachment."""

    reference: str | None = None
    own_init: bool | None = None
    restart: str = "always"


def kit_directory(settings: Settings) -> Path:
    """Where a kit is kept that is written nowhere else, and looked for where none is named."""
    return settings.cache / "kit"


def choose_kit(settings: Settings, request: KitRequest, error: RootNotBootable, report: Report) -> KitRequest:
    """A kit for an image that has no kernel: that of DIBO_KIT, else one that was built here. Raises RootNotBootable,
    which says how to make one."""
    if settings.kit is not None:
        report.say(f"{error.message}; the kit of DIBO_KIT brings one")
        return replace(request, reference=settings.kit)
    directory = kit_directory(settings)
    if (directory / "index.json").is_file():
        report.say(f"{error.message}; the kit in {directory} brings one")
        return replace(request, reference=f"oci:{directory}")
    raise RootNotBootable(
        error.message,
        hint="make a kit, which brings a kernel and an init, once, where buildah or docker is:\n"
        "  dibo build --kit cloud -o kit\n"
        f"and add it to this command: --kit oci:kit\n{error.hint}",
    )


def with_state(layout: Layout, attachment: Attachment) -> Layout:
    """The layout with a partition for the volumes of the image, before the root, where deployments keep it."""
    if (
        attachment.own_init
        or not _volumes(attachment.image)
        or any(p.name == _STATE for p in layout.partitions)
    ):
        return layout
    state = Partition(
        name=_STATE, type=PartitionType.LINUX, size=GIB, filesystem=FileSystemType.EXT4, label="state"
    )
    before = tuple(partition for partition in layout.partitions if partition is not layout.root)
    return replace(layout, partitions=(*before, state, layout.root), size=layout.size or 3 * GIB)


def _volumes(image: Image) -> Mapping[str, Any]:
    run = image.config.get("config")
    volumes = run.get("Volumes") if isinstance(run, dict) else None
    return volumes if isinstance(volumes, dict) else {}
