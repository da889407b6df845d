"""The base without files."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

from dibo.build.bases.empty import Empty
from dibo.build.bases.settings import BaseSettings
from dibo.build.engines.base_layer import write_base


def test_its_layer_is_a_tar_without_members(tmp_path: Path) -> None:
    base = Empty(BaseSettings(architecture="amd64"))
    assert base.ingredients() == (("kind", "empty"),)
    tar = subprocess.run(base.source().argv, capture_output=True, check=True).stdout
    with (tmp_path / "layer").open("w+b") as layer:
        written = write_base(io.BufferedReader(io.BytesIO(tar)), layer)
    assert set((tmp_path / "layer").read_bytes()) == {0}
    assert written.size == (tmp_path / "layer").stat().st_size
