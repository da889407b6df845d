"""How long building each layer took, and where the layers of the last build of an image came from.

    ~/.cache/dibo/keys/KEY.time     {"seconds": 12.3, "hooks": [["packages", 11.0], ["10-site", 0.4]]}
    ~/.cache/dibo/keys/KEY.build    the last build here of the image that ends with the layer KEY

Times differ from build to build, so they are in no layer, no config and no key. In a registry they are an annotation of
the manifest of a cache entry (dibo.cache.entry), beside its date, for all of its layers. What the cache saved in a
build is what its layers that were not built once took. A full disk is no reason to fail: `dibo report` then says less.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dibo.plan.plan import Plan
from dibo.system.report import History
from dibo.system.task import BUILT, CACHED, DONE, PULLED, SHARED

_LONGEST: Final = 366 * 86400.0
"""Seconds; what claims more is not believed."""
_ORIGINS: Final = (CACHED, PULLED, BUILT, SHARED)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """How long building a layer took, in seconds, and each of its hooks, in their order."""

    seconds: float
    hooks: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFate:
    """What happened to a layer in a build: `origin` is one of dibo.system.task."""

    key: str
    title: str
    origin: str
    registry: str
    took: float | None
    """Seconds that building or pulling it took; None for others, and for those that came along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """A build of an image: its layers, the lowest first; other steps, such as writing a disk, with their seconds; when
    it ended, in seconds since 1970."""

    layers: tuple[LayerFate, ...]
    steps: tuple[tuple[str, float], ...]
    ended: float


class HookClock:
    """Measures the hooks of one step: each lasts until the next begins."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._marks: list[tuple[str, float]] = []

    def start(self, hook: str) -> None:
        self._marks.append((hook, time.monotonic()))

    def stop(self) -> LayerTime:
        """The step has ended."""
        now = time.monotonic()
        ends = [began for _, began in self._marks[1:]] + [now]
        return LayerTime(
            seconds=round(now - self._began, 3),
            hooks=tuple(
                (hook, round(end - began, 3))
                for (hook, began), end in zip(self._marks, ends, strict=bool(self._marks))
            ),
        )


class StepTimes:
    """The files in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, key: str, took: LayerTime) -> None:
        self._write(f"{key}.time", {"seconds": took.seconds, "hooks": [list(hook) for hook in took.hooks]})

    def load(self, key: str) -> LayerTime | None:
        """None where nothing is known, or nothing that can be believed."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            document = json.loads((self._directory / f"{key}.time").read_bytes())
            hooks = tuple((str(name), _seconds(took)) for name, took in document["hooks"])
            return LayerTime(seconds=_seconds(document["seconds"]), hooks=hooks)
        return None

    def annotation(self, keys: Iterable[str]) -> str:
        """The seconds of these layers, the lowest first, as JSON; null for those that are not known. Empty if none
        is."""
        times = [self.load(key) for key in keys]
        if not any(times):
            return ""
        return json.dumps([None if took is None else took.seconds for took in times], separators=(",", ":"))

    def save_annotation(self, keys: Sequence[str], text: str) -> None:
        """What an entry of a registry says of these layers. What is known here already stays; what is no list of so
        many numbers is ignored."""
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            listed = [None if took is None else _seconds(took) for took in json.loads(text)]
            for key, took in zip(keys, listed, strict=True):
                if took is not None and not (self._directory / f"{key}.time").exists():
                    self.save(key, LayerTime(seconds=took))

    def save_build(self, plan: Plan, history: History, *, since: int) -> None:
        """Keep how an image was just built. Steps of `history` with a number of `since` or less are of something
        else."""
        outcomes = [history.layers[key] for key in plan.keys if key in history.layers]
        took = {task.number: task.seconds for task in history.tasks}
        of_layers = {outcome.task for outcome in history.layers.values()}
        layers = [
            {
                "key": outcome.key,
                "title": outcome.title,
                "origin": outcome.origin,
                "registry": outcome.registry,
                "took": None if outcome.task is None else round(took.get(outcome.task, 0.0), 3),
            }
            for outcome in outcomes
        ]
        steps = [
            [task.title, round(task.seconds, 3)]
            for task in history.tasks
            if task.number > since
            and task.within is None
            and not task.minor
            and task.outcome == DONE
            and task.number not in of_layers
        ]
        document = {"layers": layers, "steps": steps, "ended": round(time.time())}
        self._write(f"{plan.image_key}.build", document)

    def load_build(self, key: str) -> BuildRecord | None:
        """The last build here of the image that ends with the layer `key`; None where nothing is known."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            document = json.loads((self._directory / f"{key}.build").read_bytes())
            return BuildRecord(
                layers=tuple(map(_fate, document["layers"])),
                steps=tuple((str(title), _seconds(took)) for title, took in document["steps"]),
                ended=float(document["ended"]),
            )
        return None

    def _write(self, name: str, document: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            (self._directory / name).write_text(json.dumps(document))


def paths(directory: Path, key: str) -> Iterator[Path]:
    """The files about a layer, for those who remove it."""
    yield from (directory / f"{key}.time", directory / f"{key}.build")


def saved(record: BuildRecord, times: StepTimes) -> tuple[float, int]:
    """Seconds that a build was shorter for the layers that it did not build, less those that pulling took; and how
    many of these layers it is not known of."""
    spared = [layer for layer in record.layers if layer.origin != BUILT]
    known = [took.seconds for layer in spared if (took := times.load(layer.key)) is not None]
    pulling = sum(layer.took or 0.0 for layer in spared)
    return max(0.0, sum(known) - pulling), len(spared) - len(known)


def _fate(document: dict[str, Any]) -> LayerFate:
    took, origin = document["took"], str(document["origin"])
    return LayerFate(
        key=str(document["key"]),
        title=str(document["title"]),
        origin=_one_of(origin, _ORIGINS),
        registry=str(document["registry"]),
        took=None if took is None else _seconds(took),
    )


def _one_of(word: str, words: Collection[str]) -> str:
    if word not in words:
        raise ValueError(word)
    return word


def _seconds(value: object) -> float:
    """Raises ValueError for what is no length of time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    if not math.isfinite(value) or not 0 <= value <= _LONGEST:
        raise ValueError(value)
    return float(value)
