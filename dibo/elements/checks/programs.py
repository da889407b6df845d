"""Programs that a sandbox without root cannot run, or whose answer no cache notices."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from dibo.elements.checks.findings import Severity
from dibo.elements.checks.shell_commands import ShellCommand

_OUTSIDE: Final = ("root.d", "extra-data.d", "post-root.d", "block-device.d", "pre-finalise.d", "cleanup.d")
"""Phases that run outside the image."""


def is_outside(phase: str) -> bool:
    return phase in _OUTSIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRule:
    """`applies` judges a command, already without sudo, and the directory of its script."""

    code: str
    severity: Severity
    applies: Callable[[ShellCommand, str], bool]
    message: str
    """{command} is the command."""
    advice: str


def _named(*programs: str) -> Callable[[ShellCommand, str], bool]:
    return lambda command, _phase: command.program in programs


def _verbs(verbs: Mapping[str, tuple[str, ...]]) -> Callable[[ShellCommand, str], bool]:
    """Programs with one of their first words that is no option."""

    def applies(command: ShellCommand, _phase: str) -> bool:
        words = [word for word in command.words[1:] if not word.startswith("-")]
        return command.program in verbs and any(word in verbs[command.program] for word in words[:2])

    return applies


def _loop_mount(command: ShellCommand, _phase: str) -> bool:
    if command.program != "mount":
        return False
    options = [word for word in command.words if "loop" in word.split(",") or word == "-oloop"]
    devices = [
        word
        for word in command.words[1:]
        if word.startswith(("/dev/loop", "/dev/mapper", "/dev/nbd", "/dev/sd"))
    ]
    return bool(options or devices)


def _container_engine(command: ShellCommand, _phase: str) -> bool:
    """A program by its name, or by the variable of diskimage-builder's element containerfile, after sudo or without."""
    return command.program in ("docker", "podman", "nerdctl") or any(
        re.fullmatch(r"\$\{?DIB_CONTAINERFILE_RUNTIME\}?", word) for word in command.words[:2]
    )


def _device_node(command: ShellCommand, phase: str) -> bool:
    if command.program != "mknod":
        return False
    kinds = [place for place, word in enumerate(command.words) if place > 1 and word in ("b", "c", "u")]
    return bool(kinds) and not (_OF_EVERY_ROOT.fullmatch(command.words[kinds[0] - 1]) and is_outside(phase))


_OF_EVERY_ROOT: Final = re.compile(r"(.*/)?dev/(null|zero|full|random|urandom|tty)")
"""Outside of the image these are in the tree already, and `mknod` leaves them as they are."""


def _immutable(command: ShellCommand, _phase: str) -> bool:
    return command.program == "chattr" and any(
        re.fullmatch(r"\+\w*[ia]\w*", word) for word in command.words[1:]
    )


def _kernel_setting(command: ShellCommand, _phase: str) -> bool:
    if command.program == "sysctl":
        return any(word in ("-w", "-p", "--system", "--load", "--write") for word in command.words[1:])
    return command.program in (
        "modprobe",
        "insmod",
        "rmmod",
        "swapon",
        "swapoff",
        "hwclock",
        "reboot",
        "setenforce",
    )


def _image_device(command: ShellCommand, _phase: str) -> bool:
    if command.program in ("grub-install", "grub2-install", "extlinux", "zipl"):
        return True
    return any("IMAGE_BLOCK_DEVICE" in word for word in command.words) and command.program not in (
        "echo",
        "[",
        "test",
    )


def _internals(command: ShellCommand, _phase: str) -> bool:
    files = ("common-defaults", "img-defaults", "ramdisk-defaults", "ramdisk-functions")
    return command.program in (".", "source") and any(word.endswith(files) for word in command.words[1:])


def _fetch(command: ShellCommand, _phase: str) -> bool:
    if command.program in ("curl", "wget", "cache-url", "scp", "sftp", "aria2c"):
        return True
    if command.program == "git":
        return any(word in ("clone", "fetch", "pull", "ls-remote", "submodule") for word in command.words[1:])
    remote = any(re.match(r"(rsync|ssh)://|[\w.@-]+::", word) for word in command.words[1:])
    return command.program in ("rsync", "svn", "hg", "bzr") and (remote or command.program != "rsync")


def _package_index(command: ShellCommand, _phase: str) -> bool:
    words = list(command.words)
    if re.fullmatch(r"python[\d.]*", command.program) and words[1:3] == ["-m", "pip"]:
        words = words[2:]
    name = words[0].rpartition("/")[2] if words else ""
    is_installer = re.fullmatch(r"pip[\d.]*|npm|yarn|gem|cargo|go|easy_install[\d.]*|cpan|uv", name)
    return bool(is_installer) and any(word in ("install", "add", "sync", "ci", "get") for word in words[1:])


def _guest_tools(command: ShellCommand, _phase: str) -> bool:
    return command.program.startswith(("guestfish", "guestmount", "virt-")) and command.program != "virt-what"


_NO_LOOP: Final = (
    "read or write the file itself: mtools for FAT, mke2fs -d for ext4, unsquashfs, bsdtar or xorriso for ISO"
)
_SERVICES: Final = {
    "systemctl": (
        "start",
        "restart",
        "stop",
        "reload",
        "try-restart",
        "isolate",
        "is-active",
        "is-system-running",
    ),
    "service": ("start", "restart", "stop", "reload", "status"),
    "initctl": ("start", "restart", "stop", "reload"),
    "invoke-rc.d": ("start", "restart", "stop", "reload"),
    "udevadm": ("trigger", "settle", "control"),
}
RULES: Final = (
    CommandRule(
        code="loop-device",
        severity=Severity.OBSTACLE,
        applies=_named("losetup", "kpartx", "partprobe", "partx", "qemu-nbd", "udisksctl"),
        message="{command} needs a loop device, and with it root on the build machine",
        advice=_NO_LOOP,
    ),
    CommandRule(
        code="loop-device",
        severity=Severity.OBSTACLE,
        applies=_loop_mount,
        message="{command} mounts a file system from a device, which needs root on the build machine",
        advice=_NO_LOOP,
    ),
    CommandRule(
        code="device-mapper",
        severity=Severity.OBSTACLE,
        applies=_named(
            *("dmsetup", "cryptsetup", "pvcreate", "vgcreate", "lvcreate", "vgchange", "lvchange", "vgscan"),
            *("pvs", "vgs", "lvs", "lvm", "vgdisplay", "lvdisplay", "mdadm"),
        ),
        message="{command} needs the device mapper of the build machine's kernel, and with it root",
        advice="use partitions; or --loop as root, with a flavour whose block-device.d hook makes the devices",
    ),
    CommandRule(
        code="device-node",
        severity=Severity.OBSTACLE,
        applies=_device_node,
        message="{command} makes a device node, which a user namespace does not allow",
        advice="leave it out: the kernel makes /dev at boot, and dibo writes the nodes that a ramdisk needs",
    ),
    CommandRule(
        code="docker-socket",
        severity=Severity.OBSTACLE,
        applies=_container_engine,
        message="{command} needs a container engine, which hooks do not reach",
        advice="build the container image before, and begin with it: --base IMAGE",
    ),
    CommandRule(
        code="disk-image",
        severity=Severity.OBSTACLE,
        applies=_named("extract-image"),
        message="{command} takes the root out of a disk image by loop devices",
        advice="begin with a container image or an archive of the distribution: --base IMAGE",
    ),
    CommandRule(
        code="python2",
        severity=Severity.WARNING,
        applies=lambda command, _phase: (
            re.fullmatch(r"python2(\.\d+)?|pip2(\.\d+)?", command.program) is not None
        ),
        message="{command} needs Python 2, which no supported distribution has",
        advice="use python3",
    ),
    CommandRule(
        code="image-device",
        severity=Severity.OBSTACLE,
        applies=_image_device,
        message="{command} needs the block device of the image, and there is none while hooks run",
        advice="dibo writes partitions and GRUB itself: use the element vm, with DIB_BOOTLOADER_*",
    ),
    CommandRule(
        code="dib-internals",
        severity=Severity.OBSTACLE,
        applies=_internals,
        message="{command} reads files of diskimage-builder that do not work in its own release 3 either",
        advice="use the ramdisks of dibo: the flavours deploy, hwdiscovery and hwburnin",
    ),
    CommandRule(
        code="host-kernel",
        severity=Severity.OBSTACLE,
        applies=lambda command, phase: _kernel_setting(command, phase) or _immutable(command, phase),
        message="{command} changes the kernel or the file systems of the build machine, which a sandbox does not allow",
        advice="have the image do it at boot: a file in /etc/modules-load.d, /etc/sysctl.d or a systemd unit",
    ),
    CommandRule(
        code="guest-tools",
        severity=Severity.WARNING,
        applies=_guest_tools,
        message="{command} starts a virtual machine of libguestfs, which is slow without KVM",
        advice=_NO_LOOP,
    ),
    CommandRule(
        code="no-services",
        severity=Severity.WARNING,
        applies=_verbs(_SERVICES),
        message="{command}: no service manager runs in a build, so this does nothing or fails",
        advice="enable the unit instead (systemctl enable), and it starts at boot",
    ),
    CommandRule(
        code="network-fetch",
        severity=Severity.WARNING,
        applies=_fetch,
        message="{command} fetches from the network, and no key of a layer knows when the answer changes",
        advice="name it in a file source-repository-NAME: it is fetched once, and its digest is in the key",
    ),
    CommandRule(
        code="package-index",
        severity=Severity.WARNING,
        applies=_package_index,
        message="{command} installs what an index has on that day, and the layer keeps it",
        advice="pin versions; --epoch NAME builds all such layers again",
    ),
)
