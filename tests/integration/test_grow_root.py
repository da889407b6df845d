"""The root file system grows to the end of a larger disk: with the kernel's own file systems, as / of a process."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from dibo.system import process
from tests.support.markdown import PROJECT
from tests.support.requirements import need

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount"),
]

# Arguments: disk, mount point, options of mount, script, larger size. The programs are those of the machine.
IN_ROOT = r"""
set -eu
loop=$(losetup --find --show "$1")
trap 'umount --recursive "$2"; losetup --detach "$loop"' EXIT
if [ -n "$3" ]; then
    mount "$loop" "$2"
    btrfs subvolume create "$2/@" > /dev/null
    umount "$2"
    mount -o "$3" "$loop" "$2"
else
    mount "$loop" "$2"
fi
for directory in usr bin sbin lib lib64 etc dev proc sys; do
    if [ -L "/$directory" ]; then
        cp -P "/$directory" "$2/$directory"
    elif [ -d "/$directory" ]; then
        mkdir "$2/$directory"
        mount --rbind "/$directory" "$2/$directory"
    fi
done
cp "$4" "$2/grow-root"
truncate --size "$5" "$1"
losetup --set-capacity "$loop"
chroot "$2" /grow-root
stat --file-system --format '%b %S' "$2"
"""


@pytest.mark.parametrize(("kind", "options"), [("xfs", ""), ("btrfs", ""), ("btrfs", "subvol=@")])
def test_a_file_system_on_a_whole_disk_grows(tmp_path: Path, kind: str, options: str) -> None:
    need("findmnt", "losetup", "chroot", "unshare", f"mkfs.{kind}")
    if kind not in re.findall(r"\w+$", Path("/proc/filesystems").read_text(), re.MULTILINE):
        pytest.skip(f"this kernel has no {kind}")
    if kind == "xfs" and shutil.which("xfs_growfs") is None:
        pytest.skip("xfs_growfs is not installed")
    disk, mounted = tmp_path / "disk", tmp_path / "root"
    mounted.mkdir()
    with disk.open("wb") as file:
        file.truncate(400 << 20)
    process.run([f"mkfs.{kind}", "-q", str(disk)], capture=True)
    script = PROJECT / "flavours" / "base" / "files" / "grow-root"
    around = ["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_ROOT, "sh"]
    done = process.run(
        [*around, str(disk), str(mounted), options, str(script), "800M"], capture=True, check=False
    )
    assert done.returncode == 0, (done.stdout, done.tail)
    blocks, size = map(int, done.stdout.split()[-2:])
    assert blocks * size > 700 << 20
