"""The JSON schemas of `dibo bake` and its events (dibo.api.json_schema)."""

from __future__ import annotations

from typing import Final

from dibo.api.json_types import (
    Schema,
    count,
    document,
    flag,
    list_of,
    map_of,
    maybe,
    maybe_seconds,
    object_of,
    one_of,
    seconds,
    text,
    texts,
)
from dibo.bake.graph import LayerState
from dibo.bake.schedule import TaskState
from dibo.system.task import BUILT, CACHED, PULLED, SHARED

_KEY: Final = text("key of the layer", pattern="^[0-9a-f]{64}$")
_TITLE: Final = text("what the layer is made by")
_IMAGES: Final = texts("images that need it")
_TASK: Final = text("the task: key of its last layer, image:NAME, or test:NAME:TEST")
_KIND: Final = one_of("what it makes", "layers", "artefacts", "test")
_TASK_TITLE: Final = text("what is done")
_OUTCOME: Final = one_of(
    "done, failed, or cancelled, since something failed",
    *(state.value for state in (TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED)),
)
TASK: Final[dict[str, Schema]] = {
    "task": _TASK,
    "kind": _KIND,
    "title": _TASK_TITLE,
    "images": _IMAGES,
    "needs": texts("tasks that must be done before"),
    "keys": texts("keys of the layers that it builds, the lowest first"),
    "architecture": text("architecture that it is for, Debian's word"),
    "estimate": seconds("seconds that it probably takes"),
}
_PLANNED_LAYER: Final = {
    "key": _KEY,
    "title": _TITLE,
    "parent": maybe("key of the layer below; null for a base"),
    "images": _IMAGES,
    "state": one_of(
        "missing: it is built; here: the engine's store has it; registry: a cache has it",
        *(state.value for state in LayerState),
    ),
    "local": flag("whether it has data of this user or machine"),
}
PLAN: Final = document(
    "bake-plan",
    "`dibo bake --dry-run`",
    layers=list_of("each once, parents before children", _PLANNED_LAYER),
    tasks=list_of("tasks, in an order in which one worker could do them", TASK),
    reasons=map_of(
        "with --changed-since, why images are baked, by name", {"type": "array", "items": {"type": "string"}}
    ),
)

PIPELINE: Final = document(
    "pipeline",
    "`dibo bake --emit`",
    path=text("the file that was written, or with --check is up to date"),
    service=one_of("the service whose pipeline it is", "gitlab", "github"),
)


def bake_document(error: dict[str, Schema], artefact: dict[str, Schema]) -> Schema:
    """That of `dibo bake`; `error` and `artefact` are the properties of these."""

    def maybe_error(description: str) -> Schema:
        return object_of(error) | {"type": ["object", "null"], "description": description}

    test = {
        "name": text("name of the test"),
        "outcome": _OUTCOME,
        "took": seconds("seconds that it took"),
        "error": maybe_error("why it failed, or null"),
    }
    image = {
        "name": text("name of the image"),
        "outcome": _OUTCOME,
        "failed": maybe("what failed: a layer by its title, artefacts, a test, or planning"),
        "layers": texts("keys of its layers, the lowest first, without those below one that was there"),
        "artefacts": list_of("files that were made", artefact),
        "tests": list_of("its tests", test),
        "error": maybe_error("why it failed, or null; that of a layer stands at each image that has it"),
        "took": seconds("seconds that making its artefacts took"),
    }
    layer = {
        "key": _KEY,
        "title": _TITLE,
        "images": _IMAGES,
        "origin": {
            **maybe(
                "where it came from: built, cached, pulled, shared (another build made it); null for nowhere"
            ),
            "enum": [BUILT, CACHED, PULLED, SHARED, None],
        },
        "registry": maybe("repository that it was pulled from"),
        "took": maybe_seconds("seconds that building or pulling it took"),
        "error": maybe_error("why it is missing, or null"),
    }
    return document(
        "bake",
        "`dibo bake`, also if it fails because of some images",
        images=list_of("in the order of the project file", image),
        layers=list_of("each once, parents before children", layer),
        jobs=count("tasks that were done at a time, at most"),
        took=seconds("seconds that all of it took"),
    )


def events(error: dict[str, Schema]) -> tuple[Schema, ...]:
    """What standard error has besides."""

    def event(name: str, description: str, **properties: Schema) -> Schema:
        return document(name, description, seconds=seconds("since the command began"), **properties)

    return (
        event("bake-planned", "`dibo bake` has planned all images", tasks=list_of("tasks to come", TASK)),
        event(
            "task-started",
            "a worker starts a task of a bake",
            task=_TASK,
            kind=_KIND,
            title=_TASK_TITLE,
            worker=text("which worker: a number, or a name"),
        ),
        event(
            "task-ended",
            "a task of a bake has ended",
            task=_TASK,
            outcome=_OUTCOME,
            took=seconds("seconds that it took; 0 if it did not begin"),
            because=maybe("the task whose failure cancelled it"),
            artefacts=texts("files that were made"),
            error=object_of(error) | {"type": ["object", "null"], "description": "why it failed, or null"},
        ),
    )
