"""A graph: layers that images share are in it once, and chains end where something else begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.bake.graph import (
    ArtefactTask,
    BakeTask,
    Chain,
    Graph,
    ImageTasks,
    LayerState,
    TestTask,
    chains_of,
    make_graph,
    tasks_of,
)
from dibo.plan.keys import KeyInputs
from dibo.plan.plan import Plan, make_plan
from tests.support.flavours import read_recipe, write_flavour

ARTEFACTS = ("qcow2", "raw")


@pytest.fixture
def flavours(tmp_path: Path) -> Path:
    write_flavour(tmp_path, "common", ["install.d/10-common", "install.d/12-common"])
    for name in ("a", "b", "c"):
        write_flavour(tmp_path, name, [f"install.d/20-{name}", f"install.d/30-{name}"])
    return tmp_path


def plan_of(flavours: Path, *names: str, held: frozenset[str] = frozenset()) -> Plan:
    return make_plan(
        read_recipe(flavours, *names),
        base_name="base.tar",
        base_ingredients=(("sha256", "0" * 64),),
        inputs=KeyInputs(runner="1" * 64, epoch="2026-11"),
        held=held.__contains__,
    )


def image_of(
    name: str, plan: Plan, *, in_registry: frozenset[str] = frozenset(), tests: tuple[TestTask, ...] = ()
) -> ImageTasks:
    artefact = ArtefactTask(
        image=name, types=ARTEFACTS, root=plan.image_key, architecture="amd64", destination=f"out/{name}"
    )
    return ImageTasks(name=name, plan=plan, artefact=artefact, tests=tests, in_registry=in_registry)


def titles(graph: Graph) -> list[list[str]]:
    return [[layer.title for layer in chain.layers] for chain in chains_of(graph)]


def by_id(graph: Graph) -> dict[str, BakeTask]:
    return {task.id: task for task in tasks_of(graph)}


def test_a_shared_layer_is_there_once_and_says_whose_it_is(flavours: Path) -> None:
    plans = {name: plan_of(flavours, "common", name) for name in "abc"}
    graph = make_graph([image_of(name, plan) for name, plan in plans.items()])
    keys = [layer.key for layer in graph.layers]
    assert len(keys) == len(set(keys)) == len({key for plan in plans.values() for key in plan.keys})
    shared = [layer.title for layer in graph.layers if layer.images == ("a", "b", "c")]
    assert shared == ["base base.tar", "common install.d: 10-common, 12-common"]
    own = graph.layer(plans["b"].keys[2])
    assert (own.images, own.builder, own.parent) == (("b",), "b", plans["b"].keys[1])


def test_parents_come_before_their_children(flavours: Path) -> None:
    images = [image_of("x", plan_of(flavours, "a")), image_of("y", plan_of(flavours, "common", "a"))]
    graph = make_graph(images)
    seen: set[str] = set()
    for layer in graph.layers:
        assert layer.parent is None or layer.parent in seen
        seen.add(layer.key)


def test_layers_of_one_image_are_one_chain(flavours: Path) -> None:
    graph = make_graph([image_of("a", plan_of(flavours, "common", "a"))])
    (chain,) = chains_of(graph)
    assert chain.layers == graph.layers
    assert [task.id for task in tasks_of(graph)] == [graph.layers[-1].key, "image:a"]


def test_a_chain_ends_where_others_branch_off(flavours: Path) -> None:
    plans = {name: plan_of(flavours, "common", name) for name in "ab"}
    graph = make_graph([image_of(name, plan) for name, plan in plans.items()])
    assert titles(graph) == [
        ["base base.tar", "common install.d: 10-common, 12-common"],
        ["a install.d: 20-a, 30-a", "finalise"],
        ["b install.d: 20-b, 30-b", "finalise"],
    ]
    tasks = by_id(graph)
    assert tasks[plans["a"].image_key].needs == (plans["a"].keys[1],)
    assert tasks["image:a"].needs == (plans["a"].image_key,)


def test_a_chain_ends_where_an_artefact_begins(flavours: Path) -> None:
    plan = plan_of(flavours, "common", "a")
    below = ArtefactTask(
        image="below", types=("raw",), root=plan.keys[1], architecture="amd64", destination="below"
    )
    graph = make_graph(
        [image_of("a", plan), ImageTasks(name="below", plan=plan.until(plan.keys[1]), artefact=below)]
    )
    assert [len(chain) for chain in titles(graph)] == [2, 2]
    assert by_id(graph)["image:below"].needs == (plan.keys[1],)


def test_two_images_of_one_root_build_it_once(flavours: Path) -> None:
    plan = plan_of(flavours, "a")
    graph = make_graph([image_of("one", plan), image_of("two", plan)])
    assert len(chains_of(graph)) == 1
    assert {by_id(graph)[f"image:{name}"].needs for name in ("one", "two")} == {(plan.image_key,)}


def test_what_is_held_is_not_made(flavours: Path) -> None:
    key = plan_of(flavours, "common", "a").keys[1]
    plans = {name: plan_of(flavours, "common", name, held=frozenset({key})) for name in "ab"}
    graph = make_graph([image_of(name, plan) for name, plan in plans.items()])
    assert {layer.key: layer.state for layer in graph.layers if layer.state is not LayerState.MISSING} == {
        key: LayerState.HERE
    }
    assert [len(chain) for chain in titles(graph)] == [2, 2]
    assert by_id(graph)[plans["a"].image_key].needs == ()


def test_an_image_that_is_held_whole_needs_no_layer(flavours: Path) -> None:
    key = plan_of(flavours, "a").image_key
    graph = make_graph([image_of("a", plan_of(flavours, "a", held=frozenset({key})))])
    assert [layer.state for layer in graph.layers] == [LayerState.HERE]
    assert [(task.id, task.needs) for task in tasks_of(graph)] == [("image:a", ())]


def test_what_one_image_has_below_another_builds(flavours: Path) -> None:
    """The deepest layer of one is held, and those below it are not: who branches off there builds them."""
    deep = plan_of(flavours, "common", "a").keys[2]
    held = plan_of(flavours, "common", "a", held=frozenset({deep}))
    graph = make_graph([image_of("a", held), image_of("b", plan_of(flavours, "common", "b"))])
    missing = {layer.title for layer in graph.to_build if "b" in layer.images}
    assert missing == {
        "base base.tar",
        "common install.d: 10-common, 12-common",
        "b install.d: 20-b, 30-b",
        "finalise",
    }
    assert graph.layer(deep).state is LayerState.HERE


def test_a_layer_of_a_registry_is_fetched_once_where_several_chains_begin_on_it(flavours: Path) -> None:
    key = plan_of(flavours, "common", "a").keys[1]
    here = frozenset({key})
    plans = {name: plan_of(flavours, "common", name, held=here) for name in "ab"}
    graph = make_graph([image_of(name, plan, in_registry=here) for name, plan in plans.items()])
    assert titles(graph)[0] == ["common install.d: 10-common, 12-common"]
    assert by_id(graph)[plans["b"].image_key].needs == (key,)


def test_a_layer_of_a_registry_that_one_chain_begins_on_is_no_task(flavours: Path) -> None:
    here = frozenset({plan_of(flavours, "common", "a").keys[1]})
    graph = make_graph([image_of("a", plan_of(flavours, "common", "a", held=here), in_registry=here)])
    assert [len(chain) for chain in titles(graph)] == [2]


def test_tests_come_after_the_artefacts(flavours: Path) -> None:
    test = TestTask(image="a", name="boots", architecture="amd64", memory=1 << 30)
    graph = make_graph([image_of("a", plan_of(flavours, "a"), tests=(test,))])
    task = by_id(graph)["test:a:boots"]
    assert task.needs == ("image:a",)
    assert task.memory > test.memory
    assert task.images == ("a",)


def test_an_image_without_layers_is_only_converted() -> None:
    artefact = ArtefactTask(image="x", types=("raw",), root=None, architecture="arm64", destination="x")
    (task,) = tasks_of(make_graph([ImageTasks(name="x", plan=None, artefact=artefact)]))
    assert (task.needs, task.architecture) == ((), "arm64")


def test_times_that_are_known_count(flavours: Path) -> None:
    known = {"amd64 install.d a install.d/20-a install.d/30-a": 100.0}
    graph = make_graph([image_of("a", plan_of(flavours, "a"))], known.get)
    guessed = make_graph([image_of("a", plan_of(flavours, "a"))])
    (chain,) = chains_of(graph)
    assert isinstance(chain, Chain)
    assert [layer.seconds for layer in graph.layers] == [None, 100.0, None]
    assert tasks_of(graph)[0].seconds > tasks_of(guessed)[0].seconds
