"""The environment of buildah, wherever dibo starts it."""

from __future__ import annotations

import os
from pathlib import Path

from dibo.system import resources


def engine_environment() -> dict[str, str]:
    """Settings that rootless builds need, unless the user chose others."""
    environment = {"BUILDAH_ISOLATION": os.environ.get("BUILDAH_ISOLATION", "chroot")}
    home = Path(os.environ.get("XDG_CONFIG_HOME", resources.home() / ".config"))
    configured = any(
        path.exists() for path in (home / "containers/storage.conf", Path("/etc/containers/storage.conf"))
    )
    if "STORAGE_DRIVER" not in os.environ and not configured:
        environment["STORAGE_DRIVER"] = "overlay"
    return environment
