"""Hooks of block-device.d in small, real builds: on a plain file by an ordinary user, on a loop device by root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from dibo import errors
from dibo.units import MIB
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.host.host_snapshot import host_snapshot, settled_snapshot
from tests.support.images.oracle import fsck, mounted, require_same
from tests.support.requirements import need, unmet

pytestmark = pytest.mark.integration

SH = "#!/bin/sh\nset -eu\n"
TABLE = "printf '%b' '{lines}' | sfdisk -q \"$IMAGE_BLOCK_DEVICE\" >&2\n"
PRINT = 'echo "IMAGE_BLOCK_DEVICE=${IMAGE_BLOCK_DEVICE}p1"\n'
CLASSIC = TABLE.format(lines="label-id: 0x5f3c7a10\\n2048,,L\\n") + PRINT
SECOND = (
    TABLE.format(lines="2048,8M,L\\n,,L\\n") + 'printf kept | dd of="$IMAGE_BLOCK_DEVICE" bs=1M seek=4 2>&1\n'
)
BEHIND_A_NAME = 'ln -sf "${IMAGE_BLOCK_DEVICE}p1" "$LINK"\necho "IMAGE_BLOCK_DEVICE=$LINK"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Who builds, and how."""

    build_env: BuildEnv
    loop: bool

    def build(self, hook: str, output: Path, *types: str, link: str = "") -> CommandResult:
        yaml = f"environment:\n  LINK: {link}\n"
        shutil.rmtree(self.build_env.flavours / "disk", ignore_errors=True)
        write_flavour(self.build_env.flavours, "disk", {"block-device.d/10-disk": SH + hook}, yaml=yaml)
        words = ["-o", str(output), "-t", ",".join(types or ("raw",)), "--image-size", "0.06", "--no-base"]
        before = host_snapshot(self.build_env.directory)
        said = self.build_env.run("disk-image-create", *words, *(["--loop"] if self.loop else []), "disk")
        assert settled_snapshot(before, self.build_env.directory) == before
        return said


@pytest.fixture(scope="module")
def worlds() -> Iterator[dict[str, World]]:
    need("busybox", "setpriv", "buildah", "sfdisk", "e2fsck", "losetup", "dmsetup")
    with ExitStack() as stack:
        someone = user.need_ordinary_user()
        found = {"file": World(build_env=stack.enter_context(build_env(someone)), loop=False)}
        if os.geteuid() == 0:
            found["loop"] = World(build_env=stack.enter_context(build_env(pwd.getpwuid(0))), loop=True)
        yield found


@pytest.fixture(params=["file", "loop"])
def world(worlds: dict[str, World], request: pytest.FixtureRequest) -> World:
    if request.param not in worlds:
        unmet("only root has loop devices and mounts")
    return worlds[request.param]


@pytest.fixture
def out(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = world.build_env.directory / tmp_path_factory.mktemp("out").name
    directory.mkdir()
    shutil.chown(directory, world.build_env.user.pw_uid, world.build_env.user.pw_gid)
    yield directory
    shutil.rmtree(directory)


def refused(said: CommandResult, kind: type[errors.DiboError], *words: str) -> None:
    assert "Traceback" not in said.err, said.err
    for word in words:
        assert word in said.err, said.err
    assert said.code == kind.exit_code, said.err


def size_of(disk: Path) -> int:
    return disk.stat().st_size


def test_the_classic_hook(world: World, out: Path) -> None:
    """The same disk as raw and as qcow2; the root begins at 1 MiB, and is that of a bare file system."""
    said = world.build(CLASSIC, out / "disk", "raw", "qcow2")
    assert said.code == 0, said.err
    disk = out / "disk.raw"
    fsck(disk, MIB)
    found = mounted(disk, MIB, size_of(disk) - MIB)
    assert found[b"bin/busybox"].size > 100_000
    subprocess.run(["qemu-img", "compare", "-q", disk, out / "disk.qcow2"], check=True)
    said = world.build("exit 0\n", out / "bare")
    assert said.code == 0, said.err
    require_same(found, mounted(out / "bare.raw", 0, size_of(out / "bare.raw")))


def test_what_a_hook_wrote_elsewhere_stays(world: World, out: Path) -> None:
    said = world.build(SECOND + PRINT.replace("p1", "p2"), out / "disk")
    assert said.code == 0, said.err
    disk = out / "disk.raw"
    data = disk.read_bytes()
    assert data[4 * MIB : 4 * MIB + 5] == b"kept\0"
    fsck(disk, 9 * MIB)
    assert b"bin/busybox" in mounted(disk, 9 * MIB, size_of(disk) - 9 * MIB)


def test_a_root_that_is_larger_than_its_partition(world: World, out: Path) -> None:
    hook = TABLE.format(lines="2048,2M,L\\n") + PRINT
    refused(world.build(hook, out / "disk"), errors.ImageTooSmall, "10-disk has for it", "are missing")
    assert list(out.iterdir()) == []


def test_a_disk_that_is_to_boot_of_a_root_that_cannot(world: World, out: Path) -> None:
    hook = CLASSIC.replace(",L", ",L,*")
    refused(world.build(hook, out / "disk"), errors.RootNotBootable, "the root has no kernel")
    assert list(out.iterdir()) == []


def test_a_device_of_the_machine_is_never_taken(worlds: dict[str, World]) -> None:
    if "loop" not in worlds:
        unmet("only root has loop devices and mounts")
    others = (path for path in sorted(Path("/dev").iterdir()) if path.is_block_device())
    disk = next((path for path in others if not path.name.startswith("loop")), None)
    if disk is None:
        unmet("this machine has no block device but loop devices")
    out = worlds["loop"].build_env.directory / "never"
    said = worlds["loop"].build(f"echo IMAGE_BLOCK_DEVICE={disk}\n", out)
    refused(said, errors.HookFailed, f"printed IMAGE_BLOCK_DEVICE={disk}, which does not lie on /dev/loop")


def test_a_device_that_lies_on_the_disk_under_another_name(worlds: dict[str, World]) -> None:
    """As a mapped device does, whose name is nothing like the disk's."""
    if "loop" not in worlds:
        unmet("only root has loop devices and mounts")
    world = worlds["loop"]
    link = world.build_env.directory / "root-of-the-disk"
    said = world.build(
        TABLE.format(lines="2048,,L\\n") + BEHIND_A_NAME, world.build_env.directory / "named", link=str(link)
    )
    assert said.code == 0, said.err
    disk = world.build_env.directory / "named.raw"
    fsck(disk, MIB)
    assert b"bin/busybox" in mounted(disk, MIB, size_of(disk) - MIB)
    disk.unlink()
    link.unlink()
