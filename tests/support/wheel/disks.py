"""Groups that describe a disk. Their root is busybox and bash, so that each is built in seconds."""

from __future__ import annotations

from typing import Final

from tests.support.wheel.model import WheelGroup

_OS: Final = {
    "os/element-provides": "operating-system\n",
    "os/environment.d/10-os": "export DISTRO_NAME=tiny DIB_INIT_SYSTEM=systemd\n",
    "os/install.d/10-kind": 'echo "${DIB_BLOCK_DEVICE:-}" > /etc/kind\n',
}


def _group(name: str, *traces: str) -> WheelGroup:
    return WheelGroup(system=("os",), base="tiny", types="raw,tar", files=_OS, traces={name: traces})


GROUPS: Final = {
    "mbr": _group("block-device-mbr", "etc/kind ~ mbr", "partition Linux"),
    "gpt": _group("block-device-gpt", "etc/kind ~ gpt", "partition BIOS boot", "partition Linux filesystem"),
    "none": _group("no-final-image", "etc/kind", "no disk"),
    "efi-4k": _group(
        "block-device-efi-4k", "etc/kind ~ efi", "partition EFI System", "partition Linux filesystem"
    ),
}
