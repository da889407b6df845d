"""What a bake reports: of each image, for people, and as JUnit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dibo.bake.graph import ArtefactTask, Graph, LayerState, LayerTask, TestTask, tasks_of
from dibo.bake.junit import junit
from dibo.bake.report import BakeReport, TaskResult, make_report, table
from dibo.bake.schedule import TaskState
from dibo.errors import DiboError, FlavourError, HookFailed, MachineTimeout
from dibo.system.task import BUILT, CACHED, LayerOutcome

HOOK = HookFailed("the hook 20-own failed\x1b[31m", hint="| it is broken\n| <very>")


def layer(key: str, parent: str | None, *images: str, state: LayerState = LayerState.MISSING) -> LayerTask:
    return LayerTask(
        key=key,
        parent=parent,
        title=f"title of {key}",
        images=images,
        builder=images[-1],
        architecture="amd64",
        state=state,
    )


def artefact(image: str, root: str) -> ArtefactTask:
    return ArtefactTask(
        image=image, types=("raw",), root=root, architecture="amd64", destination=f"out/{image}"
    )


GRAPH = Graph(
    layers=(
        layer("base", None, "a", "b", "c", state=LayerState.HERE),
        layer("shared", "base", "a", "b", "c"),
        layer("own-a", "shared", "a"),
        layer("own-b", "shared", "b", "c"),
    ),
    artefacts=(artefact("a", "own-a"), artefact("b", "own-b"), artefact("c", "own-b")),
    tests=(TestTask(image="a", name="boots", architecture="amd64", memory=0),),
)


def results(failures: dict[str, DiboError]) -> list[TaskResult]:
    """Every task is done, but for those that fail and those that need them."""
    found: dict[str, TaskResult] = {}
    for task in tasks_of(GRAPH):
        cause = next((need for need in task.needs if found[need].state is not TaskState.DONE), "")
        error = None if cause else failures.get(task.id)
        state = TaskState.CANCELLED if cause else TaskState.FAILED if error else TaskState.DONE
        keys = () if state is not TaskState.DONE else getattr(task.work, "keys", ())
        root = getattr(task.work, "root", None)
        layers: dict[str, tuple[LayerOutcome, float | None]] = {
            key: (LayerOutcome(key=key, title="", origin=BUILT), 1.5) for key in keys
        }
        if root and state is TaskState.DONE:
            layers[root] = LayerOutcome(key=root, title="", origin=CACHED), None
        found[task.id] = TaskResult(
            task=task,
            state=state,
            seconds=2.0 if state is TaskState.DONE else 0.0,
            layers=layers,
            artefacts=(Path(f"out/{task.images[0]}.raw"),)
            if task.id.startswith("image:") and state is TaskState.DONE
            else (),
            error=error,
            because=cause,
        )
    return list(found.values())


def report(
    failures: dict[str, DiboError] | None = None, errors: dict[str, DiboError] | None = None
) -> BakeReport:
    return make_report(GRAPH, results(failures or {}), errors or {}, seconds=9.0, jobs=2)


def test_all_is_well() -> None:
    made = report()
    assert [image.state for image in made.images] == [TaskState.DONE] * 3
    assert made.failed == ()
    assert made.failures == ()
    lines = table(made, {Path("out/a.raw"): 5 << 20}, columns=None).splitlines()
    assert lines[0].split() == ["image", "layers", "artefacts", "tests", "seconds"]
    assert "2 built, 1 of them shared" in lines[1]
    assert "a.raw 5 MiB" in lines[1]
    assert "1 of 1 passed" in lines[1]
    assert lines[-1].startswith("3 images: 3 done; 3 layers built (4")


def test_a_layer_fails_once_for_all_that_have_it() -> None:
    made = report({"own-b": HOOK})
    assert [(image.name, image.state.value, image.failed) for image in made.images] == [
        ("a", "done", ""),
        ("b", "failed", "title of own-b"),
        ("c", "failed", "title of own-b"),
    ]
    assert made.failures == (("b, c: title of own-b", HOOK),)
    assert [reported.origin for reported in made.layers] == ["cached", "built", "built", ""]


def test_a_test_that_fails_leaves_the_artefacts() -> None:
    error = MachineTimeout("it did not boot")
    made = report({"test:a:boots": error})
    image = made.images[0]
    assert (image.state, image.failed, image.artefacts) == (
        TaskState.FAILED,
        "test boots",
        (Path("out/a.raw"),),
    )
    assert made.failure == "failed their tests"
    line = table(made, {Path("out/a.raw"): 5 << 20}, columns=None).splitlines()[1]
    assert "a.raw 5 MiB" in line
    assert "0 of 1 passed; failed: boots" in line
    assert made.failures == (("a: test boots", error),)
    both = report({"test:a:boots": error, "own-b": HOOK})
    assert both.failure == "could not be made, or failed their tests"
    assert report({"own-b": HOOK}).failure == "could not be made"


def test_an_image_that_cannot_be_planned() -> None:
    made = report(errors={"d": FlavourError("it is malformed")})
    assert made.failures[0][0] == "d: planning"
    assert made.images[-1].state is TaskState.FAILED


@pytest.mark.parametrize("columns", [40, 80])
def test_the_table_fits(columns: int) -> None:
    assert all(len(line) < columns for line in table(report(), {}, columns=columns).splitlines())


@pytest.mark.parametrize("columns", [5, 20, 45])
def test_a_narrow_table_cuts_no_name(columns: int) -> None:
    made = report({"test:a:boots": MachineTimeout("it did not boot")})
    name = "a-long-name-of-an-image-for-arm64"
    made = replace(made, images=(replace(made.images[0], name=name), *made.images[1:]))
    text = table(made, {Path("out/a.raw"): 5 << 20}, columns=columns)
    assert "…" not in text
    assert text.splitlines()[0] == name
    assert "artefacts: a.raw 5 MiB" in " ".join(text.split())
    assert "tests: 0 of 1 passed; failed: boots" in " ".join(text.split())
    short = max(columns, 1 + max(map(len, text.split())) + 4)
    assert all(len(line) < short for line in text.splitlines())


def cases(made: BakeReport) -> dict[str, str]:
    """What each case of the JUnit report says."""
    root = ElementTree.fromstring(junit(made))
    for counted, element in (("tests", "testcase"), ("failures", "testcase/failure")):
        for suite in root:
            assert int(suite.get(counted, "")) == len(suite.findall(element))
        assert int(root.get(counted, "")) == sum(len(suite.findall(element)) for suite in root)
    return {
        f"{case.get('classname')}: {case.get('name')}": next(
            (child.tag for child in case if child.tag in ("failure", "skipped")), "passed"
        )
        for case in root.iter("testcase")
    }


def test_junit_counts_a_failure_once() -> None:
    assert cases(report({"own-b": HOOK})) == {
        "layers: title of base": "passed",
        "layers: title of shared": "passed",
        "layers: title of own-a": "passed",
        "layers: title of own-b": "failure",
        "a: artefacts": "passed",
        "a: test boots": "passed",
        "b: artefacts": "skipped",
        "c: artefacts": "skipped",
    }


def test_junit_skips_what_a_failed_artefact_was_for() -> None:
    made = cases(report({"image:a": DiboError("full")}))
    assert (made["a: artefacts"], made["a: test boots"]) == ("failure", "skipped")


def test_junit_says_why_and_has_no_controls() -> None:
    text = junit(report({"own-b": HOOK}, {"d": FlavourError("malformed")}))
    assert "\x1b" not in text
    failures = list(ElementTree.fromstring(text).iter("failure"))
    assert [failure.get("type") for failure in failures] == ["HookFailed", "FlavourError"]
    assert "| <very>" in (failures[0].text or "")
