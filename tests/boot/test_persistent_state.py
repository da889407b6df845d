"""A machine keeps its host keys, its id and what a service has to keep when its root is replaced.

The disk is written a second time as a deployment does: all but the partition persistent-state. The machine has no
metadata and nobody who logs in: it says on the console what is there, and powers off. It boots by the kernel, the
ramdisk and the command line that disk-image-get-kernel takes out of it, without what takes long where a processor is
emulated and has nothing to do with this.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.cli.main import disk_image_get_kernel as get_kernel
from dibo.errors import CommandFailed
from dibo.system import process
from tests.support import user
from tests.support.machines.direct_boot import TOOLS, DirectMachine, dead_card
from tests.support.requirements import need

pytestmark = pytest.mark.boot

FLAVOURS = Path(__file__).parent / "flavours"
BUILD_SECONDS = 1800.0
SECONDS = 900.0
QUICKLY = " ".join(
    (
        "apparmor=0 systemd.show_status=0",
        *(
            f"systemd.mask={unit}"
            for unit in (
                "boot-efi.mount",
                "ldconfig.service",
                "grub-common.service",
                "systemd-hwdb-update.service",
            )
        ),
    )
)
DEAD_CARD = dead_card("52:54:00:00:00:07")
"""A second network card, with a link and nobody who answers: what waits for the network must not wait for it."""

_SECTOR = 512
_PIECE = 1 << 20


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """A raw disk of `vm`, `persistent-state` and a service with something to keep, on Debian. DIBO_BOOT_STATE names one
    that is there already."""
    need(*TOOLS, "sfdisk", "debugfs")
    if given := os.environ.get("DIBO_BOOT_STATE"):
        yield Path(given)
        return
    need("buildah", "newuidmap", "mmdebstrap")
    builder = user.need_ordinary_user()
    directory = user.directory_of(builder)
    try:
        output = directory / "state.raw"
        options = ["-o", str(output), "-t", "raw", "--base", "debian", "--flavours-path", str(FLAVOURS)]
        try:
            user.run_as(builder, "disk-image-create", [*options, "state-probe"], timeout=BUILD_SECONDS)
        except CommandFailed as error:
            pytest.fail("\n".join(("the build failed:", *error.tail)), pytrace=False)
        yield output
    finally:
        shutil.rmtree(directory)


def state_of(disk: Path) -> tuple[int, int]:
    """Offset and size of the partition in bytes, as sfdisk reads the table."""
    said = subprocess.run(["sfdisk", "--json", disk], capture_output=True, text=True, check=True).stdout
    partitions = json.loads(said)["partitiontable"]["partitions"]
    (found,) = [each for each in partitions if each.get("name") == "persistent-state"]
    assert found["start"] < max(each["start"] for each in partitions)  # before the root
    return found["start"] * _SECTOR, found["size"] * _SECTOR


def deploy(image: Path, disk: Path) -> None:
    """The disk as after a deployment: the image, with that partition as it was."""
    begin, size = state_of(image)
    assert state_of(disk) == (begin, size)
    before = disk.rename(disk.with_name("before.raw"))
    process.run(["cp", "--sparse=always", str(image), str(disk)])
    with before.open("rb") as source, disk.open("r+b") as target:
        source.seek(begin)
        target.seek(begin)
        while (left := begin + size - source.tell()) > 0:
            target.write(source.read(min(_PIECE, left)))


def boot(kernel: Path, disk: Path, directory: Path, *, cmdline: str) -> dict[str, str]:
    """What the machine says, which has a network card that no network is at."""
    directory.mkdir()
    initramfs = kernel.with_name("test-initrd")
    with DirectMachine(
        kernel, initramfs, cmdline=f"{cmdline} {QUICKLY}", directory=directory, disks=[disk], extra=DEAD_CARD
    ) as machine:
        machine.wait_until_off(timeout=SECONDS)
    lines = [
        line.partition("state-probe: ")[2] for line in machine.text.splitlines() if "state-probe: " in line
    ]
    assert lines and lines[-1].strip() == "end", machine.tail()
    return {what: said.strip() for what, _, said in (line.partition(" ") for line in lines)}


def test_what_is_kept_when_the_root_is_replaced(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin, _ = state_of(image)
    listed = ["debugfs", "-R", "ls -p /", f"{image}?offset={begin}"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    assert {line.split("/")[5] for line in names} == {".", "..", "lost+found"}

    capsys.readouterr()
    assert get_kernel(["-o", "test", "-d", str(tmp_path), "--cmdline", str(image)]) == 0
    cmdline = capsys.readouterr().out.splitlines()[0]
    kernel, disk = tmp_path / "test-vmlinuz", tmp_path / "disk.raw"
    process.run(["cp", "--sparse=always", str(image), str(disk)])
    first = boot(kernel, disk, tmp_path / "first", cmdline=cmdline)
    assert (first["root"], first["first"], first["boots"]) == ("new", "of the image", "")
    assert first["keys"] == first["kept-keys"]
    deploy(image, disk)
    second = boot(kernel, disk, tmp_path / "second", cmdline=cmdline)
    assert (second["root"], second["first"]) == ("new", "of the machine")
    assert len(second["boots"].split()) == 1
    for same in ("keys", "kept-keys", "served", "machine-id"):
        assert second[same] == first[same] != ""
    for seen in (first, second):
        assert seen["system"] == "running"
        assert seen["state"] == "state ext4"
        assert seen["directory"] == "/var/lib/state-probe 750"
        assert seen["journal"] == f"{seen['machine-id']} 1"
