"""What is shown of a task of a bake while a worker carries it out."""

from __future__ import annotations

from io import StringIO

from dibo.api.baking.spec import TaskOutcome
from dibo.api.baking.view import TaskView
from dibo.api.workers.forward import ReportText, TaskEnded, TaskMoved, TaskOutput, TaskStarted
from dibo.bake.graph import ArtefactTask, BakeTask, Chain, LayerState, LayerTask
from dibo.errors import HookFailed
from dibo.system.report import Report
from dibo.system.task import DONE, FAILED


def chain_task(*images: str) -> BakeTask:
    layer = LayerTask(
        key="1",
        parent=None,
        title="web install.d: 10-web",
        images=images,
        builder=images[0],
        architecture="amd64",
        state=LayerState.MISSING,
    )
    return BakeTask(id="1", needs=(), work=Chain(layers=(layer,)), seconds=1.0, memory=0)


def image_task() -> BakeTask:
    work = ArtefactTask(
        image="web", types=("raw", "qcow2"), root=None, architecture="amd64", destination="web"
    )
    return BakeTask(id="image:web", needs=(), work=work, seconds=1.0, memory=0)


def shown(task: BakeTask, *messages: object, error: HookFailed | None = None) -> list[str]:
    stream = StringIO()
    with TaskView(task, Report(stream, environment={})) as view:
        for message in messages:
            view.hear(message)  # type: ignore[arg-type]
        view.end(TaskOutcome(id=task.id, seconds=0.0, error=error))
    return [line.partition(" (0")[0] for line in stream.getvalue().splitlines()]


def begun(number: int, title: str, *, within: int | None = None, minor: bool = False) -> TaskStarted:
    return TaskStarted(number=number, title=title, within=within, minor=minor)


def test_each_layer_is_a_row_with_the_images_that_need_it() -> None:
    lines = shown(
        chain_task("web", "db"),
        begun(1, "[2/9] web install.d: 10-web"),
        TaskOutput(number=1, text="web: 10-web", is_hook=True),
        TaskMoved(number=1, done=5, total=9),
        TaskEnded(number=1, outcome=DONE, remark=""),
    )
    assert lines == ["web install.d: 10-web (web, db) …", "web install.d: 10-web (web, db): done"]


def test_many_images_are_counted() -> None:
    assert shown(
        chain_task("a", "b", "c", "d"), begun(1, "base x"), TaskEnded(number=1, outcome=FAILED, remark="")
    ) == [
        "base x (4 images) …",
        "base x (4 images): failed",
    ]


def test_artefacts_of_an_image_are_one_row() -> None:
    lines = shown(
        image_task(),
        begun(1, "root"),
        begun(2, "qcow2", within=1),
        TaskEnded(number=2, outcome=DONE, remark="5 MiB"),
        ReportText(text="it is large", is_warning=True),
    )
    assert lines == ["web: raw, qcow2 …", "dibo: warning: web: it is large", "web: raw, qcow2: done"]


def test_warnings_of_the_plan_are_not_repeated_for_an_image() -> None:
    """Workers look at the layers of a plan again, as the process that planned all images did before them."""
    stream = StringIO()
    report = Report(stream, environment={})
    report.warn("layers of this stack do not count")
    with TaskView(image_task(), report) as view:
        for text in ("layers of this stack do not count", "it is large", "it is large"):
            view.hear(ReportText(text=text, is_warning=True))
    warnings = [line for line in stream.getvalue().splitlines() if "warning" in line]
    assert warnings == [
        "dibo: warning: layers of this stack do not count",
        "dibo: warning: web: it is large",
    ]


def test_what_a_killed_worker_left_open_ends() -> None:
    error = HookFailed("no more")
    assert shown(chain_task("web"), begun(1, "base x"), error=error)[-1] == "base x (web): failed"
    assert shown(image_task(), begun(1, "root"), error=error)[-1] == "web: raw, qcow2: failed"
