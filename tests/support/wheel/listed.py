"""Elements of the wheel that no group builds, each with the reason."""

from __future__ import annotations

from typing import Final

_IMAGE: Final = (
    "takes the root out of a disk image by loop devices; --base begins with a container image instead"
)
_DEAD: Final = "a ramdisk of diskimage-builder, which fails there, too: it sources files that are gone"
_SOURCES: Final = "builds from repositories that are on the internet alone"

LISTED: Final = {
    "block-device-efi-lvm": "logical volumes need the device mapper, and with it root",
    "centos": _IMAGE,
    "debian-upstart": "changes files of upstart, which Debian no longer has; it fails in diskimage-builder, too",
    "deploy-kexec": "needs the element deploy, which there is not",
    "docker": "takes its root from a docker daemon as root",
    "dracut-network": "has nothing but a README",
    "dracut-ramdisk": _DEAD,
    "fedora": _IMAGE,
    "hpdsa": "is for Ubuntu 14.04 alone, and says so",
    "hwburnin": "has nothing for an image, only parts of a ramdisk",
    "iso": "mounts a file system by a loop device; `-t iso` of dibo makes one without",
    "keylime-agent": _SOURCES,
    "lvm": "logical volumes need the device mapper, and with it root",
    "opensuse": _IMAGE,
    "proliant-tools": "installs a package from downloads.hpe.com",
    "ramdisk": _DEAD,
    "ramdisk-base": _DEAD,
    "rax-nova-agent": "mounts an image by a loop device",
    "replace-partition": "reads an image by guestfish, in a virtual machine",
    "replace-partition-redhat": "needs replace-partition",
    "rhel": _IMAGE,
    "tpm-emulator": _SOURCES,
    "zipl": "writes the boot loader of s390x, which runs there alone",
}
