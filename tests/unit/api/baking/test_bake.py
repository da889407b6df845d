"""A bake of images that exist already, which takes no engine: workers, failures, signals, and what is said of it all.
Builds of layers are in tests/integration/test_bake.py."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dibo.api.baking import bake
from dibo.api.baking.local import BakeLimits, bake_here
from dibo.api.baking.planning import PlannedBake
from dibo.api.json_schema import JSON_SCHEMA
from dibo.bake.report import TaskResult
from dibo.cli.main import dibo
from dibo.errors import OutputError, ProjectError, SomeFailed, UsageError
from dibo.system.report import Report
from tests.support.host.bake_workers import continue_when_sent, worker_of
from tests.support.images.oci_layouts import LayerTar, OciLayout, Tar
from tests.support.schemas import validate
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

NAMES = ("one", "two", "three")


def layer(directory: Path, name: str) -> LayerTar:
    tar = Tar(directory / f"{name}.tar")
    tar.directory("d")
    tar.add("name", name.encode())
    tar.add("d/data", random.Random(name).randbytes(300_000))
    return LayerTar(tar=tar.close())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of three images, in the working directory."""
    made = OciLayout(tmp_path / "images")
    made.write_index({name: made.image([layer(tmp_path, name)]) for name in NAMES})
    write_project(tmp_path, dict.fromkeys(NAMES, ""))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_project(directory: Path, images: dict[str, str]) -> None:
    entries = "".join(
        f"  {name}:\n    convert: {{image: 'oci:{directory}/images:{name}', bare: true}}\n{more}"
        for name, more in images.items()
    )
    (directory / "dibo.yaml").write_text(
        f"defaults: {{types: [raw], size: 0.1, destination: out}}\nimages:\n{entries}"
    )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing is left there, and nothing beside the outputs."""
    monkeypatch.setenv("IMG_PATH", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    assert list((tmp_path / "cache" / "runs").glob("*")) == []
    assert list(tmp_path.rglob("*.part")) == []


def outputs(directory: Path) -> set[str]:
    return {path.name for path in (directory / "out").glob("*.raw")}


def test_all_images_of_the_project(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dibo(["bake", "-j2"]) == 0
    answer = capsys.readouterr()
    assert outputs(project) == {"one.raw", "two.raw", "three.raw"}
    assert [line.split()[0] for line in answer.out.splitlines()] == [
        str(project / "out" / f"{name}.raw") for name in NAMES
    ]
    assert "3 images: 3 done" in answer.err
    assert "one: raw: done" in answer.err


def test_the_images_that_are_named(project: Path) -> None:
    assert dibo(["bake", "two", "-o", "elsewhere"]) == 0
    assert sorted(path.name for path in (project / "elsewhere").glob("*.raw")) == ["two.raw"]
    assert not (project / "out").exists()


def test_one_that_fails_stops_no_other(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_project(project, {**dict.fromkeys(NAMES, ""), "none": ""})
    assert dibo(["bake", "-j1", "--json", "--junit", "bake.xml"]) == SomeFailed.exit_code
    answer = capsys.readouterr()
    document = json.loads(answer.out)
    events = [json.loads(line) for line in answer.err.splitlines()]
    for each in (document, *events):
        validate(each, JSON_SCHEMA)
    assert {image["name"]: image["outcome"] for image in document["images"]} == {
        **dict.fromkeys(NAMES, "done"),
        "none": "failed",
    }
    failed = next(image for image in document["images"] if image["name"] == "none")
    assert (failed["failed"], failed["error"]["kind"], failed["artefacts"]) == ("artefacts", "ImageError", [])
    ended = [event for event in events if event["document"] == "task-ended"]
    assert {event["task"]: event["outcome"] for event in ended}["image:none"] == "failed"
    assert events[-1]["error"]["message"] == "1 of 4 images could not be made"
    suites = {suite.get("name"): suite for suite in ElementTree.parse(project / "bake.xml").getroot()}
    assert [suites[name].get("failures") for name in (*NAMES, "none")] == ["0", "0", "0", "1"]


def test_an_artefact_that_is_removed_before_the_end(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another program, while other images are made. Theirs are reported all the same."""

    def bake_and_remove(planned: PlannedBake, report: Report, limits: BakeLimits) -> tuple[TaskResult, ...]:
        results = bake_here(planned, report, limits)
        (project / "out" / "two.raw").unlink()
        return results

    monkeypatch.setattr(bake, "bake_here", bake_and_remove)
    assert dibo(["bake", "-j1", "--junit", "bake.xml"]) == SomeFailed.exit_code
    answer = capsys.readouterr()
    assert [Path(line.split()[0]).name for line in answer.out.splitlines()] == ["one.raw", "three.raw"]
    assert "3 images: 2 done, 1 failed" in answer.err
    assert f"{project / 'out' / 'two.raw'} was made, and is gone" in answer.err
    suites = {suite.get("name"): suite for suite in ElementTree.parse(project / "bake.xml").getroot()}
    assert [suites[name].get("failures") for name in NAMES] == ["0", "1", "0"]


def test_nothing_begins_after_a_failure_that_stops(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_project(project, {"none": "", **dict.fromkeys(NAMES, "")})
    assert dibo(["bake", "-j1", "--stop-on-failure", "--json"]) == SomeFailed.exit_code
    document = json.loads(capsys.readouterr().out)
    assert [image["outcome"] for image in document["images"]] == [
        "failed",
        *["cancelled"] * 3,
    ]
    assert outputs(project) == set()


def test_a_dry_run_makes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dibo(["bake", "--dry-run"]) == 0
    answer = capsys.readouterr().out
    assert f"two: raw  {project / 'out' / 'two'}" in answer
    assert "3 images, 0 layers to build, 3 tasks" in answer
    assert not (project / "out").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nobody"], ProjectError),
        (["--project", "nowhere.yaml"], ProjectError),
        (["-j", "0"], UsageError),
        (["--keep-going", "--stop-on-failure"], UsageError),
        (["--max-memory", "nan"], UsageError),
        (["--dry-run", "--max-memory", "-1"], UsageError),
        (["--junit", "nowhere/bake.xml"], OutputError),
        (["--junit", "."], OutputError),
        (["--dry-run", "--junit", "dibo.yaml/bake.xml"], OutputError),
        (["--changed-since", "HEAD"], UsageError),  # it is in no repository
    ],
)
def test_what_is_refused(project: Path, words: list[str], error: type[UsageError]) -> None:
    assert dibo(["bake", *words]) == error.exit_code
    assert not (project / "out").exists()


def test_a_project_without_images(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bake in CI that makes nothing of a file that is empty by mistake does not count as passed."""
    (project / "dibo.yaml").write_text("images: {}\n")
    assert dibo(["bake"]) == ProjectError.exit_code
    assert "dibo.yaml has no images" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["bake", "--dry-run"], ["plan"]])
def test_images_that_cannot_be_planned_are_named(
    project: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    entries = ", ".join(f"{name}: {{base: debian, flavours: [no-{name}]}}" for name in NAMES[:2])
    (project / "dibo.yaml").write_text(f"images: {{{entries}}}\n")
    assert dibo(words) == SomeFailed.exit_code
    said = capsys.readouterr().err
    assert "2 of 2 images cannot be planned" in said
    assert "one: there is no flavour 'no-one'" in said and "two: there is no flavour 'no-two'" in said


def test_a_pipeline_of_another_hand_stays(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bake", "--emit", "github", "--emit-to", "images.yml"]
    file = project / "images.yml"
    file.write_text("on: push\n")
    assert dibo(words) == OutputError.exit_code
    assert "images.yml exists, and dibo did not write it" in capsys.readouterr().err
    assert file.read_text() == "on: push\n"
    file.unlink()
    assert dibo([*words, "--dry-run"]) == UsageError.exit_code
    assert not file.exists()
    assert dibo(words) == 0
    assert dibo(words) == 0, "its own it writes again"


def start(project: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dibo", "bake", *words]
    return subprocess.Popen(
        command, cwd=project, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def await_first_task(child: subprocess.Popen[str]) -> None:
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("one: raw"):
            return


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_interrupted(project: Path, signum: int) -> None:
    """Nothing is left, no process either: what it writes to would stay open. The worker stands still until it is
    told to end, or it could be done first."""
    with start(project, "-j1") as child:
        await_first_task(child)
        worker = worker_of(child.pid)
        os.kill(worker, signal.SIGSTOP)
        child.send_signal(signum)
        continue_when_sent(worker, signal.SIGTERM)
        assert child.stderr is not None
        text = child.stderr.read()
        assert "one: raw: interrupted" in text
        assert "failed" not in text
        assert text.endswith("nothing was left behind\n")
        assert child.wait(TIMEOUT) == 128 + signum


def test_a_worker_that_is_killed(project: Path) -> None:
    """Its image fails, the others do not, and what it left is removed."""
    with start(project, "-j1") as child:
        await_first_task(child)
        os.kill(worker_of(child.pid), signal.SIGKILL)
        assert child.stderr is not None
        text = child.stderr.read()
        assert child.wait(TIMEOUT) == SomeFailed.exit_code, text
    assert "1 of 3 images could not be made" in text
    assert "was killed by SIGKILL" in text
    assert outputs(project) == {"two.raw", "three.raw"}
