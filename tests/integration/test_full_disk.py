"""A disk that runs full during a build: the error names it, and nothing that was made on it counts.

Each place is a small file system in a mount namespace of the test's own.
"""

from __future__ import annotations

import gzip
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo import errors
from tests.integration.test_kits import saved
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.images.application_images import application
from tests.support.kernel_images import VMLINUX, bzimage
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT
from tests.unit.kits.test_make import ROOT, VERSION, made

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system"),
]

SH = "#!/bin/sh\nset -eu\n"
LARGE = {
    "install.d/10-large": SH
    + "head -c 6000000 /dev/zero > /large\nmkdir /d; for n in $(seq 300); do echo $n > /d/$n; done\n"
}
LISTED = """mount -t tmpfs -o "size=$1,mode=0755" tmpfs "$2" && cd "$2" && shift 2 || exit
"$@" >/dev/null
code=$?
ls -A
exit $code
"""
MOUNTED = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]


@pytest.fixture
def place() -> Iterator[BuildEnv]:
    need("buildah", "busybox", "qemu-img")
    with build_env(pwd.getpwuid(0)) as made:
        write_flavour(made.flavours, "large", LARGE)
        yield made
        assert made.left() == []


def create(place: BuildEnv, out: Path, *arguments: str | Path, around: list[str]) -> CommandResult:
    return place.run(
        *("disk-image-create", "--no-base", "--image-size", "0.1", "-t", "raw", "-o", out / "web"),
        *arguments,
        "large",
        around=around,
    )


def small(directory: Path, size: str) -> list[str]:
    """What runs a command with a file system of this size at `directory`."""
    return [
        *MOUNTED,
        'mount -t tmpfs -o "size=$1,mode=0755" tmpfs "$2" && shift 2 && exec "$@"',
        "sh",
        size,
        str(directory),
    ]


@pytest.fixture
def out(place: BuildEnv) -> Path:
    directory = place.directory / "out"
    directory.mkdir()
    return directory


@pytest.mark.parametrize("size", ["1m", "3m", "6m"])
def test_the_store_of_layers_is_full(place: BuildEnv, out: Path, size: str) -> None:
    said = create(place, out, around=small(place.directory / "data", size))
    assert said.code in (errors.EngineError.exit_code, errors.BaseError.exit_code), said.err
    assert "the disk is full, so " in said.error
    assert f"{place.directory}/data/root on the tmpfs at {place.directory}/data" in said.error
    assert "the hook" not in said.error
    assert list(out.iterdir()) == []


def test_the_temporary_directory_is_full(place: BuildEnv, out: Path) -> None:
    """qemu-img and its like write there; and buildah, which dibo keeps from it."""
    said = create(place, out, around=small(place.temporary, "64k"))
    assert said.code == 0, said.err


@pytest.mark.parametrize("size", ["1m", "4m"])
def test_the_cache_is_full(place: BuildEnv, out: Path, size: str) -> None:
    (place.flavours / "large" / "files").mkdir()
    (place.flavours / "large" / "files" / "data").write_bytes(bytes(range(256)) * 20_000)
    said = create(place, out, around=small(place.cache, size))
    assert said.code == errors.OutputError.exit_code, said.err
    assert "the disk is full: " in said.error
    assert f"on the tmpfs at {place.cache}" in said.error


def test_the_output_is_full(place: BuildEnv, out: Path) -> None:
    said = create(place, out, around=small(out, "1m"))
    assert said.code == errors.OutputError.exit_code, said.err
    assert "the disk is full: " in said.error
    assert f"on the tmpfs at {out}" in said.error


def test_a_missing_temporary_directory(place: BuildEnv, out: Path) -> None:
    missing = place.directory / "missing"
    said = create(place, out, around=["env"])
    assert said.code == 0, said.err
    said = place.run("dibo", "build", "--no-base", "large", environment={"TMPDIR": str(missing)})
    assert said.code == errors.OutputError.exit_code, said.err
    assert f"TMPDIR names the directory {missing}, which does not exist" in said.error


def test_nothing_of_a_store_that_ran_full_is_used(place: BuildEnv, out: Path) -> None:
    """The store has more room each time, until a build comes to its end: that disk is the one of a store with room."""
    good = place.directory / "good"
    good.mkdir()
    said = create(place, good, around=[])
    assert said.code == 0, said.err
    script = (
        'mount -t tmpfs -o size=1m,mode=0755 tmpfs "$1"; data=$1; shift; tried=0\n'
        "for size in 2500 3000 4000 5500 7000 9000 10000 11000 12000 13000 14000 16000 18000 20000 100000; do\n"
        '    mount -o "remount,size=${size}k" "$data" && tried=$((tried + 1))\n'
        '    "$@" && echo "after $tried" && exit\n'
        "done; exit 1"
    )
    said = create(place, out, around=[*MOUNTED, script, "sh", str(place.directory / "data")])
    assert said.code == 0, said.err
    assert int(said.out.split("after ")[1]) > 3
    assert (out / "web.raw").read_bytes() == (good / "web.raw").read_bytes()


@pytest.mark.parametrize("kind", ["erofs", "microvm"])
@pytest.mark.parametrize(
    ("size", "reason"), [("200k", "the disk is full"), ("1m,ro", "file system is read-only")]
)
def test_types_of_a_root(tmp_path: Path, kind: str, size: str, reason: str) -> None:
    """What dibo writes itself, onto a small or a read-only output: no part of it is left."""
    need("busybox")
    kernel = bzimage(gzip.compress(VMLINUX), size=None)
    kit = saved(made({**ROOT, f"boot/vmlinuz-{VERSION}": kernel}), tmp_path)
    (tmp_path / "out").mkdir()
    convert = [user.program("dibo"), "convert", f"oci:{application(tmp_path / 'image')}", "-t", kind]
    convert += ["-o", str(tmp_path / "out" / "web"), "--cache-dir", str(tmp_path / "cache")]
    convert += ["--kit", f"oci:{kit}"] if kind == "microvm" else []
    argv = [*MOUNTED, LISTED, "sh", size, str(tmp_path / "out"), *convert]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == errors.OutputError.exit_code, done.stderr
    assert reason in done.stderr
    assert done.stdout == "", "what is left in the directory"
