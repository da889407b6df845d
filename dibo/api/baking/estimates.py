"""How long a task will take: as long as the same step of the same flavour took last, whatever has changed in it; the
artefacts and tests of an image as long as those of its name."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from dibo.bake.graph import ArtefactTask, Estimate, TestTask, work_name
from dibo.bake.report import TaskResult
from dibo.bake.schedule import TaskState
from dibo.build import ingredients_store
from dibo.build.step_times import LayerTime, StepTimes

_MOST: Final = 500
"""Layers that are looked at, the newest: reading what they are made of takes time."""


def name_of_artefacts(image: str, types: Sequence[str]) -> str:
    """By which the time that artefacts took is remembered."""
    return f"image {image} {','.join(types)}"


def name_of_test(image: str, test: str) -> str:
    """By which the time that a test took is remembered."""
    return f"test {image} {test}"


def remember(directory: Path, results: Iterable[TaskResult]) -> None:
    """Note how long artefacts and tests took that were made."""
    times = StepTimes(directory)
    for result in results:
        if result.state is not TaskState.DONE or not result.seconds:
            continue
        work = result.task.work
        match work:
            case ArtefactTask():
                name = name_of_artefacts(work.image, work.types)
            case TestTask():
                name = name_of_test(work.image, work.name)
            case _:
                continue  # of layers it is noted where they are built
        times.save(_key(name), LayerTime(seconds=round(result.seconds, 3)))


def estimates(directory: Path) -> Estimate:
    """From what is noted with this cache directory."""
    known: dict[str, float] = {}
    with contextlib.suppress(OSError):
        files = sorted(directory.glob("*.time"), key=lambda path: path.stat().st_mtime)[-_MOST:]
        known = _known(directory, [path.stem for path in files])
    times = StepTimes(directory)

    def estimate(name: str) -> float | None:
        if name not in known and (took := times.load(_key(name))) is not None:
            known[name] = took.seconds
        return known.get(name)

    return estimate


def _key(name: str) -> str:
    """What stands for work in the place of the key of a layer; `dibo clean` removes both."""
    return hashlib.sha256(name.encode()).hexdigest()


def _known(directory: Path, keys: list[str]) -> dict[str, float]:
    """Seconds by the name of the work; what was built last counts."""
    times = StepTimes(directory)
    documents = ingredients_store.load(directory, set(keys))
    known: dict[str, float] = {}
    for key in keys:
        took = times.load(key)
        if took is not None and key in documents:
            known[work_name(documents[key])] = took.seconds
    return known
