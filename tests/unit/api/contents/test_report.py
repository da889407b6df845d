"""`dibo report`: a page of an image in any form, or a document of the schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dibo.api.contents.report import page_name
from dibo.api.json_schema import JSON_SCHEMA
from dibo.build.step_times import LayerTime, StepTimes
from dibo.cli.main import dibo
from dibo.plan.labels import KEY_LABEL
from tests.support.images.image_forms import FORMS, debian_root, write_disk, write_form, write_layout
from tests.support.schemas import validate


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, and one for the cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMG_PATH", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/nonexistent")  # no engine
    return tmp_path


@pytest.mark.parametrize("form", FORMS)
def test_a_page_of_every_form(place: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    image = write_form(form, place, debian_root())
    assert dibo(["report", image]) == 0
    assert capsys.readouterr().out == "image.report.html\n"
    page = (place / "image.report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "/usr/bin/su" in page
    assert not list(place.glob(".*.part"))


def test_a_document(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write_form("disk", place, debian_root())
    assert dibo(["report", "--json", image]) == 0
    document = json.loads(capsys.readouterr().out)
    validate(document, JSON_SCHEMA)
    assert document["document"] == "report"
    assert document["page"] is None
    assert {file["path"]: file["size"] for file in document["files"]}["/usr/bin/bash"] == 7000
    assert document["cmdline"] == ["root=LABEL=x", "ro", "quiet"]
    assert not list(place.glob("*.html"))
    assert dibo(["report", "--json", "-o", "x.html", image]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == "x.html"
    assert (place / "x.html").exists()


def test_what_is_known_of_the_build(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = "a" * 64
    image = write_layout(place / "image", debian_root(), run={"Labels": {KEY_LABEL: key}})
    (place / "cache/keys").mkdir(parents=True)
    StepTimes(place / "cache/keys").save(key, LayerTime(seconds=7.5, hooks=(("packages", 7.0),)))
    assert dibo(["report", "--json", image]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert [(layer["took"], layer["hooks"]) for layer in layers] == [
        (7.5, [{"name": "packages", "took": 7.0}])
    ]


def test_a_disk_without_its_image_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write_disk(place / "web.raw", debian_root())
    layers = [
        {"title": "base debian", "key": "a" * 64},
        {"title": "web install.d: packages", "key": "b" * 64},
    ]
    manifest = {"format": 1, "layers": layers, "artefacts": [{"type": "raw", "name": "web.raw"}]}
    (place / "web.manifest.json").write_text(json.dumps(manifest))
    assert dibo(["report", "--json", str(image)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(layer["title"], layer["flavour"], layer["size"]) for layer in document["layers"]] == [
        ("base debian", None, 0),
        ("web install.d: packages", "web", 0),
    ]
    assert any("no engine here has the image" in note for note in document["notes"])


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("out/web.qcow2", "web"),
        ("web.manifest.json", "web"),
        ("web.tar.gz", "web"),
        ("registry.example:5000/images/web:1", "web"),
        (f"registry.example/web@sha256:{'a' * 64}", "web"),
        ("oci:build/web", "web"),
        ("oci:web:tag", "web"),
        ("containers-storage:localhost/dibo/layer:k-1", "layer"),
        ("directory/", "directory"),
        ("a name\n.raw", "a-name"),
        ("..", "image"),
        ("/", "image"),
    ],
)
def test_names_of_pages(image: str, expected: str) -> None:
    assert page_name(image) == f"{expected}.report.html"


def test_a_place_that_cannot_be_written_is_refused_before_reading(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dibo(["report", "-o", "gone/x.html", "nothing.qcow2"]) == 52
    assert "the directory" in capsys.readouterr().err
    assert dibo(["report", "-o", ".", "nothing.qcow2"]) != 0
    assert "nothing.qcow2" not in capsys.readouterr().err
