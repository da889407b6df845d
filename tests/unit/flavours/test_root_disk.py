"""Which partitions are on the disk that / is on: the program of the udev rule of boot-files, on a made /sys."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dibo.system import resources

FILES = resources.shared("flavours") / "boot-files" / "files"
PROGRAM = FILES / "is-on-root-disk"


@pytest.fixture(params=[shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)])
def shell(request: pytest.FixtureRequest) -> list[str]:
    return ["busybox", "sh"] if request.param == "busybox" else [str(request.param)]


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    """Two disks of two partitions each, and a volume on the second one's second."""
    top = tmp_path / "sys"
    (top / "dev/block").mkdir(parents=True)
    (top / "class/block").mkdir(parents=True)
    for minor, disk in ((0, "vda"), (16, "nvme0n1")):
        path = top / "devices" / disk
        path.mkdir(parents=True)
        for number in (1, 2):
            name = f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"
            (path / name).mkdir()
            (path / name / "partition").write_text(f"{number}\n")
            (top / "class/block" / name).symlink_to(path / name)
            (top / "dev/block" / f"259:{minor + number}").symlink_to(path / name)
    volume = top / "devices/dm-0"
    (volume / "slaves").mkdir(parents=True)
    (volume / "slaves/nvme0n1p2").symlink_to(top / "devices/nvme0n1/nvme0n1p2")
    (top / "dev/block/254:0").symlink_to(volume)
    return top


@pytest.mark.parametrize(
    ("root", "on", "not_on"),
    [
        ("259:2 / / rw shared:1 - ext4 /dev/root rw", "vda1", "nvme0n1p1"),
        ("259:18 / / rw - ext4 /dev/nvme0n1p2 rw", "nvme0n1p1", "vda1"),
        ("254:0 / / rw - ext4 /dev/mapper/crypt rw", "nvme0n1p1", "vda1"),
        ("0:23 /@ / rw - btrfs /dev/vda2 rw,subvol=/@", "vda1", "nvme0n1p1"),
        ("0:2 / / rw - rootfs rootfs rw", None, "vda1"),
    ],
    ids=["by number", "nvme", "a volume on a partition", "btrfs", "an initramfs"],
)
def test_the_disk_of_the_root(
    sys: Path, tmp_path: Path, shell: list[str], root: str, on: str | None, not_on: str
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"21 1 0:2 / / rw - rootfs rootfs rw\n22 1 {root}\n23 22 259:17 / /mnt rw - ext4 /dev/nvme0n1p1 rw\n"
    )
    environment = os.environ | {"DIBO_SYS": str(sys), "DIBO_MOUNTINFO": str(mounts)}

    def code(name: str) -> int:
        return subprocess.run([*shell, str(PROGRAM), name], env=environment, check=False).returncode

    assert code(not_on) != 0
    if on is not None:
        assert code(on) == 0
