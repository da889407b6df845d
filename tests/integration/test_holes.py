"""A file with a hole takes no room on the disk, although engines fill holes with zeros."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest

from dibo.system import process
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.requirements import need

pytestmark = pytest.mark.integration

HOOK = """#!/bin/sh
set -eu
truncate -s 400M /hole
printf end >> /hole
{ head -c 4086 /dev/zero; printf SWAPSPACE2; head -c 1044480 /dev/zero; } > /swap
"""


@pytest.fixture
def place() -> Iterator[BuildEnv]:
    need("buildah", "newuidmap", "busybox", "setpriv", "debugfs", "e2fsck")
    builder = user.need_ordinary_user()
    with build_env(builder) as made:
        yield made
        assert made.left() == []


def test_a_hole_of_a_hook_is_one_on_the_disk(place: BuildEnv) -> None:
    out = place.directory / "out"
    out.mkdir()
    shutil.chown(out, place.user.pw_uid, place.user.pw_gid)
    write_flavour(place.flavours, "holes", {"install.d/10-holes": HOOK})
    said = place.run(
        *("disk-image-create", "--no-base", "--image-size", "0.1", "-t", "raw", "-o", out / "web", "holes")
    )
    assert said.code == 0, said.err
    disk = out / "web.raw"
    process.run(["e2fsck", "-fn", str(disk)], capture=True)
    assert disk.stat().st_blocks * 512 < 20_000_000
    assert blocks_of(str(disk), "/hole") <= 16 * 8
    assert blocks_of(str(disk), "/swap") == 256 * 8


def blocks_of(disk: str, path: str) -> int:
    """The blocks of 512 bytes that a file has, as debugfs says."""
    said = process.run(["debugfs", "-R", f"stat {path}", disk], capture=True).stdout
    found = re.search(r"Blockcount: (\d+)", said)
    assert found is not None, said
    return int(found[1])
