"""The second build of a stack: layers below a changed hook are read while it runs, kept, and give the same disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.requirements import need

pytestmark = pytest.mark.integration


@pytest.fixture
def place() -> Iterator[BuildEnv]:
    need("buildah", "newuidmap", "busybox", "setpriv")
    with build_env(user.need_ordinary_user()) as made:
        yield made
        assert made.left() == []


def create(place: BuildEnv, out: Path) -> tuple[bytes, set[str]]:
    """The disk, and what took time."""
    trace = out / "trace.json"
    options = ["--no-base", "--image-size", "0.1", "-t", "raw", "--profile", str(trace)]
    said = place.run("disk-image-create", *options, "-o", out / "web", "web")
    assert said.code == 0, said.err
    spans = {event["name"] for event in json.loads(trace.read_text())["traceEvents"]}
    disk = out / "web.raw"
    data = disk.read_bytes()
    disk.unlink()
    return data, spans


def test_the_same_disk(place: BuildEnv) -> None:
    out = place.directory / "out"
    out.mkdir()
    shutil.chown(out, place.user.pw_uid, place.user.pw_gid)
    write_flavour(place.flavours, "web", {"install.d/10-web": "#!/bin/sh\nsleep 1\necho one > /etc/web\n"})
    create(place, out)
    kept = place.cache / "unpacked"
    assert list(kept.iterdir()) == []

    write_flavour(place.flavours, "web", {"install.d/10-web": "#!/bin/sh\nsleep 1\necho two > /etc/web\n"})
    changed, spans = create(place, out)
    (path,) = kept.iterdir()
    assert any(name.startswith("read ahead sha256:") for name in spans)
    again, spans = create(place, out)
    assert not any(name.startswith("read ahead") for name in spans)
    path.unlink()
    assert create(place, out)[0] == again == changed
