"""What buildah lacks to build a Containerfile is said before it begins; tests/integration/test_container_elements.py
builds some."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dibo.build.engines.buildah.container_build import build_container
from dibo.errors import ToolMissing
from dibo.plan.base import PRIVATE, ContainerBuild
from dibo.system import process


@pytest.mark.parametrize(
    ("programs", "network", "message"),
    [
        ((), "host", "neither crun nor runc is installed"),
        (("runc",), PRIVATE, "neither slirp4netns nor pasta is installed"),
    ],
)
def test_programs_that_are_missing(
    programs: tuple[str, ...], network: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BUILDAH_ISOLATION", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(process, "find", lambda name: f"/usr/bin/{name}" if name in programs else None)
    source = ContainerBuild(text="FROM scratch\n", images=(), context=None, network=network)
    with pytest.raises(ToolMissing, match=message) as caught:
        build_container(source, tmp_path, environment={}, on_output=print)
    assert "apt-get install" in caught.value.hint
    assert not [*tmp_path.iterdir()]
