"""What reads images, in a directory of the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.contents.read import ReadRequest
from dibo.images.sources.choose import choose_image
from dibo.system.report import Report
from dibo.system.workspace import Workspace


@pytest.fixture
def request_(tmp_path: Path) -> Iterator[ReadRequest]:
    with Workspace(tmp_path / "cache").run() as run:
        yield ReadRequest(
            run=run,
            report=Report(quiet=True),
            open_image=lambda name, scratch: choose_image(name, architecture="amd64", scratch=scratch),
        )
