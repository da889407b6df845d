"""What dibo makes of an image has the contents of that image: writers and readers of all forms agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.api.contents.diff import SAME
from dibo.cli.main import dibo
from tests.support.images.image_forms import debian_root, layers_of, write_layout


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("IMG_PATH", raising=False)
    name = write_layout(tmp_path / "image", *layers_of(debian_root(), "usr/bin", "etc"))
    assert (
        dibo(
            ["convert", "-q", "--bare", "-a", "amd64", "-t", "raw,qcow2,tar", "-o", str(tmp_path / "x"), name]
        )
        == 0
    )
    return name


@pytest.mark.parametrize("artefact", ["x.raw", "x.qcow2", "x.tar", "x.manifest.json"])
def test_an_artefact_is_like_its_image(
    tmp_path: Path, image: str, capsys: pytest.CaptureFixture[str], artefact: str
) -> None:
    capsys.readouterr()
    assert dibo(["diff", "-a", "amd64", image, str(tmp_path / artefact)]) == 0
    assert capsys.readouterr().out.startswith(SAME)
