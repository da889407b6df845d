"""Elements in the shapes of those that others publish, and tests that diskimage-builder has of its own elements: built
in seconds, since their package manager only writes down what it is asked for.

What they need of diskimage-builder comes from its wheel; without it these tests are skipped loudly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.errors import HookFailed
from tests.support import dib, user
from tests.support.requirements import need
from tests.support.wheel import third_parties
from tests.support.wheel.build import build_group
from tests.support.wheel.lab import WheelLab, wheel_lab
from tests.support.wheel.model import WheelGroup
from tests.support.wheel.stand_ins import stand_ins

pytestmark = [pytest.mark.integration, dib.needs_wheel]

SHOULD_FAIL = WheelGroup(
    system=("stand-in", "os", "apt-sources"),
    base="empty",
    files={**stand_ins("stage"), "os/root.d/05-root": '"$TMP_HOOKS_PATH/stand-ins/stage" install\n'},
    traces={"test-sources": ()},
)
"""A test of diskimage-builder that fails on purpose, in the image, once it has seen the file that it wrote outside."""


@pytest.fixture(scope="module")
def lab() -> Iterator[WheelLab]:
    need("buildah", "bwrap", "busybox", "bash", "cpio", "git", "rsync")
    with wheel_lab(user.need_ordinary_user()) as made:
        yield made


@pytest.mark.parametrize("group", third_parties.GROUPS.values(), ids=third_parties.GROUPS)
def test_shapes_of_third_parties(group: WheelGroup, lab: WheelLab) -> None:
    lab.check(group)


def test_a_test_of_diskimage_builder_that_should_fail(lab: WheelLab) -> None:
    with lab.files(SHOULD_FAIL) as directory:
        theirs = f"{lab.elements}:{lab.elements}/apt-sources/test-elements"
        done = build_group(SHOULD_FAIL, lab.place, directory, theirs)
    assert done.code == HookFailed.exit_code, done.err[-6000:]
    assert "the script 00-test-apt-sources in pre-install.d of elements ended with exit code 1" in done.err
    log = re.search(r"log: (\S+)", done.err)
    assert log is not None
    assert "touch /tmp/dib-test-should-fail" in Path(log[1]).read_text()
