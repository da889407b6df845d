"""`dibo push` into a real registry: taken from there by oras, and by the ramdisk's program."""

from __future__ import annotations

from pathlib import Path

import oras.client
import pytest

from dibo.cli.main import dibo
from pull.main import Machine, deploy
from tests.support.disks.gpt_disks import MIB, make_disk, problems_of
from tests.support.servers.registry import registry
from tests.unit.pull.test_qcow2 import made

pytestmark = pytest.mark.integration


def test_what_was_pushed_is_pulled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = make_disk(tmp_path / "raw", 16, {"root": (1, 14)}, filled=6 * MIB)
    data = made(tmp_path, image, "compression_type=zstd", convert=("-c",))
    path = (tmp_path / "image.qcow2").rename(tmp_path / "web.qcow2")
    kernel, ramdisk = tmp_path / "deploy.kernel", tmp_path / "deploy.ramdisk"
    kernel.write_bytes(b"kernel" * 1000)
    ramdisk.write_bytes(b"ramdisk" * 1000)
    (tmp_path / "registry").mkdir()
    with registry(tmp_path / "registry") as held:
        for file in (path, ramdisk):
            assert dibo(["push", str(file), f"{held.host}/disks/{file.stem}:1"]) == 0
        reference = capsys.readouterr().out.split()[0]

        client = oras.client.OrasClient(insecure=True)
        for name, files in (("web", [path]), ("deploy", [kernel, ramdisk])):
            there = tmp_path / "pulled" / name
            client.pull(target=f"{held.host}/disks/{name}:1", outdir=str(there))
            assert {each.name: each.read_bytes() for each in there.iterdir()} == {
                each.name: each.read_bytes() for each in files
            }

        disk = tmp_path / "disk"
        disk.write_bytes(bytes(20 * MIB))
        machine = Machine(disk=str(disk), wanted_disks="", address="", boot_server="")
        said: list[str] = []
        assert deploy({"image": f"oci://{reference}"}, machine, said.append) == ""
        wrong = deploy({"image": f"oci://{held.host}/disks/deploy:1"}, machine, said.append)
    assert data and any("the digest holds" in line for line in said)
    assert problems_of(disk) == "" and disk.read_bytes()[MIB : 15 * MIB] == image[MIB : 15 * MIB]
    assert "has not just one disk: its files are deploy.kernel, deploy.ramdisk" in wrong
