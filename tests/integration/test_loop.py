"""`--loop`: disks by mkfs, mount and a loop device. As root; nothing of it may outlive the command."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo import errors
from tests.support import user
from tests.support.host.build_env import busybox_root
from tests.support.host.host_snapshot import HostSnapshot, attached, host_snapshot, settled_snapshot
from tests.support.images.corpus_workspace import CorpusWorkspace, corpus_workspace
from tests.support.images.oci_layouts import LayerTar, OciLayout
from tests.support.images.oracle import find_root, mounted, on_disk, require_same
from tests.support.requirements import need, unmet
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.integration

LAYOUT = """\
disk:
  table: gpt
  partitions:
    - {{name: firmware, type: esp, size: 4MiB, filesystem: vfat, label: UEFI, mount: /boot/efi, content: esp}}
    - {{name: root, type: linux-root, size: rest, filesystem: {kind}, label: root, mount: /}}
"""
MOMENTS = 20
BIGGER = 300  # files beside those of busybox


@pytest.fixture(scope="module", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        unmet("only root has loop devices and mounts")
    need("losetup", "mount", "umount", "unshare", "mke2fs", "dmsetup")


@pytest.fixture(scope="module")
def shop() -> Iterator[CorpusWorkspace]:
    need("umoci", "e2fsck")
    with corpus_workspace() as shop:
        yield shop


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory with an image, `image`, in it."""
    need("busybox")
    with tempfile.TemporaryDirectory(prefix="dibo-loop-", dir="/var/tmp") as name:
        directory = Path(name)
        base = directory / "base.tar"
        busybox_root(base)
        made = OciLayout(directory / "image")
        made.write_index({"1": made.image([LayerTar(tar=base), LayerTar(tar=_files(directory))])})
        (directory / "layout.yaml").write_text(LAYOUT.format(kind="ext4"))
        yield directory


def _files(directory: Path) -> Path:
    top = directory / "more"
    words = random.Random(1)
    for number in range(BIGGER):
        path = top / "srv" / str(number % 20) / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(words.randbytes(words.choice((10, 5000, 200_000))))
    boot = top / "usr/lib/dibo/boot"
    (boot / "esp/EFI/BOOT").mkdir(parents=True)
    (boot / "esp/EFI/BOOT/BOOTX64.EFI").write_bytes(words.randbytes(100_000))
    (boot / "manifest.json").write_text('{"format": 1, "esp": "esp"}')
    subprocess.run(["tar", "-C", top, "-cf", directory / "more.tar", "."], check=True)
    shutil.rmtree(top)
    return directory / "more.tar"


def argv(place: Path, output: Path, *more: str, reference: str = "") -> list[str]:
    """Of a conversion with a loop device."""
    command = [
        sys.executable,
        "-m",
        "dibo",
        "convert",
        reference or f"oci:{place}/image:1",
        "-o",
        str(output),
    ]
    return [*command, "--loop", "--image-size", "0.25", "--cache-dir", str(place / "cache"), *more]


def convert(place: Path, output: Path, *more: str, reference: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv(place, output, *more, reference=reference), capture_output=True, text=True, timeout=TIMEOUT
    )


def made(place: Path, output: Path, *more: str, reference: str = "") -> None:
    before = host_snapshot(place)
    done = convert(place, output, *more, reference=reference)
    assert done.returncode == 0, done.stderr
    assert settled_snapshot(before, place) == before


def refused(done: subprocess.CompletedProcess[str], kind: type[errors.DiboError], *words: str) -> None:
    assert "Traceback" not in done.stderr, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert done.returncode == kind.exit_code, done.stderr


def test_the_tree_is_that_of_the_file_converter(shop: CorpusWorkspace) -> None:
    """Every kind of file, attribute, name and time that tests/support/images/sample_tree.py has, in two layers."""
    shop.clear()
    layout = shop.new("layout.yaml")
    without_esp = [line for line in LAYOUT.format(kind="ext4").splitlines() if "esp" not in line]
    layout.write_text("\n".join(without_esp))
    reference = f"oci:{shop.umoci_image}:two"
    options = ("--layout", str(layout), "-t", "raw", "--image-size", "0.5")
    made(shop.place, shop.new("loop"), *options, reference=reference)
    by_file = [
        word for word in argv(shop.place, shop.new("file"), *options, reference=reference) if word != "--loop"
    ]
    subprocess.run(by_file, check=True, capture_output=True)
    loop, file = shop.new("loop.raw"), shop.new("file.raw")
    require_same(on_disk(loop), on_disk(file))
    assert find_root(loop) == find_root(file)
    with loop.open("rb") as one, file.open("rb") as other:  # the table, and the other partitions
        end = find_root(loop)[0]
        assert one.read(end) == other.read(end)


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_file_systems_that_only_their_own_tools_make(shop: CorpusWorkspace, place: Path, kind: str) -> None:
    need(f"mkfs.{kind}", "blkid")
    layout = place / f"{kind}.yaml"
    layout.write_text(LAYOUT.format(kind=kind))
    options = ("--layout", str(layout), "-t", "raw", "--image-size", "0.5")
    for name in ("one", "other"):  # at the second time tools remember the first disk
        made(place, place / name, *options)
    made(place, place / "ext4", "--layout", str(place / "layout.yaml"), "-t", "raw")
    one, ext4 = place / "one.raw", place / "ext4.raw"
    where = find_root(one)
    found = mounted(one, *where, kind=kind)
    wanted = mounted(ext4, *find_root(ext4))
    wanted.pop(b"lost+found")
    for tree in (found, wanted):
        tree.pop(b"etc/fstab")  # names the type
    require_same(found, wanted)
    identities = {
        subprocess.run(
            ["blkid", "-p", "-o", "value", "-s", "UUID", "-O", str(where[0]), place / f"{name}.raw"],
            capture_output=True, check=True,
        ).stdout
        for name in ("one", "other")
    }  # fmt: skip
    assert len(identities) == 1
    for name in ("one", "other", "ext4"):
        (place / f"{name}.raw").unlink()


def test_twenty_random_moments_to_be_killed(place: Path) -> None:
    """By SIGTERM nothing is left; after SIGKILL the next run cleans up."""
    out = place / "out"
    out.mkdir()
    options = ("--layout", str(place / "layout.yaml"), "-t", "raw,qcow2")
    started = time.monotonic()
    made(place, out / "disk", *options)
    length = time.monotonic() - started
    before = host_snapshot(place)
    seed = random.randrange(1 << 32)
    words = random.Random(seed)
    alive = 0
    for moment in range(MOMENTS):
        sign = (signal.SIGTERM, signal.SIGKILL)[moment % 2]
        how = f"seed {seed}, moment {moment}, {sign.name}"
        running = subprocess.Popen(
            argv(place, out / "disk", *options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if moment % 4 < 2:
            time.sleep(words.uniform(0, length))
        else:  # between what lies on the device and its end
            while not attached(out) and running.poll() is None:
                time.sleep(0.002)
            time.sleep(words.uniform(0, length / 3))
        alive += attached(out)
        running.send_signal(sign)
        _, said = running.communicate(timeout=TIMEOUT)
        assert running.returncode in (0, -sign, 128 + sign), f"{how}\n{said}"
        if sign is signal.SIGKILL:
            made_after_kill(place, before, how)
        assert settled_snapshot(before, place) == before, how
    assert alive > 0, "no moment found a loop device"


def made_after_kill(place: Path, before: HostSnapshot, how: str) -> None:
    done = convert(place, place / "next", "--bare", "-t", "raw")
    assert done.returncode == 0, f"{how}\n{done.stderr}"
    (place / "next.raw").unlink()
    assert settled_snapshot(before, place) == before, how


def test_a_tree_that_does_not_fit(place: Path) -> None:
    before = host_snapshot(place)
    done = convert(place, place / "small", "--bare", "-t", "raw", "--image-size", "0.01")
    refused(done, errors.ImageTooSmall, "does not fit an image of 11 MiB", "--image-size 0.1")
    done = convert(place, place / "small", "--bare", "-t", "raw", "--image-size", "0.1")
    assert done.returncode == 0, done.stderr
    (place / "small.raw").unlink()
    assert settled_snapshot(before, place) == before


def test_a_full_disk_below_the_loop_device(place: Path) -> None:
    """A file system of 16 MiB takes the file of a disk of 256 MiB, and not what is written to it."""
    script = 'set -e; mount -t tmpfs -o size=16m none "$1"; shift; exec "$@"'
    target = place / "full"
    target.mkdir()
    before = host_snapshot(place)
    enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(target)]
    done = subprocess.run(
        [*enter, *argv(place, target / "disk", "--bare", "-t", "raw")], capture_output=True, text=True
    )
    refused(done, errors.OutputError, "cannot write the disk", "no room left")
    assert settled_snapshot(before, place) == before


def test_types_that_are_no_disks(place: Path) -> None:
    refused(convert(place, place / "x", "-t", "tar"), errors.UsageError, "--loop makes disks")


def test_labels_that_are_too_long(place: Path) -> None:
    done = convert(place, place / "x", "--bare", "--fs-type", "xfs")
    refused(done, errors.LayoutError, "xfs takes labels of 12 characters")


def test_nobody_but_root(place: Path) -> None:
    someone = user.need_ordinary_user()
    directory = user.directory_of(someone)
    try:
        command = [
            user.program("dibo"),
            "convert",
            f"oci:{directory}:1",
            "--loop",
            "--bare",
            "-o",
            f"{directory}/x",
        ]
        shutil.copytree(place / "image", directory, dirs_exist_ok=True)
        subprocess.run(["chmod", "-R", "a+rX", directory], check=True)
        done = subprocess.run(user.as_user(someone, command), capture_output=True, text=True, cwd="/")
    finally:
        shutil.rmtree(directory)
    refused(done, errors.LoopError, "--loop needs root", "with sudo")


def test_a_relative_output(place: Path) -> None:
    """Leaving a mount namespace leaves the current directory, too."""
    done = subprocess.run(
        argv(place, Path("relative"), "--checksum", "--bare"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("relative.qcow2 ")
    names = ("relative.qcow2", "relative.qcow2.sha256", "relative.manifest.json")
    assert [name for name in names if not (place / name).is_file()] == []


BOOT_APART = """
table: gpt
partitions:
  - {{name: boot, type: xbootldr, size: 32MiB, filesystem: {kind}, label: boot, mount: /boot}}
  - {{name: srv, type: linux, size: 64MiB, filesystem: {kind}, label: srv, mount: /srv}}
  - {{name: root, type: linux-root, size: rest, filesystem: {kind}, label: r, mount: /}}
"""


def test_boot_apart(place: Path) -> None:
    """Files are numbered on each file system, and two of them have the same numbers."""
    first = place / "first.tar"
    with tarfile.open(first, "w") as tar:
        for name in ("boot/one", "srv/one", "usr-one", "boot/two", "srv/two", "usr-two"):
            data = name.encode() * 1000
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        hard = tarfile.TarInfo("srv/one-again")
        hard.type, hard.linkname = tarfile.LNKTYPE, "boot/one"
        tar.addfile(hard)
    second = place / "second.tar"
    with tarfile.open(second, "w") as tar:
        for name in ("boot/two", "srv/.wh.two"):
            entry = tarfile.TarInfo(name)
            entry.size = 3 if "wh" not in name else 0
            tar.addfile(entry, io.BytesIO(b"new"[: entry.size]))
    layout = OciLayout(place / "apart")
    layout.write_index({"1": layout.image([LayerTar(tar=first), LayerTar(tar=second)])})
    (place / "apart.yaml").write_text(BOOT_APART.format(kind="ext4"))
    trees = []
    for name, more in (("by-dibo", ()), ("by-loop", ("--loop",))):
        command = [sys.executable, "-m", "dibo", "convert", f"oci:{place}/apart:1", "-t", "raw", "-o"]
        command += [str(place / name), "--layout", str(place / "apart.yaml"), "--image-size", "0.25", *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 0, done.stderr
        trees.append(_contents(place / f"{name}.raw"))
    assert trees[0] == trees[1]
    assert trees[1]["boot"]["one"] == b"boot/one" * 1000
    assert trees[1]["boot"]["two"] == b"new"
    assert trees[1]["srv"]["one-again"] == b"boot/one" * 1000
    assert "two" not in trees[1]["srv"]


def _contents(disk: Path) -> dict[str, dict[str, bytes]]:
    """The files at the top of each file system, by the partition's name."""
    text = subprocess.run(["sfdisk", "--json", disk], capture_output=True, check=True).stdout
    found = {}
    for part in json.loads(text)["partitiontable"]["partitions"]:
        image = f"{disk}?offset={part['start'] * 512}"
        names = subprocess.run(
            ["debugfs", "-R", "ls -p /", image], capture_output=True, text=True, check=True
        )
        rows = [line.split("/") for line in names.stdout.splitlines() if line.startswith("/")]
        files = [row[5] for row in rows if row[2].startswith("100")]
        found[part["name"]] = {
            name: subprocess.run(
                ["debugfs", "-R", f"cat /{name}", image], capture_output=True, check=True
            ).stdout
            for name in sorted(files)
        }
    return found
