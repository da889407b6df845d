"""`diskimage-builder FILE...`: which images are built, in which order, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.api.elements import images
from dibo.api.projects.make import ImageBuild
from dibo.cli import main
from dibo.errors import EngineError, ProjectError, SomeFailed
from dibo.system.report import Report

IMAGES = """\
- {imagename: first, elements: [debian, vm]}
- {imagename: second, elements: [debian, vm], environment: {A: b}}
- {imagename: third, elements: [debian, vm], ramdisk: true}
"""


class Builds:
    """Stands for what builds an image; those in `failing` fail."""

    def __init__(self, *failing: str) -> None:
        self.names: list[str] = []
        self._failing = failing

    def __call__(self, build: ImageBuild, report: Report) -> tuple[Path, ...]:
        self.names.append(build.image.name)
        if build.image.name in self._failing:
            raise EngineError(f"no engine for {build.image.name}")
        return (build.settings.output,)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "images.yaml"
    path.write_text(IMAGES)
    return path


def test_images_are_built_in_their_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = Builds()
    monkeypatch.setattr(images, "make_artefacts", builds)
    paths = images.build_images([path], {}, Report(), stop_on_failure=False)
    assert builds.names == ["first", "second", "third"]
    assert paths[0] == path.parent / "first"


@pytest.mark.parametrize(("stop", "names"), [(False, ["first", "second", "third"]), (True, ["first"])])
def test_a_failure(path: Path, monkeypatch: pytest.MonkeyPatch, stop: bool, names: list[str]) -> None:
    builds = Builds("first")
    monkeypatch.setattr(images, "make_artefacts", builds)
    with pytest.raises(SomeFailed, match="1 of 3 images could not be built") as caught:
        images.build_images([path], {}, Report(), stop_on_failure=stop)
    assert builds.names == names
    assert "first: no engine for first" in caught.value.hint


def test_one_image_fails_with_its_own_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("[{imagename: only, elements: [debian]}]")
    monkeypatch.setattr(images, "make_artefacts", Builds("only"))
    with pytest.raises(EngineError):
        images.build_images([path], {}, Report(), stop_on_failure=False)


def test_nothing_is_built_if_one_image_has_no_counterpart(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(f"{IMAGES}- {{imagename: fourth, elements: [debian], root-label: x}}\n")
    builds = Builds()
    monkeypatch.setattr(images, "make_artefacts", builds)
    with pytest.raises(ProjectError, match="root-label"):
        images.build_images([path], {}, Report(), stop_on_failure=False)
    assert builds.names == []


def test_a_dry_run(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = path.parent / "more.yaml"
    second.write_text("[{imagename: first, elements: [devuser], types: [raw]}]")
    assert main.diskimage_builder(["--dry-run", str(path), str(second)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "disk-image-create -o first -t raw debian vm devuser",
        "A=b disk-image-create -o second debian vm",
        "ramdisk-image-create -o third debian vm",
    ]
    assert main.diskimage_builder(["--dry-run", "--json", str(path)]) == 2


def test_what_is_said_of_an_image_goes_to_its_log_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(
        "[{imagename: a, elements: [debian], logfile: a.log}, {imagename: b, elements: [debian]}]"
    )

    def make(build: ImageBuild, report: Report) -> tuple[Path, ...]:
        with report.task(f"task of {build.image.name}"):
            report.line(f"line of {build.image.name}")
        report.warn(f"warning of {build.image.name}")
        raise EngineError(f"no engine for {build.image.name}")

    monkeypatch.setattr(images, "make_artefacts", make)
    with pytest.raises(SomeFailed):
        images.build_images([path], {}, Report(), stop_on_failure=False)
    log, shown = (path.parent / "a.log").read_text(), capsys.readouterr().err
    for words in ("task of a", "line of a", "warning of a", "no engine for a"):
        assert words in log
    assert " of b" not in log
    assert "task of b" in shown and "warning of a" in shown
    assert "task of a" not in shown
    with pytest.raises(SomeFailed):
        images.build_images([path], {"DIB_QUIET": "0"}, Report(), stop_on_failure=False)
    assert "task of a" in capsys.readouterr().err


def test_an_image_that_is_built_with_a_clear_environment_sees_no_variable_of_the_user(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("[{imagename: a, elements: [debian], clear: true}, {imagename: b, elements: [debian]}]")
    seen = {}

    def make(build: ImageBuild, report: Report) -> tuple[Path, ...]:
        seen[build.image.name] = sorted(build.settings.environment)
        return ()

    monkeypatch.setattr(images, "make_artefacts", make)
    variables = {"DIB_COLOUR": "red", "DIBO_EPOCH": "2026-11", "IMAGE_SIZE": "3"}
    images.build_images([path], variables, Report(), stop_on_failure=False)
    assert seen == {"a": ["DIBO_EPOCH", "IMAGE_SIZE"], "b": ["DIBO_EPOCH", "DIB_COLOUR", "IMAGE_SIZE"]}
