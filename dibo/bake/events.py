"""What programs hear of a bake while it goes on: the fields of its events, as docs/reference/json.md has them."""

from __future__ import annotations

from typing import Final

from dibo.bake.graph import ArtefactTask, BakeTask, Chain, Graph, tasks_of
from dibo.bake.report import TaskResult

PLANNED: Final = "bake-planned"
STARTED: Final = "task-started"
ENDED: Final = "task-ended"

Fields = dict[str, object]


def kind_of(task: BakeTask) -> str:
    """layers, artefacts or test."""
    if isinstance(task.work, Chain):
        return "layers"
    return "artefacts" if isinstance(task.work, ArtefactTask) else "test"


def title_of(task: BakeTask) -> str:
    """For people, such as `web: qcow2`."""
    work = task.work
    if isinstance(work, Chain):
        more = f" and {len(work.layers) - 1} more" if len(work.layers) > 1 else ""
        return f"{work.layers[0].title}{more}"
    if isinstance(work, ArtefactTask):
        return f"{work.image}: {', '.join(work.types)}"
    return f"{work.image}: test {work.name}"


def task_fields(task: BakeTask) -> Fields:
    """Of a task as a document has it."""
    return {
        "task": task.id,
        "kind": kind_of(task),
        "title": title_of(task),
        "images": list(task.images),
        "needs": list(task.needs),
        "keys": list(task.work.keys) if isinstance(task.work, Chain) else [],
        "architecture": task.architecture,
        "estimate": round(task.seconds, 3),
    }


def planned(graph: Graph) -> Fields:
    return {"tasks": [task_fields(task) for task in tasks_of(graph)]}


def started(task: BakeTask, *, worker: str) -> Fields:
    return {"task": task.id, "kind": kind_of(task), "title": title_of(task), "worker": worker}


def ended(result: TaskResult) -> Fields:
    """Without the error: dibo.api says how errors are written."""
    return {
        "task": result.task.id,
        "outcome": result.state.value,
        "took": round(result.seconds, 3),
        "because": result.because or None,
        "artefacts": [str(path) for path in result.artefacts],
    }
