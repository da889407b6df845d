"""How long artefacts and tests took is remembered by their names."""

from __future__ import annotations

from pathlib import Path

from dibo.api.baking.estimates import estimates, name_of_artefacts, name_of_test, remember
from dibo.bake.graph import ArtefactTask, BakeTask, TestTask
from dibo.bake.report import TaskResult
from dibo.bake.schedule import TaskState


def result(work: ArtefactTask | TestTask, seconds: float, state: TaskState = TaskState.DONE) -> TaskResult:
    task = BakeTask(id=repr(work), needs=(), work=work, seconds=0.0, memory=0)
    return TaskResult(task=task, state=state, seconds=seconds, layers={})


def artefacts(image: str) -> ArtefactTask:
    return ArtefactTask(
        image=image, types=("raw", "qcow2"), root=None, architecture="amd64", destination=f"out/{image}"
    )


def test_what_was_made_is_remembered(tmp_path: Path) -> None:
    test = TestTask(image="web", name="boot", architecture="amd64", memory=0)
    remember(tmp_path, [result(artefacts("web"), 12.3456), result(test, 98.0)])
    estimate = estimates(tmp_path)
    assert estimate(name_of_artefacts("web", ("raw", "qcow2"))) == 12.346
    assert estimate(name_of_test("web", "boot")) == 98.0
    assert estimate(name_of_artefacts("web", ("raw",))) is None
    assert estimate(name_of_test("db", "boot")) is None


def test_what_failed_or_was_left_alone_says_nothing(tmp_path: Path) -> None:
    remember(tmp_path, [result(artefacts("web"), 3.0)])
    remember(tmp_path, [result(artefacts("web"), 1.0, TaskState.FAILED), result(artefacts("web"), 0.0)])
    assert estimates(tmp_path)(name_of_artefacts("web", ("raw", "qcow2"))) == 3.0


def test_without_a_directory_nothing_is_known(tmp_path: Path) -> None:
    remember(tmp_path / "missing", [result(artefacts("web"), 3.0)])
    assert estimates(tmp_path / "missing")("image web raw") is None
