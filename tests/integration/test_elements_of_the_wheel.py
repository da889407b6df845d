"""The 128 elements of diskimage-builder 3.43.0: each is built as it is and leaves in the image what it is there for, or
stands in a list with the reason why not. `tests/support/wheel` has the groups that share a stack, and the list.

The wheel is a test input; without it these tests are skipped loudly.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_elements import add_bash
from tests.support import dib, user
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.requirements import need
from tests.support.wheel import archives, debian, disks
from tests.support.wheel.build import build_group, image_of_group, steps_built, write_files
from tests.support.wheel.model import WheelGroup
from tests.support.wheel.traces import problems

pytestmark = [pytest.mark.integration, pytest.mark.long, dib.needs_wheel]
GROUPS = {**debian.GROUPS, **disks.GROUPS, **archives.GROUPS}


@pytest.fixture(scope="module")
def place() -> Iterator[BuildEnv]:
    need(
        "buildah", "bwrap", "busybox", "bash", "mmdebstrap", "fdisk", "git", "python3", "rsync", "jq", "curl"
    )
    with build_env(user.need_ordinary_user()) as made:
        add_bash(made.directory / "base.tar")
        keys = made.directory / ".ssh" / "authorized_keys"
        keys.parent.mkdir()
        keys.write_text("ssh-ed25519 AAAA home\n")
        yield made


@pytest.fixture(scope="module")
def theirs(place: BuildEnv) -> Path:
    return dib.unpack(place.directory / "dib")


@pytest.fixture
def directory(place: BuildEnv) -> Iterator[Path]:
    path = place.directory / "group"
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_elements_leave_in_the_image_what_they_are_there_for(
    group: WheelGroup, place: BuildEnv, theirs: Path, directory: Path
) -> None:
    write_files(group, directory)
    done = build_group(group, place, directory, theirs)
    assert done.code == 0, done.err[-6000:]
    assert not problems(group, image_of_group(place))
    again = build_group(group, place, directory, theirs)
    assert again.code == 0
    assert steps_built(again) == []
    image_of_group(place)
    assert place.left() == []
