"""The namespace in which an engine's commands, and makers of bases, may own files of many users and mount."""

from __future__ import annotations

import os


def enter_namespace() -> tuple[str, ...]:
    """What the commands are run by: a user namespace, or, as root, one of mounts, so that no mount of the store is
    ever seen on the host."""
    if os.geteuid() == 0:
        return ("unshare", "--mount", "--propagation", "private", "--")
    return ("buildah", "unshare")
