"""The 128 elements of diskimage-builder 3.43.0: each is built as it is and leaves in the image what it is there for, or
stands in a list with the reason why not. `tests/support/wheel` has the groups that share a stack, and the list.

The wheel is a test input; without it these tests are skipped loudly.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.test_elements import add_bash
from tests.support import dib, user
from tests.support.requirements import need
from tests.support.wheel import archives, debian, disks
from tests.support.wheel.lab import WheelLab, wheel_lab
from tests.support.wheel.model import WheelGroup

pytestmark = [pytest.mark.integration, pytest.mark.long, dib.needs_wheel]
GROUPS = {**debian.GROUPS, **disks.GROUPS, **archives.GROUPS}


@pytest.fixture(scope="module")
def lab() -> Iterator[WheelLab]:
    need(
        "buildah", "bwrap", "busybox", "bash", "mmdebstrap", "fdisk", "git", "python3", "rsync", "jq", "curl"
    )
    with wheel_lab(user.need_ordinary_user(), images=True) as made:
        add_bash(made.place.directory / "base.tar")
        keys = made.place.directory / ".ssh" / "authorized_keys"
        keys.parent.mkdir()
        keys.write_text("ssh-ed25519 AAAA home\n")
        yield made


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_elements_leave_in_the_image_what_they_are_there_for(group: WheelGroup, lab: WheelLab) -> None:
    lab.check(group)
