"""How long a fleet takes to bake many images, beside the longest way through their layers: a simulation on recorded
times, by the code that decides for `dibo bake --on dask`, which task starts next and where.

Usage: python bench/fleet.py [--json]. It builds nothing, and takes seconds. `fleet_steps.json` has what steps of real
builds took; `python bench/fleet.py --record DIRECTORY` makes it anew from the events of builds with --json (README.md).

Each image has one of four bases (two releases, two architectures), one of the recorded stacks, and in it a layer of its
own, as long as the packages of `web-server` took; no other image has it and what is above it. Building on a layer that
the worker does not have fetches it first, which takes as long as the whole root of `vm` took; the last layer of a chain
is stored before others start from it. Artefacts are made of layers in the registry, as they come.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dibo.bake.graph import (
    ArtefactTask,
    BakeTask,
    Chain,
    Graph,
    LayerState,
    LayerTask,
    tasks_of,
)
from dibo.bake.placement import FleetPlacement, FleetWorker
from dibo.bake.schedule import Schedule

STEPS = Path(__file__).with_name("fleet_steps.json")
IMAGES = (10, 30, 100, 300, 1000)
WORKERS = (1, 3, 10, 30, 100)
ARCHITECTURES = ("amd64", "arm64")
BASES = tuple((release, architecture) for release in ("bookworm", "trixie") for architecture in ARCHITECTURES)
GIB = 1 << 30
OWN = "web-server install.d: packages"
ABOVE = ("boot-files ", "finalise")
"""The first of these is above the layer that an image has for itself."""
SLOW = 3.0
"""How many times slower the slow workers are, in the second table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Seconds that were measured."""

    stacks: tuple[tuple[tuple[str, float], ...], ...]
    """Titles of layers, the base first, and what each took."""
    artefact: float
    pull: float
    push: float

    @property
    def own(self) -> float:
        """The layer that only one image has."""
        return next(seconds for stack in self.stacks for title, seconds in stack if title.startswith(OWN))


def recorded(path: Path = STEPS) -> Recorded:
    document = json.loads(path.read_text())
    return Recorded(
        stacks=tuple(
            tuple((layer["title"], layer["seconds"]) for layer in stack) for stack in document["stacks"]
        ),
        artefact=document["artefact"],
        pull=document["pull"],
        push=document["push"],
    )


def graph_of(number: int, times: Recorded) -> Graph:
    """The graph of so many images."""
    layers: dict[str, LayerTask] = {}
    members: dict[str, list[str]] = {}
    artefacts = []
    for index in range(number):
        release, architecture = BASES[index % len(BASES)]
        stack = times.stacks[index // len(BASES) % len(times.stacks)]
        name, parent = f"image-{index}", None
        for title, seconds in with_own(stack, f"own-{index}", times.own):
            key = f"{parent or f'{release}-{architecture}'}/{title}"
            members.setdefault(key, []).append(name)
            layers.setdefault(
                key,
                LayerTask(
                    key=key,
                    parent=parent,
                    title=title,
                    images=(),
                    builder=name,
                    architecture=architecture,
                    state=LayerState.MISSING,
                    seconds=seconds,
                ),
            )
            parent = key
        artefacts.append(
            ArtefactTask(
                image=name,
                types=("qcow2",),
                root=parent,
                architecture=architecture,
                destination=name,
                seconds=times.artefact,
            )
        )
    return Graph(layers=tuple(_with_images(layers, members)), artefacts=tuple(artefacts))


def with_own(stack: Sequence[tuple[str, float]], title: str, seconds: float) -> tuple[tuple[str, float], ...]:
    """A stack, with a layer that no other image has."""
    place = next(number for number, (above, _) in enumerate(stack) if above.startswith(ABOVE))
    return (*stack[:place], (title, seconds), *stack[place:])


def _with_images(
    layers: Mapping[str, LayerTask], members: Mapping[str, Sequence[str]]
) -> Iterator[LayerTask]:
    for key, layer in layers.items():
        yield replace(layer, images=tuple(members[key]))


def simulate(tasks: Sequence[BakeTask], times: Recorded, speeds: Sequence[float]) -> tuple[float, int]:
    """How many seconds a fleet takes whose workers are so many times slower than the recorded one, and how many layers
    are fetched meanwhile."""
    schedule = Schedule(tasks)
    fleet = FleetPlacement(
        FleetWorker(name=f"worker-{number}", architectures=frozenset(ARCHITECTURES), memory=4 * GIB)
        for number in range(len(speeds))
    )
    speed_of = {worker.name: speed for worker, speed in zip(fleet.workers, speeds, strict=True)}
    held: dict[str, set[str]] = {worker.name: set() for worker in fleet.workers}
    running: list[tuple[float, str, str, float]] = []
    by_id = {task.id: task for task in tasks}
    now, pulls = 0.0, 0
    while not schedule.finished:
        while (
            len(running) < len(speeds)
            and (chosen := fleet.choose(schedule.ready(), schedule.seconds_to_end)) is not None
        ):
            task, worker = chosen
            schedule.start(task.id)
            fleet.start(task, worker)
            is_pulled = isinstance(task.work, Chain) and bool(set(task.needs) - held[worker])
            pulls += is_pulled
            seconds = task.seconds * speed_of[worker] + (times.pull if is_pulled else 0.0)
            if isinstance(task.work, Chain):
                seconds += times.push
            heapq.heappush(running, (now + seconds, task.id, worker, seconds))
        now, name, worker, seconds = heapq.heappop(running)
        schedule.done(name)
        fleet.end(by_id[name], worker, seconds=seconds)
        held[worker] |= {name, *by_id[name].needs}
    return now, pulls


def rows(times: Recorded, *, slow: bool) -> Iterator[dict[str, Any]]:
    """Of each number of images and workers: the makespan, and what no scheduler could be faster than."""
    for number in IMAGES:
        tasks = tasks_of(graph_of(number, times))
        critical = Schedule(tasks).critical_seconds
        work = sum(task.seconds for task in tasks)
        for workers in WORKERS:
            speeds = [SLOW if slow and place % 4 == 3 else 1.0 for place in range(workers)]
            seconds, pulls = simulate(tasks, times, speeds)
            bound = max(critical, work / sum(1 / speed for speed in speeds))
            yield {
                "images": number,
                "workers": workers,
                "tasks": len(tasks),
                "makespan": round(seconds),
                "critical path": round(critical),
                "of critical path": round(seconds / critical, 2),
                "of bound": round(seconds / bound, 2),
                "fetched": pulls,
            }


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """A table: the makespan over the critical path, and, in brackets, over the larger of that and the work shared."""
    lines = ["| images | critical path |" + "".join(f" {workers} |" for workers in WORKERS)]
    lines.append("|---|---|" + "---|" * len(WORKERS))
    for number in IMAGES:
        several = [entry for entry in entries if entry["images"] == number]
        cells = "".join(f" {entry['of critical path']:g} ({entry['of bound']:g}) |" for entry in several)
        lines.append(f"| {number} | {several[0]['critical path']} s |{cells}")
    return "\n".join(lines)


def record(directory: Path) -> None:
    """Write the file of recorded times from the events of builds, NAME.events, and of one that only fetched and one
    that stored its layers, pull.events and push.events."""
    stacks = []
    artefacts = []
    for path in sorted(directory.glob("*.events")):
        if path.stem in ("pull", "push"):
            continue
        ended = [event for event in _events(path) if event["document"] == "step-ended"]
        times = {event["step"]: event["took"] for event in ended}
        layers = [event for event in _events(path) if event["document"] == "layer"]
        stacks.append(
            [{"title": layer["title"], "seconds": times.get(layer["step"], 0.0)} for layer in layers]
        )
        steps = {layer["step"] for layer in layers}
        artefacts.append(sum(event["took"] for event in ended if event["step"] not in steps))
    document = {"stacks": _complete(stacks), "artefact": sorted(artefacts)[len(artefacts) // 2]}
    document["pull"] = _seconds_of(directory / "pull.events", " from ")
    stored = sum(event["document"] == "layer" for event in _events(directory / "push.events"))
    document["push"] = round(_seconds_of(directory / "push.events", "storing layers") / stored, 1)
    STEPS.write_text(json.dumps(document, indent=1) + "\n")


def _seconds_of(path: Path, words: str) -> float:
    """Seconds of the steps with these words in their titles."""
    ended = [event for event in _events(path) if event["document"] == "step-ended"]
    return round(sum(float(event["took"]) for event in ended if words in event["title"]), 1)


def _complete(stacks: Sequence[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """With the times of layers that an earlier build made; of several, the shortest: it was disturbed least."""
    known: dict[str, float] = {}
    for layer in (layer for stack in stacks for layer in stack):
        if layer["seconds"]:
            known[layer["title"]] = min(known.get(layer["title"], layer["seconds"]), layer["seconds"])
    return [
        [{"title": layer["title"], "seconds": round(known[layer["title"]], 1)} for layer in stack]
        for stack in stacks
    ]


def _events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def main() -> None:
    parser = argparse.ArgumentParser(description="simulate bakes on many workers")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--record", metavar="DIRECTORY", type=Path, help="make fleet_steps.json from events")
    arguments = parser.parse_args()
    if arguments.record is not None:
        record(arguments.record)
        return
    times = recorded()
    tables = {"equal": list(rows(times, slow=False)), "one in four is slow": list(rows(times, slow=True))}
    if arguments.json:
        print(json.dumps(tables, indent=1))
        return
    for title, entries in tables.items():
        print(f"workers: {title}\n\n{table(entries)}\n")


if __name__ == "__main__":
    main()
