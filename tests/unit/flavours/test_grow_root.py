"""Growing the root file system: what base's program calls, of each kind of file system, on a made /sys."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dibo.system import resources
from tests.support.programs import fake

PROGRAM = resources.shared("flavours") / "base" / "files" / "grow-root"
SHELLS = {"dash": ("dash",), "bash": ("bash",), "busybox": ("busybox", "sh")}


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    """A disk with a partition, its third."""
    disk = tmp_path / "sys/devices/vda"
    (disk / "vda3").mkdir(parents=True)
    (disk / "vda3/partition").write_text("3\n")
    for name, path in (("vda", disk), ("vda3", disk / "vda3")):
        (tmp_path / "sys/class/block").mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/class/block" / name).symlink_to(path)
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block/254:0").symlink_to(disk)
    (tmp_path / "sys/dev/block/254:3").symlink_to(disk / "vda3")
    return tmp_path / "sys"


def said(sys: Path, root: str, *shell: str) -> list[str]:
    """What is printed where / is mounted like `root`; the programs print how they are called."""
    mounts = sys.with_name("mountinfo")
    mounts.write_text(
        f"21 1 0:2 / / rw - rootfs rootfs rw\n22 1 {root}\n23 22 254:9 / /mnt rw - ext4 /dev/vdb1 rw\n"
    )
    for name in ("growpart", "resize2fs", "xfs_growfs", "btrfs"):
        fake(sys.parent, name, f'echo {name} "$@"')
    environment = {
        "PATH": f"{sys.parent}/bin:{os.environ['PATH']}",
        "DIBO_SYS": str(sys),
        "DIBO_MOUNTINFO": str(mounts),
    }
    done = subprocess.run([*shell, str(PROGRAM)], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shutil.which(shell)])
@pytest.mark.parametrize(
    ("root", "calls"),
    [
        (
            "254:3 / / rw,relatime shared:1 - ext4 /dev/root rw",
            ["growpart /dev/vda 3", "resize2fs /dev/vda3"],
        ),
        ("254:3 / / rw - xfs /dev/vda3 rw", ["growpart /dev/vda 3", "xfs_growfs /"]),
        (
            "0:27 /@ / rw - btrfs /dev/vda3 rw,subvol=/@",
            ["growpart /dev/vda 3", "btrfs filesystem resize max /"],
        ),
        ("254:0 / / rw - ext4 /dev/vda rw", ["resize2fs /dev/vda"]),
        (
            "254:3 / / ro,relatime - ext4 /dev/vda3 ro",
            ["grow-root: / is mounted read-only, and stays as large as it is"],
        ),
    ],
    ids=["by number", "xfs", "btrfs", "a whole disk", "read-only"],
)
def test_the_partition_grows_and_then_its_file_system(
    sys: Path, root: str, calls: list[str], shell: str
) -> None:
    assert said(sys, root, *SHELLS[shell]) == calls
