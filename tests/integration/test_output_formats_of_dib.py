"""The formats of diskimage-builder's own test of formats (`tests/run_output_format_test.sh` of its source archive),
each by itself and all together, with its element `fake-os`.

That element makes a root without a program. dibo finishes a root by bash, so it starts from busybox with bash.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.errors import UsageError
from tests.integration.test_elements import add_bash
from tests.support import dib, user
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.requirements import need

pytestmark = [pytest.mark.integration, dib.needs_sdist]
FORMATS = ("tar", "tgz", "squashfs", "raw", "qcow2")
MAGIC = {"tgz": b"\x1f\x8b", "squashfs": b"hsqs", "qcow2": b"QFI\xfb"}
DATA = 42 << 20


@pytest.fixture(scope="module")
def place() -> Iterator[BuildEnv]:
    need("buildah", "bwrap", "busybox", "bash", "mksquashfs")
    with build_env(user.need_ordinary_user()) as made:
        add_bash(made.directory / "base.tar")
        dib.unpack_test_elements(made.directory / "elements")
        yield made


def build(place: BuildEnv, *words: str) -> CommandResult:
    return place.run(
        *("disk-image-create", *words, "-o", str(place.temporary / "image"), "-n", "fake-os"),
        environment={"ELEMENTS_PATH": str(place.directory / "elements")},
    )


def outputs(place: BuildEnv) -> dict[str, Path]:
    """What was made, by the ending."""
    return {path.name.partition(".")[2]: path for path in place.temporary.glob("image.*")}


@pytest.mark.parametrize("types", ["", *FORMATS, ",".join(FORMATS)])
def test_each_format_is_made(place: BuildEnv, types: str) -> None:
    done = build(place, *(("-t", types) if types else ()))
    assert done.code == 0, done.err
    made = outputs(place)
    assert {*types.split(",")} - {""} <= {*made}
    assert types or "qcow2" in made
    for name, magic in MAGIC.items():
        if name in made:
            assert made[name].read_bytes()[: len(magic)] == magic
    for name in ("tar", "tgz"):
        if name in made:
            with tarfile.open(made[name]) as tar:
                sizes = {member.name.removeprefix("./"): member.size for member in tar}
            assert (sizes["fake-os"], sizes["fake-data"]) == (0, DATA)
            assert not [path for path in sizes if path.startswith("dev/")]
    for path in made.values():
        path.unlink()
    assert place.left() == []


@pytest.mark.parametrize("types", ["docker", "aci"])
def test_formats_that_are_refused(place: BuildEnv, types: str) -> None:
    done = build(place, "-t", types)
    assert done.code == UsageError.exit_code
    assert types in done.error
