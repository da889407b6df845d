"""The command line that boots a kernel from outside of its disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from dibo.errors import DiskImageError
from dibo.formats.filesystem import find
from dibo.inspect.kernels import Kernel
from dibo.inspect.volumes import FOREIGN, Volume

_LABEL: Final = re.compile(r"[A-Za-z0-9._+-]+")


def cmdline(kernel: Kernel, volumes: Sequence[Volume]) -> str:
    """`root=` by label where only one volume has it, else by UUID; then what the image's own boot loader gives the
    kernel, `ro` where that is not known. Raises DiskImageError where nothing is a root file system."""
    arguments = list(kernel.arguments if kernel.arguments is not None else ("ro",))
    root = root_volume(volumes, kernel=kernel)
    if root is None:
        if any(word.startswith("root=") for word in arguments):
            return " ".join(arguments)
        raise DiskImageError(
            "no volume of the image looks like a root file system",
            hint="it has " + "; ".join(map(str, volumes)),
        )
    rest = [word for word in arguments if not word.startswith("root=")]
    return " ".join([_root(root, volumes), *rest])


def _root(root: Volume, volumes: Sequence[Volume]) -> str:
    alone = sum(volume.label == root.label for volume in volumes) == 1
    if alone and _LABEL.fullmatch(root.label):
        return f"root=LABEL={root.label}"
    return f"root=UUID={root.uuid}"


def root_volume(volumes: Sequence[Volume], *, kernel: Kernel) -> Volume | None:
    """The volume with /etc and /usr; where none has them, one that dibo cannot look into: that with the kernel in
    /boot, else the largest that is not /boot itself."""
    for volume in volumes:
        if volume.system is not None and volume.kind != "vfat":
            try:
                if find(volume.system, "/etc") and find(volume.system, "/usr"):
                    return volume
            except DiskImageError:
                continue
    foreign = [volume for volume in volumes if volume.kind in FOREIGN]
    if kernel.volume in foreign and kernel.kernel.path.startswith("/boot/"):
        return kernel.volume
    others = [volume for volume in foreign if volume != kernel.volume]
    return max(others, key=lambda volume: volume.place.size, default=None)
