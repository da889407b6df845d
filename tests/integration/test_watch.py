"""`dibo build --watch` for real: a changed hook builds its layer again, and ^C ends it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.integration


@pytest.fixture
def place() -> Iterator[BuildEnv]:
    need("buildah", "newuidmap", "busybox", "setpriv")
    with build_env(user.need_ordinary_user()) as made:
        yield made
        assert made.left() == []


def test_a_changed_hook_is_built(place: BuildEnv) -> None:
    write_flavour(place.flavours, "web", {"install.d/10-web": "#!/bin/sh\necho one > /web\n"})
    build = place.start("dibo", "build", "--no-base", "--tag", "localhost/web", "--watch", "web")
    assert build.stderr is not None
    said = ""
    try:
        for line in build.stderr:
            said += line
            if line.startswith("watching for changes"):
                if said.count("watching for changes") == 2:
                    break
                (place.flavours / "web/install.d/.10-web.swp").write_text("x")
                (place.flavours / "web/install.d/10-web").write_text("#!/bin/sh\necho two > /web\n")
    finally:
        build.send_signal(signal.SIGINT)
        said += build.communicate(timeout=TIMEOUT)[1]
    assert build.returncode == 130, said
    assert "changed: web/install.d/10-web" in said
    assert said.count("web install.d: 10-web: done") == 2, said
    tree = place.tree("localhost/web")
    assert place.run("tar", "-xOf", tree, "./web").out == "two\n"
