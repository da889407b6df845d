"""Programs that tests and the demo start, and the packages that hold them (dibo's own are in
dibo.system.package_names); and programs
that only play a part."""

from __future__ import annotations

from pathlib import Path

from dibo.system import package_names, process

_PACKAGES = {
    "bsdtar": "libarchive-tools",
    "busybox": "busybox-static",
    "docker": "docker.io",
    "mformat": "mtools",
    "mcopy": "mtools",
    "mdir": "mtools",
    "fsck.fat": "dosfstools",
    "mkfs.vfat": "dosfstools",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "setpriv": "util-linux",
    "runuser": "util-linux",
    "sfdisk": "fdisk",
    "sgdisk": "gdisk",
    "grub-fstest": "grub-common",
    "setfattr": "attr",
    "dockerd": "docker.io",
    "tgtd": "tgt",
    "tgtadm": "tgt",
}


def what_is_missing(*programs: str) -> str:
    """Which of `programs` are not installed, and how to install them; empty if none is missing."""
    missing = [program for program in programs if process.find(program) is None]
    if not missing:
        return ""
    packages = sorted({_PACKAGES.get(each) or package_names.PACKAGES.get(each, each) for each in missing})
    return f"not installed: {', '.join(missing)}; sudo apt-get install {' '.join(packages)}"


def fake(directory: Path, name: str, script: str) -> None:
    """Put a shell script in `directory`/bin, for PATH."""
    program = directory / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
