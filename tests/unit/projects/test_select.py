"""Which images names stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.errors import ProjectError
from dibo.projects.model import Project
from dibo.projects.select import names_of, select, select_one
from tests.unit.projects.project_files import project


@pytest.fixture
def fleet(tmp_path: Path) -> Project:
    return project(
        tmp_path,
        """\
        defaults: {flavours: [vm]}
        images:
          web: {architectures: [amd64, arm64]}
          db: {matrix: {release: [bookworm, trixie]}}
          box: {name: black-box}
        """,
    )


def names(images: object) -> list[str]:
    return [image.name for image in images]  # type: ignore[attr-defined]


def test_images_and_entries(fleet: Project) -> None:
    assert names(select(fleet, ["db-trixie", "@web"])) == ["web-amd64", "web-arm64", "db-trixie"]
    assert names(select(fleet, ["box", "black-box"])) == ["black-box"]
    assert len(select(fleet, [])) == 5
    assert names_of(fleet) == (
        *("web", "web-amd64", "web-arm64"),
        *("db", "db-bookworm", "db-trixie"),
        *("box", "black-box"),
    )


def test_one_of_several_by_its_architecture(fleet: Project) -> None:
    assert select_one(fleet, "web", "arm64").name == "web-arm64"
    assert select_one(fleet, "web", "x86_64").name == "web-amd64"
    assert select_one(fleet, "@web-arm64", "amd64").name == "web-arm64"
    with pytest.raises(ProjectError, match="web is 2 images: web-amd64, web-arm64"):
        select_one(fleet, "web", "riscv64")
    with pytest.raises(ProjectError, match="db is 2 images: db-bookworm, db-trixie"):
        select_one(fleet, "db", "amd64")


def test_a_name_that_is_not_there(fleet: Project) -> None:
    with pytest.raises(ProjectError, match=r"has no image 'wep'; did you mean 'web'") as caught:
        select(fleet, ["wep"])
    assert "black-box" in caught.value.hint
