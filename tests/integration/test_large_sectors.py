"""A disk with sectors of 4096 bytes, made by `dibo convert`: what the kernel, sfdisk, fsck and e2fsck read of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.system import process
from tests.support import user
from tests.support.host.build_env import build_env, busybox_root
from tests.support.images.oci_layouts import LayerTar, OciLayout
from tests.support.requirements import need, unmet
from tests.unit.layout.test_partition_table import LAYOUT

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """A raw disk of a busybox root, on a layout without boot files."""
    need("busybox")
    with build_env(user.need_ordinary_user()) as place:
        base = place.directory / "base.tar"
        busybox_root(base)
        image = OciLayout(place.directory / "image")
        image.write_index({"1": image.image([LayerTar(tar=base)])})
        (place.directory / "layout.yaml").write_text(json.dumps(LAYOUT))
        out = place.directory / "out"
        out.mkdir()
        out.chmod(0o777)
        said = place.run(
            *("dibo", "convert", f"oci:{image.directory}:1", "--layout", place.directory / "layout.yaml"),
            *("-t", "raw", "-o", out / "disk"),
            environment={"IMAGE_SIZE": "0.2"},
        )
        assert said.code == 0, said.err
        yield out / "disk.raw"


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
