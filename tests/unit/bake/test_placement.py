"""Which worker does which task: what it must have, what it has already, and how fast it was."""

from __future__ import annotations

import pytest

from dibo.bake.graph import ArtefactTask, BakeTask, Chain, LayerState, LayerTask, TestTask
from dibo.bake.placement import FleetPlacement, FleetWorker
from dibo.bake.schedule import Schedule

GIB = 1 << 30


def layers(name: str, *needs: str, architecture: str = "amd64", seconds: float = 10.0) -> BakeTask:
    layer = LayerTask(
        key=name,
        parent=needs[0] if needs else None,
        title=name,
        images=("web",),
        builder="web",
        architecture=architecture,
        state=LayerState.MISSING,
    )
    return BakeTask(id=name, needs=needs, work=Chain(layers=(layer,)), seconds=seconds, memory=GIB)


def artefact(name: str, *needs: str) -> BakeTask:
    work = ArtefactTask(image=name, types=("raw",), root=None, architecture="riscv64", destination=name)
    return BakeTask(id=name, needs=needs, work=work, seconds=5.0, memory=GIB)


def boot(name: str, *, memory: int = GIB) -> BakeTask:
    work = TestTask(image=name, name="boots", architecture="amd64", memory=memory)
    return BakeTask(id=name, needs=(), work=work, seconds=5.0, memory=memory)


def worker(
    name: str, *architectures: str, memory: int = 4 * GIB, slots: int = 1, builds: bool = True
) -> FleetWorker:
    return FleetWorker(
        name=name,
        architectures=frozenset(architectures or ("amd64",)),
        memory=memory,
        slots=slots,
        builds=builds,
        boots=builds,
    )


def chosen(
    fleet: FleetPlacement, *tasks: BakeTask, avoid: tuple[tuple[str, str], ...] = ()
) -> tuple[str, str] | None:
    schedule = Schedule(tasks)
    pair = fleet.choose(schedule.ready(), schedule.seconds_to_end, avoid=avoid)
    return None if pair is None else (pair[0].id, pair[1])


def test_a_worker_has_what_a_task_asks_for() -> None:
    fleet = FleetPlacement(
        [worker("small", builds=False), worker("arm", "arm64"), worker("both", "amd64", "arm64")]
    )
    assert chosen(fleet, layers("a")) == ("a", "both")
    assert chosen(fleet, layers("b", architecture="arm64")) == ("b", "arm")
    assert chosen(fleet, artefact("c")) == ("c", "small")
    assert chosen(fleet, boot("d")) == ("d", "arm")
    assert fleet.suitable(layers("e", architecture="s390x")) == ()


def test_a_worker_does_as_much_at_a_time_as_it_has_slots_and_memory_for() -> None:
    fleet = FleetPlacement([worker("one", slots=3, memory=2 * GIB)])
    for name in ("a", "b"):
        fleet.start(layers(name), "one")
    assert chosen(fleet, layers("c")) is None
    fleet.end(layers("a"), "one", seconds=10)
    assert chosen(fleet, layers("c")) == ("c", "one")


def test_what_needs_more_memory_than_any_has_runs_alone() -> None:
    fleet = FleetPlacement([worker("one", slots=2)])
    large = boot("large", memory=9 * GIB)
    assert chosen(fleet, large) == ("large", "one")
    fleet.start(layers("a"), "one")
    assert chosen(fleet, large) is None


def test_a_worker_with_enough_memory_is_waited_for() -> None:
    fleet = FleetPlacement([worker("small"), worker("large", memory=16 * GIB)])
    assert chosen(fleet, boot("a", memory=8 * GIB)) == ("a", "large")
    fleet.start(layers("b"), "large")
    assert chosen(fleet, boot("a", memory=16 * GIB)) is None


def test_layers_are_built_where_the_layer_below_is() -> None:
    fleet = FleetPlacement([worker("one"), worker("two")])
    base = layers("base")
    fleet.start(base, "two")
    fleet.end(base, "two", seconds=10)
    ready = (layers("a", "base"),)
    pair = fleet.choose(ready, lambda _: 10.0)
    assert pair is not None
    assert pair[1] == "two"


def test_a_little_less_urgent_goes_first_where_nothing_is_fetched_for_it_and_much_does_not() -> None:
    fleet = FleetPlacement([worker("one")])
    base = layers("base")
    fleet.start(base, "one")
    fleet.end(base, "one", seconds=10)
    ready = (layers("far", "other"), layers("near", "base"))
    for urgent, first in ((21.0, "near"), (100.0, "far")):
        pair = fleet.choose(ready, {"far": urgent, "near": 20.0}.__getitem__)
        assert pair is not None
        assert pair[0].id == first


def test_of_workers_that_suit_it_is_the_fastest() -> None:
    fleet = FleetPlacement([worker("slow"), worker("fast")])
    for name, seconds in (("slow", 30.0), ("fast", 10.0)):
        task = layers(f"of-{name}")
        fleet.start(task, name)
        fleet.end(task, name, seconds=seconds)
    assert chosen(fleet, layers("a")) == ("a", "fast")


def test_a_worker_that_is_avoided_gets_a_task_only_if_there_is_no_other() -> None:
    fleet = FleetPlacement([worker("one"), worker("two")])
    assert chosen(fleet, layers("a"), avoid=(("a", "one"),)) == ("a", "two")
    fleet.remove("two")
    assert chosen(fleet, layers("a"), avoid=(("a", "one"),)) == ("a", "one")


def test_a_worker_that_goes_says_what_it_did_and_has_nothing_any_more() -> None:
    fleet = FleetPlacement([worker("one"), worker("two")])
    base = layers("base")
    fleet.start(base, "two")
    assert fleet.remove("two") == (base,)
    fleet.end(base, "two", seconds=None)  # its thread says so later
    assert [member.name for member in fleet.workers] == ["one"]
    fleet.add(worker("two"))
    with pytest.raises(ValueError, match="two workers are called two"):
        fleet.add(worker("two"))
    assert chosen(fleet, layers("a", architecture="amd64")) == ("a", "one")
