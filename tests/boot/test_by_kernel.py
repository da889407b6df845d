"""Disks that hooks lay out, and disks from a loop device, boot: up to the greeting of the root's own init, by BIOS.

No second build: hooks of block-device.d are in no key, so the layers are those of the image that tests/boot boots.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dibo.errors import CommandFailed
from dibo.machines.console import CrashDetector
from dibo.system import process
from tests.boot.conftest import BUILD_SECONDS, Disks
from tests.support import user
from tests.support.host.host_snapshot import host_snapshot, settled_snapshot
from tests.support.images.oracle import differences, on_disk
from tests.support.machines.emulation import BOOT_SECONDS
from tests.support.machines.qemu import TOOLS, Machine
from tests.support.requirements import need, unmet

pytestmark = pytest.mark.boot

GREETING = "Welcome to Debian"
BY_HOOK, BY_HOOK_ON_LOOP, ON_LOOP = "hook", "hook-on-loop", "loop"
GIB = 1 << 30


@pytest.fixture(scope="module")
def made(disks: Disks) -> Iterator[dict[str, Path]]:
    """Raw disks: of the classic hook on a file, by an ordinary user; and, where root runs the tests, of the same hook
    on a loop device, and of the layout of `vm` on one."""
    need(*TOOLS, "sfdisk")
    if not disks.cache:
        unmet("the image of these tests is somebody's own (DIBO_BOOT_IMAGE)")
    builder = user.ordinary_user()
    directory = user.directory_of(builder)
    directory.chmod(0o755)
    words = ["-t", "raw", *disks.wishes, "one-partition"]
    found = {BY_HOOK: directory / "hook.raw"}
    try:
        try:
            user.run_as(
                builder, "disk-image-create", ["-o", str(found[BY_HOOK]), *words], timeout=BUILD_SECONDS
            )
            if os.geteuid() == 0:
                found |= _by_root(disks, directory, words)
        except CommandFailed as error:
            pytest.fail("\n".join(error.tail), pytrace=False)
        yield found
    finally:
        shutil.rmtree(directory)


def _by_root(disks: Disks, directory: Path, words: list[str]) -> dict[str, Path]:
    need("losetup", "mount", "mke2fs", "dmsetup")
    place = Path(tempfile.mkdtemp(dir=directory))
    before = host_snapshot(place)
    found = {BY_HOOK_ON_LOOP: place / "hook.raw", ON_LOOP: place / "loop.raw"}
    common = ["--loop", "--cache-dir", str(place / "cache"), "-x"]
    for argv in (
        [
            "disk-image-create",
            *common,
            "-o",
            str(found[BY_HOOK_ON_LOOP]),
            "--cache-from",
            disks.cache,
            *words,
        ],
        ["dibo", "convert", disks.name, *common, "-t", "raw", "-o", str(found[ON_LOOP])],
    ):
        process.run([user.program(argv[0]), *argv[1:]], options=process.ProcessOptions(timeout=BUILD_SECONDS))
    assert settled_snapshot(before, place) == before
    return found


@pytest.fixture(scope="module")
def consoles(made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each machine showed until it greeted, or until there was nothing left to wait for; all at once."""
    top = tmp_path_factory.mktemp("by-kernel")
    deadline = time.monotonic() + BOOT_SECONDS
    with ExitStack() as stack:
        machines = {
            name: stack.enter_context(Machine(disk, directory=top / name, name=name))
            for name, disk in made.items()
        }
        texts = dict.fromkeys(machines, "")
        waiting = dict(machines)
        while waiting and time.monotonic() < deadline:
            time.sleep(1)
            for name, machine in list(waiting.items()):
                texts[name] = machine.console_text()
                if GREETING in texts[name] or CrashDetector().hopeless(texts[name]):
                    del waiting[name]
    return texts


def of(found: dict[str, Path] | dict[str, str], name: str) -> str | Path:
    if name not in found:
        unmet("only root has loop devices and mounts")
    return found[name]


@pytest.mark.parametrize("name", [BY_HOOK, BY_HOOK_ON_LOOP, ON_LOOP])
def test_it_boots(consoles: dict[str, str], name: str) -> None:
    text = str(of(consoles, name))
    assert "GRUB" in text
    assert GREETING in text, text[-3000:]


@pytest.mark.parametrize("name", [BY_HOOK, BY_HOOK_ON_LOOP])
def test_the_table_is_the_hook_s(made: dict[str, Path], name: str) -> None:
    disk = Path(of(made, name))
    said = process.run(["sfdisk", "--json", str(disk)], capture=True).stdout
    table = json.loads(said)["partitiontable"]
    assert table["label"] == "dos"
    (partition,) = table["partitions"]
    assert (partition["start"], partition["size"], partition["bootable"]) == (
        2048,
        2 * GIB // 512 - 2048,
        True,
    )


def test_the_tree_is_that_of_the_file_converter_but_for_what_grub_install_keeps(
    made: dict[str, Path], disks: Disks, tmp_path: Path
) -> None:
    loop = Path(of(made, ON_LOOP))
    file = tmp_path / "file.raw"
    process.run(["qemu-img", "convert", "-O", "raw", str(disks.converted), str(file)])
    wrong = differences(on_disk(loop), on_disk(file))
    file.unlink()
    assert wrong, "grub-install did nothing"
    assert [line for line in wrong if not line.startswith("boot/grub/")] == []
