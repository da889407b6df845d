"""Files of a root that make it one of a machine of its own: fstab, no identity, and a root that grows.

/etc/fstab           loses the disks of another machine
identities           host keys, the machine id and random seeds go: a machine makes its own
names of partitions  udev rules, by which fstab finds the partitions of the disk that / is on
growing              the first boot grows the root: by growpart and a unit or a line of /etc/inittab; by systemd-repart
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from dibo.ramdisk.selection import resolve
from dibo.tree.node import Node
from dibo.tree.query import find, names_in

RULES: Final = PurePosixPath("/usr/lib/udev/rules.d/61-dibo-root-disk.rules")
"""udev rules that name the partitions of the disk that / is on."""
IS_ON_ROOT_DISK: Final = PurePosixPath("/usr/lib/dibo/is-on-root-disk")
MACHINE_ID: Final = PurePosixPath("/etc/machine-id")
_IDENTITIES: Final = (
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    "/var/lib/systemd/credential.secret",
)
GROWING: Final = ("grow-root", "dibo-grow-root.service")
"""Files of the flavour `base` that grow a root."""
_GROWS: Final = PurePosixPath("/usr/lib/dibo/grow-root")
_GROW_UNIT: Final = PurePosixPath("/etc/systemd/system/dibo-grow-root.service")
_INITTAB: Final = PurePosixPath("/etc/inittab")
_REPART: Final = PurePosixPath("/etc/repart.d/50-dibo-root.conf")
_GROWFS: Final = "/usr/lib/systemd/systemd-growfs"
_GROWFS_UNIT: Final = b"""[Unit]
Description=Grow the root file system
DefaultDependencies=no
After=systemd-repart.service systemd-remount-fs.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/systemd/systemd-growfs /
"""
"""As systemd makes one itself for x-systemd.growfs in /etc/fstab, whose lines are those of the layout."""
_BY_FILE_SYSTEM: Final = {"ext4": "resize2fs", "xfs": "xfs_growfs", "btrfs": "btrfs"}
_PLACES: Final = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """Files that go into a root: of mode 0644, of mode 0755, and symbolic links."""

    files: Mapping[PurePosixPath, bytes] = field(default_factory=dict)
    programs: Mapping[PurePosixPath, bytes] = field(default_factory=dict)
    links: Mapping[PurePosixPath, bytes] = field(default_factory=dict)
    note: str = ""
    """What to tell the user; empty where everything is as it should be."""


def growth(root: Node, files: Mapping[str, bytes], *, filesystem: str) -> Additions:
    """What makes the first boot grow the partition of / and its file system. `files` are those of the flavour `base`,
    by name: grow-root and its unit."""
    is_systemd = (
        find(root, "/etc/systemd/system") is not None and find(root, "/usr/lib/systemd/system") is not None
    )
    resizer = _BY_FILE_SYSTEM.get(filesystem, "")
    grows = _has(root, "growpart") and _has(root, resizer)
    can_lock = _has(root, "flock") and _has(root, "sfdisk")  # growpart calls them
    inittab = _growing_inittab(root) if grows and can_lock else None
    if inittab is not None:  # packages bring directories of systemd into roots that start without it
        return Additions(files={_INITTAB: inittab}, programs={_GROWS: files[_GROWS.name]})
    if is_systemd and grows:
        link = _GROW_UNIT.parent / "multi-user.target.wants" / _GROW_UNIT.name
        return Additions(
            files={_GROW_UNIT: files[_GROW_UNIT.name]},
            programs={_GROWS: files[_GROWS.name]},
            links={link: f"../{_GROW_UNIT.name}".encode()},
        )
    if is_systemd and _has(root, "systemd-repart") and find(root, _GROWFS) is not None:
        link = _GROW_UNIT.parent / "local-fs.target.wants" / _GROW_UNIT.name
        return Additions(
            files={_REPART: b"[Partition]\nType=root\n", _GROW_UNIT: _GROWFS_UNIT},
            links={link: f"../{_GROW_UNIT.name}".encode()},
        )
    if _has(root, "growpart") and _has(root, "cloud-init"):
        return Additions()
    return Additions(
        note="the root does not grow on a larger disk: the image has neither systemd-repart, nor growpart"
        f" (cloud-guest-utils) and {resizer or 'what resizes its file system'} with systemd, or with an"
        f" {_INITTAB} of busybox or sysvinit"
    )


def _growing_inittab(root: Node) -> bytes | None:
    """/etc/inittab with a line at its end that grows the root: what an init starts at boot, one after the other. None
    where there is no such file, or the init is one that does not read it.

    busybox: examples/inittab; sysvinit: inittab(5).
    """
    text, init = _data(root, str(_INITTAB)), resolve(root, "/sbin/init")
    if text is None or init is None:
        return None
    name = init.path.rpartition("/")[2]
    if name.startswith("busybox"):
        line = f"::sysinit:{_GROWS}"
    elif name != "systemd" and b":initdefault:" in text:
        line = f"dibo::bootwait:{_GROWS}"
    else:
        return None
    kept = text if text.endswith(b"\n") or not text else text + b"\n"
    return kept if line.encode() in text.splitlines() else kept + line.encode() + b"\n"


def _has(root: Node, program: str) -> bool:
    return bool(program) and any(_is_file(find(root, f"{place}/{program}")) for place in _PLACES)


def has_udev(root: Node) -> bool:
    """Whether the root makes links to disks as rules say."""
    return any(find(root, path) is not None for path in ("/usr/lib/udev/rules.d", "/lib/udev/rules.d"))


def fstab_of(root: Node) -> bytes:
    """Without lines for / and /boot, which would be another machine's; with those of this disk."""
    kept = [
        line
        for line in (_data(root, "/etc/fstab") or b"").splitlines()
        if not line.startswith(b"# UNCONFIGURED") and not _is_of_a_disk(line)
    ]
    return b"\n".join([*kept, b"LABEL=cloudimg-rootfs / auto defaults 0 1", _ESP_LINE, b""])


_ESP_LINE: Final = b"LABEL=UEFI /boot/efi vfat umask=0077,nofail 0 1"
"""nofail: the same root also boots from a disk without an EFI system partition."""


def _is_of_a_disk(line: bytes) -> bool:
    fields = line.split()
    if len(fields) < 2 or fields[0].startswith(b"#"):
        return False
    return fields[1] in (b"/", b"/boot") or fields[1].startswith(b"/boot/")


def identities(root: Node) -> Iterator[PurePosixPath]:
    for path in _IDENTITIES:
        if path != "/etc/machine-id" and _is_file(find(root, path)):
            yield PurePosixPath(path)
    for name in names_in(root, "/etc/ssh"):
        text = name.decode(errors="surrogateescape")
        if text.startswith("ssh_host_") and text.endswith(("_key", "_key.pub")):
            yield PurePosixPath("/etc/ssh", text)


def _is_file(node: Node | None) -> bool:
    return node is not None and stat.S_ISREG(node.mode)


def _data(root: Node, path: str) -> bytes | None:
    node = find(root, path.encode(errors="surrogateescape"))
    return node.data if node is not None and stat.S_ISREG(node.mode) else None
