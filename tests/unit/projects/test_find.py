"""Where the project file is looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dibo.errors import ProjectError
from dibo.projects import find
from dibo.projects.find import find_project, repository_of
from tests.unit.projects.project_files import write


def test_upwards_to_the_top_of_the_repository(tmp_path: Path) -> None:
    deep = tmp_path / "repository/a/b"
    deep.mkdir(parents=True)
    write(tmp_path, "images: {}")
    assert find_project(None, {}, tmp_path) == tmp_path / "dibo.yaml"
    assert find_project(None, {}, deep) is None, "outside a repository, only here"
    (tmp_path / "repository/.git").mkdir()
    assert find_project(None, {}, deep) is None, "not above the top"
    file = write(tmp_path / "repository", "images: {}")
    assert find_project(None, {}, deep) == file
    nearer = write(tmp_path / "repository/a", "images: {}")
    assert find_project(None, {}, deep) == nearer
    assert repository_of(nearer) == tmp_path / "repository"
    assert repository_of(tmp_path / "dibo.yaml") == tmp_path


def test_an_option_before_the_variable_before_the_search(tmp_path: Path) -> None:
    write(tmp_path, "images: {}")
    other = write(tmp_path, "images: {}", "other.yaml")
    below = write(tmp_path, "images: {}", "below/dibo.yaml")
    assert find_project("other.yaml", {"DIBO_PROJECT": "below"}, tmp_path) == other
    assert find_project(None, {"DIBO_PROJECT": "below"}, tmp_path) == below, (
        "a directory stands for its dibo.yaml"
    )
    assert find_project(None, {"DIBO_PROJECT": ""}, tmp_path) == tmp_path / "dibo.yaml"
    assert find_project("none", {}, tmp_path) is None
    assert find_project(None, {"DIBO_PROJECT": "none"}, tmp_path) is None
    with pytest.raises(ProjectError, match=r"--project: there is no file .*/x\.yaml"):
        find_project("x.yaml", {}, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ProjectError, match=r"--project: .*/pipe is not a regular file"):
        find_project("pipe", {}, tmp_path)
    with pytest.raises(ProjectError, match="DIBO_PROJECT: there is no file"):
        find_project(None, {"DIBO_PROJECT": "x.yaml"}, tmp_path)
    with pytest.raises(ProjectError, match="--project: there is no file"):
        find_project("a" * 5000, {}, tmp_path)
    with pytest.raises(ProjectError, match=r"the path ~nobody-has-this/dibo\.yaml begins at the home"):
        find_project("~nobody-has-this/dibo.yaml", {}, tmp_path)


def test_what_is_no_file_hides_none_above(tmp_path: Path) -> None:
    """Nor is it said that there is none."""
    (tmp_path / ".git").mkdir()
    write(tmp_path, "images: {}")
    path = tmp_path / "below" / "dibo.yaml"
    path.mkdir(parents=True)
    with pytest.raises(ProjectError, match=r"below/dibo\.yaml is not a file"):
        find_project(None, {}, path.parent)
    path.rmdir()
    path.symlink_to("nowhere")
    with pytest.raises(ProjectError, match=r"below/dibo\.yaml is not a file"):
        find_project(None, {}, path.parent)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ProjectError, match=r"below/dibo\.yaml is not a file"):
        find_project(None, {}, path.parent)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_a_file_of_another_user_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    below = tmp_path / "below"
    below.mkdir()
    file = write(tmp_path, "images: {}")
    os.chown(file, 4321, 4321)
    with pytest.raises(ProjectError, match="belongs to another user"):
        find_project(None, {}, below)
    assert find_project(str(file), {}, below) == file
    os.chown(below, 4321, 4321)
    assert find.find_project(None, {}, below) == file, "whoever works there trusts its owner"
