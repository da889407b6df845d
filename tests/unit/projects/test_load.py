"""Files that include others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dibo.projects.load import load_project
from tests.unit.projects.project_files import images, project, refused, write


def test_images_of_included_files_inherit_defaults_of_both(tmp_path: Path) -> None:
    write(
        tmp_path,
        """\
        defaults: {release: bookworm, flavours-path: [flavours]}
        templates: {small: {size: 1}}
        images: {db: {extends: big, flavours: [mysql], layout: layout.yaml}}
        """,
        "teams/db.yaml",
    )
    found = images(
        tmp_path,
        """\
        include: [teams/db.yaml]
        defaults: {base: debian, release: trixie, flavours: [vm]}
        templates: {big: {size: 9}}
        images: {web: {extends: small}}
        """,
    )
    assert list(found) == ["web", "db"]
    db, web = found["db"], found["web"]
    assert (db.base, db.release, db.flavours, db.size) == ("debian", "bookworm", ("vm", "mysql"), "9")
    assert (web.release, web.size, web.flavours_path) == ("trixie", "1", ())
    assert db.layout == tmp_path / "teams/layout.yaml", "paths begin at the file that has them"
    assert db.flavours_path == (tmp_path / "teams/flavours",)
    assert db.destination.directory == tmp_path, "artefacts go to the project"
    assert db.position.file == tmp_path / "teams/db.yaml"
    assert load_project(tmp_path / "dibo.yaml").includes == (tmp_path / "teams/db.yaml",)


def test_circles_and_repetitions(tmp_path: Path) -> None:
    write(tmp_path, "include: [dibo.yaml]", "b.yaml")
    assert "dibo.yaml includes itself: " in refused(tmp_path, "include: [b.yaml]").message
    write(tmp_path, "images: {}", "b.yaml")
    (tmp_path / "c.yaml").symlink_to("b.yaml")
    error = refused(tmp_path, "include:\n- b.yaml\n- c.yaml")
    assert error.message == f"{tmp_path}/dibo.yaml:3: include[1]: c.yaml is included twice"
    assert "a.yaml includes itself" in str(_loop(tmp_path))


def test_chains_of_files_have_an_end(tmp_path: Path) -> None:
    for number in range(999):
        write(tmp_path, f"include: [{number + 1}.yaml]", f"{number}.yaml")
    write(tmp_path, "images: {}", "999.yaml")
    error = refused(tmp_path, "include: [0.yaml]")
    assert error.message == f"{tmp_path}/63.yaml:1: include[0]: more than 64 files include each other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"include: [{'a' * 5000}]", "include[0]: there is no file "),
        (
            "images: {web: {flavours: [vm], destination: ~nobody-has-this/x}}",
            "of a user that is not known here",
        ),
        (
            "images: {web: {flavours: [vm], destination: 'https://host/x'}}",
            "expected a directory, or docker://",
        ),
    ],
    ids=["a name that is too long", "a home of nobody", "an address"],
)
def test_places_that_cannot_be(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(tmp_path, text).message


def _loop(directory: Path) -> Exception:
    (directory / "self").mkdir()
    write(directory, "include: [a.yaml]", "self/a.yaml")
    with pytest.raises(Exception, match="includes itself") as caught:
        load_project(directory / "self/a.yaml")
    return caught.value


@pytest.mark.parametrize("key", ["layout", "destination", "flavours-path"])
def test_linked_directories_do_not_lead_out_of_the_repository(tmp_path: Path, key: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "real").mkdir()
    (inner / "linked").symlink_to("../real")
    value = "[linked/x]" if key == "flavours-path" else "linked/x"
    text = f"images:\n  web: {{flavours: [vm], {key}: {value}}}\n"
    assert f"the path linked/x leads out of {inner} through a symbolic link" in refused(inner, text).message
    (inner / "linked").unlink()
    (inner / "there").mkdir()
    (inner / "linked").symlink_to("there")
    assert project(inner, text).images


def test_files_outside_the_repository(tmp_path: Path) -> None:
    write(tmp_path, "images: {}", "outside.yaml")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "link.yaml").symlink_to("../outside.yaml")
    assert "leads out of" in refused(inner, "include: [../outside.yaml]").message
    link = f"the path link.yaml leads out of {inner} through a symbolic link"
    assert link in refused(inner, "include: [link.yaml]").message
    (inner / "circle.yaml").symlink_to("circle.yaml")
    assert "there is no file" in refused(inner, "include: [circle.yaml]").message
    assert "is not in" in refused(inner, f"include: [{tmp_path}/outside.yaml]").message
    (tmp_path / ".git").mkdir()
    assert project(inner, "include: [link.yaml]").images == ()


def test_files_outside_the_repository_by_any_way_of_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "images: {}", "outside.yaml")
    monkeypatch.setenv("HOME", str(tmp_path))
    inner = tmp_path / "inner"
    inner.mkdir()
    for written in ("../outside.yaml", "~/outside.yaml", f"{tmp_path}/outside.yaml"):
        error = refused(inner, f"include: [{written}]")
        assert error.hint == "include files of the same repository, by relative paths"


def test_included_names_of_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("sub", "pipe.yaml"):
        message = refused(tmp_path, f"include: [{name}]").message
        assert message.endswith(f"include[0]: {tmp_path}/{name} is not a file")


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    error = refused(tmp_path, "include: [x.yaml]")
    assert error.message == f"{tmp_path}/dibo.yaml:1: include[0]: there is no file {tmp_path}/x.yaml"


def test_an_error_in_an_included_file_names_it(tmp_path: Path) -> None:
    write(tmp_path, "images:\n  db: {flavours: [vm], relase: x}\n", "db.yaml")
    error = refused(tmp_path, "include: [db.yaml]")
    assert error.message.startswith(f"{tmp_path}/db.yaml:2: images.db.relase: unknown key")
