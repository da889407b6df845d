"""Images of layers: what is refused before a build."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dibo.api.image import build, build_and_push
from dibo.errors import UsageError
from dibo.settings.settings import Options, decide
from dibo.system.report import Report


@pytest.mark.parametrize("tag", ["Bad:Tag:x", "", "web:", "docker://web", f"web@sha256:{'0' * 64}"])
def test_a_tag_that_no_engine_takes_is_refused_at_once(tmp_path: Path, tag: str) -> None:
    settings = decide(
        Options(flavours=("vm",), cache_dir=str(tmp_path / "cache")),
        {},
        now=datetime(2026, 11, 1, tzinfo=UTC),
        machine="x86_64",
        home=tmp_path,
    )
    with pytest.raises(UsageError, match=r"^--tag: "):
        build(settings, Report(), tag=tag)
    with pytest.raises(UsageError, match=r"^--tag: "):
        build_and_push(settings, Report(), tag=tag, push="localhost/x:1", include_local=False)
    assert not (tmp_path / "cache").exists()
