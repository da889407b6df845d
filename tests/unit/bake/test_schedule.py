"""The schedule: in any graph, with any bounds, whatever fails."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.bake.graph import ArtefactTask, BakeTask
from dibo.bake.schedule import Schedule, TaskState

MIB = 1 << 20


def task(name: str, *needs: str, seconds: float = 1.0, memory: int = 0) -> BakeTask:
    work = ArtefactTask(image=name, types=("raw",), root=None, architecture="amd64", destination=name)
    return BakeTask(id=name, needs=needs, work=work, seconds=seconds, memory=memory)


@st.composite
def graphs(draw: st.DrawFn) -> list[BakeTask]:
    """Up to 20 tasks; each may need some of those before it."""
    tasks: list[BakeTask] = []
    for number in range(draw(st.integers(1, 20))):
        before = [known.id for known in tasks]
        needs = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
        seconds = draw(st.floats(0, 100))
        tasks.append(task(f"t{number}", *needs, seconds=seconds, memory=draw(st.integers(0, 9)) * MIB))
    return tasks


def above(tasks: Sequence[BakeTask], failed: set[str]) -> set[str]:
    """All that need one of `failed`, directly or not."""
    found: set[str] = set()
    for each in tasks:
        if set(each.needs) & (failed | found):
            found.add(each.id)
    return found


@given(
    tasks=graphs(),
    slots=st.integers(1, 4),
    memory=st.none() | st.integers(1, 12),
    doomed=st.sets(st.integers(0, 19), max_size=4),
    choice=st.randoms(use_true_random=False),
)
def test_every_graph_is_worked_off(tasks, slots, memory, doomed, choice) -> None:  # type: ignore[no-untyped-def]
    schedule = Schedule(tasks, slots=slots, memory=None if memory is None else memory * MIB)
    needs = {each.id: each.needs for each in tasks}
    failing = {f"t{number}" for number in doomed}
    began: list[str] = []
    failed: set[str] = set()
    cancelled: set[str] = set()
    while not schedule.finished:
        while (chosen := schedule.next()) is not None:
            assert all(schedule.state(need) is TaskState.DONE for need in needs[chosen.id])
            schedule.start(chosen.id)
            began.append(chosen.id)
            assert len(schedule.running) <= slots
            taken = sum(each.memory for each in schedule.running)
            assert memory is None or len(schedule.running) == 1 or taken <= memory * MIB
        assert schedule.running, "nothing runs, and something waits"
        ended = choice.choice(schedule.running)
        if ended.id in failing:
            failed.add(ended.id)
            more = {each.id for each in schedule.failed(ended.id)}
            assert not more & cancelled
            cancelled |= more
        else:
            schedule.done(ended.id)
    assert len(began) == len(set(began))
    assert cancelled == above(tasks, failed)
    assert set(began) | cancelled == set(needs)
    assert not set(began) & cancelled


@given(tasks=graphs())
def test_the_longest_way_goes_first(tasks: list[BakeTask]) -> None:
    schedule = Schedule(tasks)
    ready = schedule.ready()
    assert [each.id for each in ready] == [
        each.id for each in sorted(ready, key=lambda each: -schedule.seconds_to_end(each.id))
    ]
    longest: dict[str, float] = {}
    for each in tasks:
        longest[each.id] = each.seconds + max((longest[need] for need in each.needs), default=0.0)
    assert schedule.critical_seconds == pytest.approx(max(longest.values()))


def test_a_worker_that_is_lost_gives_its_task_back() -> None:
    schedule = Schedule([task("a"), task("b", "a")])
    schedule.start("a")
    assert schedule.next() is None
    schedule.lost("a")
    assert schedule.next() == task("a")


def test_a_task_that_needs_more_memory_than_there_is_runs_alone() -> None:
    schedule = Schedule([task("big", memory=9 * MIB), task("small", memory=MIB)], slots=2, memory=4 * MIB)
    first = schedule.next()
    assert first is not None
    schedule.start(first.id)
    assert schedule.next() is None
    schedule.done(first.id)
    assert schedule.next() is not None


def test_nothing_starts_after_a_stop_and_what_runs_goes_on() -> None:
    schedule = Schedule([task("a"), task("b"), task("c", "a")])
    schedule.start("a")
    assert [each.id for each in schedule.stop()] == ["b", "c"]
    assert schedule.next() is None
    assert not schedule.finished
    schedule.done("a")
    assert schedule.finished


@pytest.mark.parametrize(
    "tasks", [[task("a"), task("a")], [task("b", "a"), task("a")]], ids=["twice", "wrong order"]
)
def test_a_graph_that_is_none_is_refused(tasks: list[BakeTask]) -> None:
    with pytest.raises(ValueError, match="a"):
        Schedule(tasks)


def test_a_task_starts_once() -> None:
    schedule = Schedule([task("a"), task("b", "a")])
    with pytest.raises(ValueError, match="b cannot start"):
        schedule.start("b")
    schedule.start("a")
    with pytest.raises(ValueError, match="it is running"):
        schedule.start("a")
    schedule.done("a")
    with pytest.raises(ValueError, match="does not run"):
        schedule.done("a")
