"""Manifests that dibo did not write, or that were changed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dibo.api.verify import verify
from dibo.artefacts.manifest import FORMAT
from dibo.errors import ManifestError
from dibo.settings.settings import Options

ARTEFACT = {"name": "web.raw", "type": "raw", "sha256": None}


def test_an_image_of_elements_is_refused(tmp_path: Path) -> None:
    (tmp_path / "web.raw").write_bytes(b"")
    manifest = {
        "format": FORMAT,
        "artefacts": [ARTEFACT],
        "elements": [{"name": "debian-minimal", "asked": True}],
    }
    path = tmp_path / "web.manifest.json"
    path.write_text(json.dumps(manifest))
    report = cast(Any, SimpleNamespace(warn=lambda _: None))
    with pytest.raises(ManifestError, match="built of elements of diskimage-builder"):
        verify(Options(), {}, report, path=path, cached=False)


@pytest.mark.parametrize(
    "manifest",
    [
        {"artefacts": [{"name": "web.raw"}]},
        {"artefacts": [ARTEFACT]},
        {"artefacts": [ARTEFACT], "base": "debian"},
        {"artefacts": [ARTEFACT], "image": 5},
        {"artefacts": [ARTEFACT], "base": {"wanted": "debian"}, "environment": [], "options": {}},
        {"artefacts": ["web.raw"]},
        {"artefacts": {"name": "web.raw"}},
        {"artefacts": 5},
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, manifest: dict[str, Any]) -> None:
    (tmp_path / "web.raw").write_bytes(b"")
    path = tmp_path / "web.manifest.json"
    path.write_text(json.dumps({"format": FORMAT, **manifest}))
    with pytest.raises(ManifestError, match="is no manifest"):
        verify(Options(), {}, cast(Any, None), path=path, cached=False)
