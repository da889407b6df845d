"""Project files that dibo writes, and changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dibo.errors import ProjectError
from dibo.projects.new_file import NewImage, name_for, new_project, with_image
from dibo.projects.schema import PROJECT_SCHEMA
from tests.support.schemas import validate
from tests.unit.projects.project_files import images

DB = NewImage(name="db", flavours=("vm", "mysql"), release="3.10", types=("raw",), size="1.5")


def test_a_new_file_says_what_it_was_asked_for(tmp_path: Path) -> None:
    for own in (True, False):
        text = new_project(
            NewImage(
                name="no",
                flavours=("vm",),
                base="debian:trixie",
                release="13",
                types=("raw", "tar"),
                size="3",
            ),
            own_flavours=own,
            destination="out",
        )
        (image,) = images(tmp_path, text).values()
        assert (image.name, image.flavours, image.base, image.release) == (
            "no",
            ("vm",),
            "debian:trixie",
            "13",
        )
        assert (image.types, image.size, image.destination.directory) == (
            ("raw", "tar"),
            "3",
            tmp_path / "out",
        )
        assert image.flavours_path == ((tmp_path / "flavours",) if own else ())
        validate(yaml.safe_load(text), PROJECT_SCHEMA)


def test_what_its_comments_show_is_right(tmp_path: Path) -> None:
    text = new_project(NewImage(name="web", flavours=("vm",)), own_flavours=False, destination="out")
    shown = text.replace("    #   -", "      -").replace("  #   ", "    ")
    for key in ("size", "variables", "secrets", "tests", "flavours-path", "release", "web-db"):
        shown = shown.replace(f"# {key}:", f"{key}:")
    found = images(tmp_path, shown)
    assert list(found) == ["web", "web-db-amd64", "web-db-arm64"]
    assert (found["web"].size, found["web"].secrets, found["web"].release) == ("4", ("token",), "trixie")
    assert [step.kind for step in found["web"].tests[0].steps] == ["expect", "run"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "images:\n  db:\n"),
        ("# only a comment", "# only a comment\nimages:\n  db:\n"),
        ("defaults: {base: debian}\n", "defaults: {base: debian}\n\nimages:\n  db:\n"),
        ("images:\n", "images:\n  db:\n"),
        ("images:\n\ntemplates: {}\n", "images:\n  db:\n"),
        (
            "images:\n    a: {flavours: [vm]}",
            "images:\n    a: {flavours: [vm]}\n    db:\n        flavours: [vm, mysql]\n",
        ),
        (
            "images:  # all\n  a:\n    flavours:\n    - vm  # one\n    # more\n\n  # the end\n\n# of templates\n"
            "templates: {}\n",
            "images:  # all\n  a:\n    flavours:\n    - vm  # one\n    # more\n\n  # the end\n  db:\n",
        ),
        (
            "images: {a: {flavours: [vm]}}  # b\n",
            "images: {a: {flavours: [vm]}, db: {flavours: [vm, mysql], ",
        ),
        ("images: {a: {flavours: [vm]},}\n", "images: {a: {flavours: [vm]}, db: {flavours: [vm, mysql], "),
        ("images: {}\nx-y: z\n", "images: {db: {flavours: [vm, mysql], "),
    ],
)
def test_an_image_is_added_and_all_else_stays(tmp_path: Path, before: str, after: str) -> None:
    text = with_image(before, DB, origin="dibo.yaml")
    assert text.startswith(after)
    found = images(tmp_path, text)
    db = found["db"]
    assert (db.flavours, db.release, db.types, db.size) == (("vm", "mysql"), "3.10", ("raw",), "1.5")
    rest = iter(text.replace("}, db", "}}, db").splitlines())
    kept = [line for line in before.splitlines() if not line.startswith("images: {")]
    assert all(line in rest for line in kept), "in their order"
    assert ("a" in found) == ("a:" in before)


def test_an_image_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="has an image db already"):
        with_image("images: {db: {}}", DB, origin="dibo.yaml")
    with pytest.raises(ProjectError, match="expected keys on lines of their own"):
        with_image("{images: {}}", DB, origin="dibo.yaml")
    with pytest.raises(ProjectError, match="is not YAML"):
        with_image("a: [", DB, origin="dibo.yaml")


def test_names_for_directories() -> None:
    assert [name_for(name) for name in ("shop", "My Shop!", "", "..", "Übung", "x" * 99)] == [
        *("shop", "My-Shop", "web", "web", "bung", "x" * 60)
    ]
