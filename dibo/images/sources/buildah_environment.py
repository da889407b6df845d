"""The environment of buildah, wherever dibo starts it.

Without a configuration of the store, buildah chooses a driver: rootless, without fuse-overlayfs, some versions choose
vfs, which copies the whole root for each layer. dibo asks for overlay there. A store has images of its own for each
driver, so that dibo and the user's own commands may then see different ones.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from dibo.system import resources

SYSTEM_STORAGE_CONF: Final = Path("/etc/containers/storage.conf")


def engine_environment() -> dict[str, str]:
    """Settings that rootless builds need, unless the user chose others."""
    return {**own_environment(), **({"STORAGE_DRIVER": "overlay"} if chooses_driver() else {})}


def own_environment() -> dict[str, str]:
    """The same, with the store that `buildah` and `podman` have where the user types them."""
    return {"BUILDAH_ISOLATION": os.environ.get("BUILDAH_ISOLATION", "chroot")}


def chooses_driver() -> bool:
    """Whether dibo chooses the driver of the store: neither a variable nor a file does."""
    if "STORAGE_DRIVER" in os.environ or "CONTAINERS_STORAGE_CONF" in os.environ:
        return False
    home = Path(os.environ.get("XDG_CONFIG_HOME", resources.home() / ".config"))
    files = (home / "containers/storage.conf", SYSTEM_STORAGE_CONF)
    return not any(path.exists() for path in files)
