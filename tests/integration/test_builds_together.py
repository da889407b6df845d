"""Builds at the same time: a layer that several need is built once, and who waits says for whom."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.integration

BUILDS = 8
SH = "#!/bin/sh\nset -eu\n"


@pytest.fixture
def place() -> Iterator[BuildEnv]:
    need("buildah", "newuidmap", "busybox", "setpriv")
    builder = user.need_ordinary_user()
    with build_env(builder) as made:
        yield made
        assert made.left() == []


def test_eight_builds_make_a_shared_layer_once(place: BuildEnv) -> None:
    write_flavour(
        place.flavours, "shared", {"install.d/10-shared": SH + "sleep 5\nhead -c 99 /dev/urandom > /shared\n"}
    )
    for number in range(BUILDS):
        hook = SH + f"test -s /shared\necho {number} > /own\n"
        write_flavour(place.flavours, f"own-{number}", {"install.d/20-own": hook}, yaml="needs: [shared]\n")
    started = [
        place.start("dibo", "build", "--no-base", "--tag", f"localhost/own-{number}", f"own-{number}")
        for number in range(BUILDS)
    ]
    outputs = [build.communicate(timeout=TIMEOUT)[1] for build in started]
    assert [build.returncode for build in started] == [0] * BUILDS, "\n".join(outputs)
    shared = "shared install.d: 10-shared"
    assert sum(f"{shared}: done" in output for output in outputs) == 1
    assert sum("base" in line and ": done" in line for line in "\n".join(outputs).splitlines()) == 1
    waits = [line for line in "\n".join(outputs).splitlines() if ": waiting for process " in line]
    assert [line for line in waits if shared in line]
    assert all("which builds this layer" in line for line in waits)
    assert list((place.cache / "locks").iterdir()) == []
