"""How long layers took, and what the last build of an image was like."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dibo.build import ingredients_store
from dibo.build.step_times import BuildRecord, HookClock, LayerFate, LayerTime, StepTimes, saved
from dibo.plan.plan import Plan
from dibo.system.report import Report
from dibo.system.task import BUILT, CACHED, PULLED, LayerOutcome

BASE, PACKAGES, SITE = (letter * 64 for letter in "abc")
PLAN = cast(Plan, SimpleNamespace(keys=(BASE, PACKAGES, SITE), image_key=SITE))


def fate(key: str, origin: str, took: float | None = None) -> LayerFate:
    return LayerFate(key=key, title=key[0], origin=origin, registry="", took=took)


def test_hooks_last_until_the_next_begins() -> None:
    clock = HookClock()
    clock.start("packages")
    clock.start("10-site")
    took = clock.stop()
    assert [hook for hook, _ in took.hooks] == ["packages", "10-site"]
    assert 0 <= sum(seconds for _, seconds in took.hooks) <= took.seconds + 0.002
    assert HookClock().stop().hooks == ()


def test_times_are_there_again(tmp_path: Path) -> None:
    took = LayerTime(seconds=12.5, hooks=(("packages", 11.0), ("10-site", 0.4)))
    StepTimes(tmp_path).save(BASE, took)
    assert StepTimes(tmp_path).load(BASE) == took
    assert StepTimes(tmp_path).load(SITE) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"seconds": 1}',
        '{"seconds": true, "hooks": []}',
        '{"seconds": -1, "hooks": []}',
        '{"seconds": NaN, "hooks": []}',
        '{"seconds": 1e99, "hooks": []}',
        '{"seconds": 1, "hooks": [["a"]]}',
        '{"seconds": 1, "hooks": [["a", "1"]]}',
    ],
)
def test_a_damaged_file_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / f"{BASE}.time").write_text(text)
    (tmp_path / f"{BASE}.build").write_text(text)
    assert StepTimes(tmp_path).load(BASE) is None
    assert StepTimes(tmp_path).load_build(BASE) is None


def test_an_annotation_carries_times_to_another_machine(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    times = StepTimes(here)
    assert times.annotation(PLAN.keys) == ""
    times.save(BASE, LayerTime(seconds=20.0))
    times.save(SITE, LayerTime(seconds=0.5, hooks=(("10-site", 0.5),)))
    text = times.annotation(PLAN.keys)
    assert text == "[20.0,null,0.5]"
    other = StepTimes(there)
    other.save(SITE, LayerTime(seconds=9.0))
    other.save_annotation(PLAN.keys, text)
    assert [other.load(key) for key in PLAN.keys] == [
        LayerTime(seconds=20.0),
        None,
        LayerTime(seconds=9.0),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        '{"a": 1}',
        "[1,2,-3]",
        "[1,2,Infinity]",
        '[1,2,"3"]',
        "[true,1,1]",
        "[" * 100_000,
    ],
)
def test_what_a_registry_says_is_not_believed_blindly(tmp_path: Path, text: str) -> None:
    StepTimes(tmp_path).save_annotation(PLAN.keys, text)
    assert list(tmp_path.iterdir()) == []


def test_the_last_build_of_an_image(tmp_path: Path) -> None:
    report = Report(quiet=True)
    with report.task("something else"):
        pass
    since = report.history.last
    report.layer(LayerOutcome(key=BASE, title="base debian", origin=CACHED))
    with report.task("[1/2] web install.d: packages") as task, report.task("a part of it"):
        pass
    report.layer(LayerOutcome(key=PACKAGES, title="web install.d: packages", origin=BUILT, task=task.number))
    report.layer(LayerOutcome(key="d" * 64, title="of another image", origin=BUILT))
    with report.task("web.qcow2"):
        pass
    StepTimes(tmp_path).save_build(PLAN, report.history, since=since)
    record = StepTimes(tmp_path).load_build(SITE)
    assert record is not None
    assert [(layer.title, layer.origin) for layer in record.layers] == [
        ("base debian", CACHED),
        ("web install.d: packages", BUILT),
    ]
    assert record.layers[0].took is None
    assert record.layers[1].took is not None
    assert [title for title, _ in record.steps] == ["web.qcow2"]


def test_an_unknown_origin_makes_a_record_unreadable(tmp_path: Path) -> None:
    layer = {"key": SITE, "title": "x", "origin": "stolen", "registry": "", "took": None}
    text = json.dumps({"layers": [layer], "steps": [], "ended": 0})
    (tmp_path / f"{SITE}.build").write_text(text)
    assert StepTimes(tmp_path).load_build(SITE) is None


def test_what_the_cache_saved(tmp_path: Path) -> None:
    times = StepTimes(tmp_path)
    for key, seconds in ((BASE, 20.0), (SITE, 5.0)):
        times.save(key, LayerTime(seconds=seconds))
    layers = (fate(BASE, CACHED), fate(PACKAGES, PULLED, 4.0), fate(SITE, BUILT, 5.0))
    assert saved(BuildRecord(layers=layers, steps=(), ended=0), times) == (16.0, 1)
    pulled = (fate(PACKAGES, PULLED, 4.0),)
    assert saved(BuildRecord(layers=pulled, steps=(), ended=0), times) == (0.0, 1)


def test_a_removed_layer_takes_its_files_along(tmp_path: Path) -> None:
    times = StepTimes(tmp_path)
    times.save(SITE, LayerTime(seconds=1.0))
    times.save_build(PLAN, Report(quiet=True).history, since=0)
    assert len(list(tmp_path.iterdir())) == 2
    ingredients_store.forget(tmp_path, SITE)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_gone_is_no_error(tmp_path: Path) -> None:
    times = StepTimes(tmp_path / "gone")
    times.save(SITE, LayerTime(seconds=1.0))
    times.save_build(PLAN, cast(Any, Report(quiet=True).history), since=0)
    assert times.load(SITE) is None
