"""`dibo init`: nothing is overwritten, and what is written can be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dibo.api.projects.init import InitRequest, add_image, init
from dibo.errors import OutputError, ProjectError, UnknownFlavour
from dibo.projects.load import load_project
from dibo.projects.new_file import NewImage


def request(directory: Path, name: str = "", *, gitignore: bool = False) -> InitRequest:
    return InitRequest(image=NewImage(name=name, flavours=()), directory=directory, gitignore=gitignore)


def test_a_new_file_in_a_new_directory(tmp_path: Path) -> None:
    answer = init(request(tmp_path / "a/shop"), {})
    path = tmp_path / "a/shop/dibo.yaml"
    (image,) = load_project(path).images
    assert (image.name, image.flavours, image.base) == ("shop", ("vm",), "debian")
    assert f"dibo build --project {path} shop" in answer.text
    assert answer.document["files"] == [str(path)]
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["dibo.yaml"]


def test_next_commands_in_the_working_directory_name_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flavours").mkdir()
    assert "  dibo build web " in init(request(Path(), "web"), {}).text
    assert load_project(tmp_path / "dibo.yaml").images[0].flavours_path == (tmp_path / "flavours",)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "dibo.yaml").symlink_to("nowhere")
    with pytest.raises(ProjectError, match="exists, and is not overwritten"):
        init(request(tmp_path), {})
    assert (tmp_path / "dibo.yaml").is_symlink()


def test_gitignore_gets_a_line_once(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.o")
    assert init(request(tmp_path, gitignore=True), {}).document["files"][1:] == [str(tmp_path / ".gitignore")]
    assert (tmp_path / ".gitignore").read_text() == "*.o\n/images/\n"
    (tmp_path / "dibo.yaml").unlink()
    assert len(init(request(tmp_path, gitignore=True), {}).document["files"]) == 1


def test_an_image_without_flavours_gets_those_of_the_file_or_the_usual_ones(tmp_path: Path) -> None:
    path = tmp_path / "dibo.yaml"
    for defaults, flavours in (("", ("vm",)), ("defaults: {flavours: [mysql]}\n", ("mysql",))):
        path.write_text(f"{defaults}images:\n  web: {{flavours: [vm]}}\n")
        add_image(NewImage(name="db", flavours=()), project_file=str(path), environment={})
        (image,) = (image for image in load_project(path).images if image.name == "db")
        assert image.flavours == flavours


def test_an_image_is_added_to_a_file(tmp_path: Path) -> None:
    init(request(tmp_path, "web"), {})
    path = tmp_path / "dibo.yaml"
    path.chmod(0o664)
    before = path.read_text()
    add_image(NewImage(name="db", flavours=("mysql",)), project_file=str(path), environment={})
    assert [image.name for image in load_project(path).images] == ["web", "db"]
    assert path.read_text().startswith(before)
    assert path.stat().st_mode & 0o777 == 0o664


def test_a_change_that_would_break_the_file_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "dibo.yaml"
    path.write_text("images: {web: {flavours: [vm]}}\n")
    with pytest.raises(ProjectError) as caught:
        add_image(NewImage(name="web", flavours=("mysql",)), project_file=str(path), environment={})
    assert str(path) in caught.value.message
    assert path.read_text() == "images: {web: {flavours: [vm]}}\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["dibo.yaml"]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        init(request(tmp_path / "file/below"), {})


def test_a_flavour_that_is_nowhere_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    image = NewImage(name="web", flavours=("vm", "nosuch"))
    with pytest.raises(UnknownFlavour, match="no flavour 'nosuch'") as caught:
        init(InitRequest(image=image, directory=tmp_path / "a/shop"), {})
    assert f"{tmp_path}/a/shop/flavours" in caught.value.hint
    assert not any(tmp_path.iterdir()), "nor a directory"
    path = tmp_path / "dibo.yaml"
    path.write_text("images:\n  web: {flavours: [vm]}\n")
    with pytest.raises(UnknownFlavour):
        add_image(replace(image, name="db"), project_file=str(path), environment={})
    assert path.read_text() == "images:\n  web: {flavours: [vm]}\n"


def test_flavours_of_one_s_own_are_found(tmp_path: Path) -> None:
    for directory in ("flavours/mine", "elsewhere/other"):
        (tmp_path / directory / "install.d").mkdir(parents=True)
    image = NewImage(name="web", flavours=("vm", "mine", "other"))
    environment = {"DIBO_FLAVOURS_PATH": str(tmp_path / "elsewhere")}
    init(InitRequest(image=image, directory=tmp_path), environment)
    assert load_project(tmp_path / "dibo.yaml").images[0].flavours == ("vm", "mine", "other")
