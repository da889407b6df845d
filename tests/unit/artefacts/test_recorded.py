"""Manifests beside artefacts, found and read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dibo.artefacts.recorded import FORMAT, beside, check_files, find, is_as_written, read
from dibo.errors import ManifestError

DATA = b"disk"
DIGEST = hashlib.sha256(DATA).hexdigest()


def listed(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "raw", "name": name, "size": len(DATA), "sha256": DIGEST, **more}


def write(directory: Path, stem: str, *artefacts: object, **more: Any) -> Path:
    path = directory / f"{stem}.manifest.json"
    path.write_text(json.dumps({"format": FORMAT, "artefacts": artefacts, **more}))
    return path


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "web.raw").write_bytes(DATA)
    return tmp_path / "web.raw"


def test_the_manifest_that_names_an_artefact(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others beside it may be of other images, and broken."""
    for stem in ("a", "we", "web.old"):
        (disk.parent / f"{stem}.manifest.json").write_text("{")
    os.mkfifo(disk.parent / "w.manifest.json")
    path = write(disk.parent, "web", listed("web.qcow2"), listed("web.raw"))
    recorded = find(disk)
    assert recorded.path == path
    assert [artefact.name for artefact in recorded.artefacts] == ["web.raw"]
    assert [artefact.name for artefact in find(path).artefacts] == ["web.qcow2", "web.raw"]
    assert beside(disk) == recorded
    monkeypatch.chdir(disk.parent)
    assert beside(Path("web.raw")) == recorded


def test_no_manifest_names_it(disk: Path) -> None:
    write(disk.parent, "web", listed("web.qcow2"))
    assert beside(disk) is None
    with pytest.raises(ManifestError, match=r"no manifest beside .*web\.raw names it"):
        find(disk)
    (disk.parent / "web.manifest.json").write_text("[")
    assert beside(disk) is None
    with pytest.raises(ManifestError, match=r"web\.manifest\.json is no manifest: Expecting value"):
        find(disk)
    with pytest.raises(ManifestError, match="is neither a file nor a directory"):
        find(disk.parent / "gone.raw")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "'format' is missing"),
        (5, "is no manifest"),
        ({"format": FORMAT}, "'artefacts' is missing"),
        ({"format": FORMAT + 1, "artefacts": []}, f"has the format {FORMAT + 1}; this dibo knows {FORMAT}"),
        ({"format": FORMAT, "artefacts": ["web.raw"]}, "is no manifest"),
        ({"format": FORMAT, "artefacts": {"web.raw": 5}}, "is no manifest"),
        ({"format": FORMAT, "artefacts": [{"type": "raw"}]}, "'name' is missing"),
        *(
            ({"format": FORMAT, "artefacts": [listed(name)]}, "names files elsewhere")
            for name in ("", "..", "../web.raw", "a\0b")
        ),
    ],
)
def test_what_is_no_manifest(tmp_path: Path, document: object, message: str) -> None:
    path = tmp_path / "web.manifest.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ManifestError, match=message) as caught:
        read(path)
    assert caught.value.hint


def test_what_is_no_file_is_no_manifest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "web.manifest.json")
    (tmp_path / "db.manifest.json").mkdir()
    for stem in ("web", "db"):
        with pytest.raises(ManifestError, match="it is not a file"):
            read(tmp_path / f"{stem}.manifest.json")
    with (tmp_path / "large.manifest.json").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(ManifestError, match="it is larger than 64 MiB"):
        read(tmp_path / "large.manifest.json")


def test_whether_it_is_as_written(disk: Path) -> None:
    write(disk.parent, "web", listed("web.raw"))
    assert is_as_written(disk)
    assert check_files(find(disk)) == []
    disk.write_bytes(b"Disk")
    assert not is_as_written(disk)
    assert "its sha256 is another" in check_files(find(disk))[0]
    write(disk.parent, "web", listed("web.raw", sha256=None))
    assert not is_as_written(disk), "nothing says what it was"
    disk.unlink()
    with pytest.raises(ManifestError, match="is not there"):
        check_files(find(disk.parent / "web.manifest.json"))
