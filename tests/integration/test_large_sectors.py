"""A disk with sectors of 4096 bytes, made by `dibo convert`: what the kernel, sfdisk, fsck and e2fsck read of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dibo.system import process
from tests.support import user
from tests.support.host.build_env import BuildEnv, build_env, busybox_root
from tests.support.images.oci_layouts import LayerTar, OciLayout
from tests.support.requirements import need, unmet
from tests.support.timeouts import TIMEOUT
from tests.unit.layout.test_partition_table import LAYOUT

pytestmark = pytest.mark.integration


XFS = {
    **LAYOUT,
    "partitions": [
        *LAYOUT["partitions"][:1],
        {"name": "usr", "type": "linux-usr", "size": "320MiB", "filesystem": "xfs", "mount": "/usr"},
        *LAYOUT["partitions"][1:],
    ],
}
MIB = 1 << 20


@pytest.fixture(scope="module")
def place() -> Iterator[BuildEnv]:
    """With an image of a busybox root, and a directory for what is made."""
    need("busybox")
    with build_env(user.need_ordinary_user()) as made:
        base = made.directory / "base.tar"
        busybox_root(base)
        image = OciLayout(made.directory / "image")
        image.write_index({"1": image.image([LayerTar(tar=base)])})
        (made.directory / "out").mkdir()
        (made.directory / "out").chmod(0o777)
        yield made


def argv(place: BuildEnv, name: str, layout: Mapping[str, Any], *, size: str) -> tuple[str | Path, ...]:
    """Of a conversion to out/NAME.raw, without the command."""
    path = place.directory / f"{name}.yaml"
    path.write_text(json.dumps(layout))
    image = f"oci:{place.directory / 'image'}:1"
    where = place.directory / "out" / name
    return ("convert", image, "--layout", path, "--image-size", size, "-t", "raw", "-o", where)


@pytest.fixture(scope="module")
def disk(place: BuildEnv) -> Path:
    """A raw disk, on a layout without boot files."""
    said = place.run("dibo", *argv(place, "disk", LAYOUT, size="0.2"))
    assert said.code == 0, said.err
    return place.directory / "out/disk.raw"


def test_sfdisk_on_a_device_with_such_sectors(disk: Path) -> None:
    need("sfdisk", "losetup")
    if os.geteuid() != 0:
        unmet("only root can attach a loop device")
    argv = ["losetup", "--find", "--show", "--sector-size", "4096", str(disk)]
    device = process.run(argv, capture=True).stdout.strip()
    try:
        table = json.loads(process.run(["sfdisk", "--json", device], capture=True).stdout)["partitiontable"]
        process.run(["sfdisk", "--verify", device], capture=True)
    finally:
        process.run(["losetup", "--detach", device])
    assert (table["label"], table["sectorsize"], table["firstlba"]) == ("gpt", 4096, 6)
    assert [part["name"] for part in table["partitions"]] == ["esp", "root"]
    assert table["partitions"][0]["size"] == (64 << 20) // 4096


def test_its_file_systems(disk: Path, tmp_path: Path) -> None:
    need("fsck.fat", "e2fsck")
    start = 1 << 20
    with disk.open("rb") as file:
        file.seek(start)
        (tmp_path / "esp").write_bytes(file.read(64 << 20))
    said = process.run(["fsck.fat", "-n", "-v", str(tmp_path / "esp")], capture=True)
    assert "4096 bytes per logical sector" in said.stdout
    process.run(["e2fsck", "-fn", f"{disk}?offset={start + (64 << 20)}"], capture=True)


@pytest.mark.parametrize("by_loop", [False, True], ids=["mkfs", "loop"])
def test_an_xfs(place: BuildEnv, by_loop: bool) -> None:
    """The kernel mounts it on a device with such sectors, which it does only if the xfs was made for them."""
    need("mkfs.xfs", "losetup")
    if os.geteuid() != 0:
        unmet("only root can attach a loop device")
    name = "by-loop" if by_loop else "by-mkfs"
    words = [str(word) for word in argv(place, name, XFS, size="0.6")]
    if by_loop:
        cache = place.directory / "cache-of-root"
        command = [sys.executable, "-m", "dibo", *words, "--loop", "--cache-dir", str(cache)]
        process.run(command, options=process.ProcessOptions(timeout=TIMEOUT))
    else:
        said = place.run("dibo", *words)
        assert said.code == 0, said.err
    made = place.directory / "out" / f"{name}.raw"
    with made.open("rb") as file:
        file.seek(65 * MIB)
        head = file.read(512)
    assert (head[:4], int.from_bytes(head[102:104], "big")) == (b"XFSB", 4096)
    script = (
        'loop=$(losetup --find --show --offset "$2" --sizelimit "$3" --sector-size 4096 "$1"); '
        'trap \'losetup --detach "$loop"\' EXIT; mount -o ro -t xfs "$loop" /mnt; ls /mnt; umount /mnt'
    )
    around = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]
    seen = process.run([*around, str(made), str(65 * MIB), str(320 * MIB)], capture=True)
    assert seen.stdout.split() == ["sbin"]
