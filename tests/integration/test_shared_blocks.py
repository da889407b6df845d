"""Raw disks of several images share the blocks of layers that they share, where the file system can: XFS and btrfs."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.images.oci_layouts import LayerTar, OciLayout, Tar
from tests.support.requirements import need, unmet
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.integration

MIB = 1 << 20
BASE = 40 * MIB
NAMES = ("one", "two", "three")
SCRIPT = """\
set -e
mount -o loop "$1" "$2"
shift 2
"$@"
filefrag -v out/*.raw
sync -f out
df --output=used -B1 .
"""
"""In a mount namespace of its own: the mount and its loop device end with it."""


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    base = Tar(tmp_path / "base.tar")
    for number in range(8):
        base.add(str(number), random.Random(number).randbytes(BASE // 8 - number))
    below = LayerTar(tar=base.close(), compression="zstd")
    made = OciLayout(tmp_path / "images")
    images = {}
    for name in NAMES:
        own = Tar(tmp_path / f"{name}.tar")
        own.add("own", name.encode() * 2000)
        own.whiteout("5")
        images[name] = made.image([below, LayerTar(tar=own.close())])
    made.write_index(images)
    return made.directory


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_disks_share_blocks(layout: Path, tmp_path: Path, kind: str) -> None:
    if os.geteuid() != 0:
        unmet("only root mounts file systems")
    need(f"mkfs.{kind}", "zstd", "unshare", "mount", "filefrag")
    disk, place = tmp_path / "disk", tmp_path / "place"
    with disk.open("wb") as file:
        file.truncate(600 * MIB)
    subprocess.run([f"mkfs.{kind}", "-q", str(disk)], check=True)
    place.mkdir()
    convert = [sys.executable, "-m", "dibo", "convert", *(f"oci:{layout}:{name}" for name in NAMES)]
    options = ["--bare", "-t", "raw", "--image-size", "0.2", "-o", str(place / "out"), "--cache-dir", "cache"]
    script = (
        SCRIPT.replace("out/", f"{place}/out/")
        .replace("-f out", f"-f {place}/out")
        .replace("B1 .", f"B1 {place}")
    )
    enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*enter, str(disk), str(place), *convert, *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    shared = [int(blocks) for blocks in re.findall(r"\d+\.\. *\d+: +(\d+):.*shared", done.stdout)]
    assert sum(shared) * 4096 > 3 * BASE * 3 / 4, done.stdout
    used = int(done.stdout.split()[-1])
    assert used < 2 * BASE + 100 * MIB, done.stdout
