"""Growing the root file system: what base's program calls, of each kind of file system, on a made /sys."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dibo.system import resources
from tests.support.programs import fake

PROGRAM = resources.shared("flavours") / "base" / "files" / "grow-root"


@pytest.mark.parametrize(
    ("kind", "number", "source", "calls"),
    [
        ("ext4", "254:3", "/dev/root", ["growpart /dev/vda 3", "resize2fs /dev/vda3"]),
        ("xfs", "254:3", "/dev/vda3", ["growpart /dev/vda 3", "xfs_growfs /"]),
        ("btrfs", "0:27", "/dev/vda3", ["growpart /dev/vda 3", "btrfs filesystem resize max /"]),
        ("ext4", "254:0", "/dev/vda", ["resize2fs /dev/vda"]),
    ],
)
def test_the_partition_grows_and_then_its_file_system(
    kind: str, number: str, source: str, calls: list[str], tmp_path: Path
) -> None:
    disk = tmp_path / "sys/devices/vda"
    (disk / "vda3").mkdir(parents=True)
    (disk / "vda3/partition").write_text("3\n")
    for name, path in (("vda", disk), ("vda3", disk / "vda3")):
        (tmp_path / "sys/class/block").mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/class/block" / name).symlink_to(path)
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block/254:0").symlink_to(disk)
    (tmp_path / "sys/dev/block/254:3").symlink_to(disk / "vda3")
    answers = f'*FSTYPE*) echo {kind} ;; *MAJ:MIN*) echo " {number} " ;; *SOURCE*) echo {source} ;;'
    fake(tmp_path, "findmnt", f'case "$*" in {answers} esac')
    for name in ("growpart", "resize2fs", "xfs_growfs", "btrfs"):
        fake(tmp_path, name, f'echo {name} "$@"')
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "DIBO_SYS": str(tmp_path / "sys")}
    done = subprocess.run(["sh", str(PROGRAM)], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == calls, done.stderr
