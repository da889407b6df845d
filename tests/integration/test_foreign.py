"""Hooks of a root for another architecture, run by an emulator that an ordinary user registers for himself."""

from __future__ import annotations

import json
import os
import pwd
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env, busybox_root
from tests.support.requirements import need, unmet

pytestmark = pytest.mark.integration

EMULATOR = "qemu-aarch64-static"
REGISTRATIONS = Path("/proc/sys/fs/binfmt_misc")
HOOK = """#!/bin/sh
set -e
uname -m > /machine
id nobody > /dev/null 2>&1 || echo 'nobody:x:65534:65534::/:/bin/sh' >> /etc/passwd
su nobody -c 'uname -m' > /by-nobody
touch /owned && chown 12:34 /owned
ls /proc/sys/fs/binfmt_misc > /registrations
grep Seccomp: /proc/self/status > /filter
"""


@pytest.fixture(scope="module")
def builder() -> pwd.struct_passwd:
    need("buildah", "newuidmap", "bwrap", "setpriv", "mmdebstrap", EMULATOR)
    release = tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])
    if release < (6, 7):
        unmet(f"Linux {os.uname().release} has no registrations of an ordinary user's own")
    return user.need_ordinary_user()


@pytest.fixture(scope="module")
def place(builder: pwd.struct_passwd) -> Iterator[BuildEnv]:
    """Its base is a busybox for arm64, which no program of this machine runs."""
    with build_env(builder) as made:
        packages = made.directory / "tmp" / "packages.tar"
        options = ("--quiet", "--mode=unshare", "--variant=extract", "--architectures=arm64")
        done = made.run("mmdebstrap", *options, "--include=busybox-static", "bookworm", packages)
        assert done.code == 0, done.err
        busybox = made.directory / "busybox"
        with tarfile.open(packages) as tar:
            content = tar.extractfile("./bin/busybox")
            assert content is not None
            busybox.write_bytes(content.read())
        packages.unlink()
        busybox.chmod(0o755)
        busybox_root(made.directory / "base.tar", busybox=busybox, emulator=[EMULATOR])
        write_flavour(made.flavours, "hello", {"install.d/10-hello": HOOK})
        yield made


@pytest.mark.parametrize("isolation", ["bwrap", "chroot"])
def test_hooks_of_another_architecture_run_and_change_nothing_of_the_machine(
    place: BuildEnv, isolation: str
) -> None:
    before = sorted(REGISTRATIONS.glob("*"))
    options = ["--no-base", "-a", "arm64", "--epoch", isolation, "--isolation", isolation]
    done = place.run("dibo", "build", *options, "hello")
    assert done.code == 0, done.err
    image = done.out.strip()
    with tarfile.open(place.tree(image)) as tar:
        texts = {name: read(tar, f"./{name}") for name in ("machine", "by-nobody", "registrations")}
        owned = tar.getmember("./owned")
        filtered = read(tar, "./filter").split()[1]
    assert (texts["machine"], texts["by-nobody"]) == ("aarch64\n", "aarch64\n")
    assert "dibo" not in texts["registrations"]
    assert (owned.uid, owned.gid) == (12, 34)
    assert filtered == "2"
    inspected = place.run("buildah", "inspect", "--type", "image", image)
    assert json.loads(inspected.out)["OCIv1"]["architecture"] == "arm64"
    assert sorted(REGISTRATIONS.glob("*")) == before
    assert place.left() == []


def test_a_failing_hook_is_that_of_the_flavour(place: BuildEnv) -> None:
    write_flavour(place.flavours, "fails", {"install.d/10-fails": "#!/bin/sh\nexit 7\n"})
    done = place.run("dibo", "build", "--no-base", "-a", "linux/arm64/v8", "fails")
    assert "exit code 7" in done.err
    state = re.search(r"failed-[0-9a-f]+", done.err)
    assert state is not None
    options = ["--no-base", "-a", "arm64", "--at", state[0], "--run", "uname -m"]
    assert place.run("dibo", "shell", *options).out == "aarch64\n"


def test_without_an_emulator_the_error_names_the_package(place: BuildEnv, tmp_path: Path) -> None:
    programs = place.directory / "programs"
    programs.mkdir()
    for path in Path("/usr/bin").iterdir():
        if not path.name.startswith("qemu-"):
            (programs / path.name).symlink_to(path)
    done = place.run(
        "dibo",
        "build",
        "--no-base",
        "-a",
        "arm64",
        "--epoch",
        "none",
        "hello",
        environment={"PATH": str(programs)},
    )
    assert "programs of arm64 do not run on this machine" in done.error
    assert "qemu-user-static" in done.err


def read(tar: tarfile.TarFile, name: str) -> str:
    content = tar.extractfile(name)
    assert content is not None
    return content.read().decode()
