"""What the user says about boot loaders, checked: which one, and what signs it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path

from dibo.errors import UsageError


class BootLoader(Enum):
    """What a user may ask for; values are those of `--boot`."""

    AUTO = "auto"
    GRUB = "grub"
    SYSTEMD_BOOT = "systemd-boot"
    UKI = "uki"
    NONE = "none"


def loader_of(name: str) -> BootLoader:
    """Raises UsageError."""
    try:
        return BootLoader(name)
    except ValueError:
        names = ", ".join(loader.value for loader in BootLoader)
        raise UsageError(f"{name!r} is not a boot loader", hint=f"use one of {names}") from None


def signer_of(key: Path | None, certificate: Path | None) -> Callable[[bytes], bytes] | None:
    """What signs programs for UEFI; None where the user names neither file. Raises UsageError for one of the two, and
    what reading them raises."""
    if key is None and certificate is None:
        return None
    if key is None or certificate is None:
        raise UsageError(
            "one of the two files that sign for Secure Boot is missing",
            hint="name both: --secure-boot-key and --secure-boot-certificate",
        )
    from dibo.formats.authenticode import signer

    return signer(key, certificate)
