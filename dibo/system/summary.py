"""What a build made, where its layers came from, and how long it took: a table for people, values for programs."""

from __future__ import annotations

import re
from typing import Any, Final

from dibo.system.report import History
from dibo.system.task import BUILT, CACHED, DONE, PULLED, SHARED, LayerOutcome, Task
from dibo.system.terminal import cells, fitted, one_line
from dibo.units import counted, human_time

_ORIGINS: Final = {CACHED: "cached", BUILT: "built", SHARED: "from another build"}
_GAP: Final = "  "
_LONG_DIGEST: Final = re.compile("(sha256:[0-9a-f]{12})[0-9a-f]{52}")
_LEAST: Final = 16
"""Columns of titles and results without which there are only titles."""


def summary_fields(history: History) -> dict[str, Any]:
    """Of a document: layers, steps, and the seconds of all."""
    return {
        "layers": [
            {
                "key": layer.key,
                "title": layer.title,
                "origin": layer.origin,
                "registry": layer.registry or None,
                "took": _took(layer, history),
            }
            for layer in history.layers.values()
        ],
        "steps": [
            {
                "step": task.number,
                "within": task.within,
                "title": task.title,
                "outcome": task.outcome,
                "took": round(task.seconds, 3),
                "note": task.remark,
            }
            for task in history.tasks
        ],
        "took": round(history.seconds, 3),
    }


def summary_text(history: History, *, columns: int | None) -> str:
    """A table of at most `columns`, if that is a number; empty where nothing took any time."""
    if not history.layers and not history.tasks:
        return ""
    rows = [*_layer_rows(history), *_step_rows(history)]
    rows.append(("total", _counts(history), human_time(history.seconds)))
    name = _LONG_DIGEST.sub(r"\1", one_line(history.image))
    if not name:
        return "\n".join(_table(rows, columns))
    image, *lines = _table([("image", name, ""), *rows], columns)
    if name not in image:  # cut: it says which image it is, so it is whole on a line of its own
        return "\n".join([f"image{_GAP}{name}", *_table(rows, columns)])
    return "\n".join([image, *lines])


def _layer_rows(history: History) -> list[tuple[str, str, str]]:
    rows = []
    for layer in history.layers.values():
        took = _took(layer, history)
        origin = f"from {layer.registry}" if layer.origin == PULLED else _ORIGINS[layer.origin]
        rows.append((one_line(layer.title), one_line(origin), "" if took is None else human_time(took)))
    return rows


def _step_rows(history: History) -> list[tuple[str, str, str]]:
    """The other steps; parts of steps, and what only a terminal shows, are left out."""
    of_layers = {layer.task for layer in history.layers.values()}
    return [
        (one_line(task.title), one_line(_result(task)), human_time(task.seconds))
        for task in history.tasks
        if task.within is None and not task.minor and task.number not in of_layers
    ]


def _result(task: Task) -> str:
    return task.remark or task.outcome if task.outcome == DONE else task.outcome


def _counts(history: History) -> str:
    """Such as `8 layers: 5 cached, 3 built`."""
    origins = [layer.origin for layer in history.layers.values()]
    if not origins:
        return ""
    counts = [f"{origins.count(origin)} {origin}" for origin in dict.fromkeys(origins)]
    return f"{counted(len(origins), 'layer')}: {', '.join(counts)}"


def _took(layer: LayerOutcome, history: History) -> float | None:
    return next((round(task.seconds, 3) for task in history.tasks if task.number == layer.task), None)


def _table(rows: list[tuple[str, str, str]], columns: int | None) -> list[str]:
    widths = [max(cells(row[column]) for row in rows) for column in range(3)]
    if columns is not None:
        room = columns - 1 - 2 * len(_GAP) - widths[2]
        widths[1] = min(widths[1], max(room // 2, room - widths[0]))
        widths[0] = min(widths[0], room - widths[1])
        if room < _LEAST:
            return [fitted(title, columns - 1).rstrip() for title, _, _ in rows]
    return [
        _GAP.join((fitted(title, widths[0]), fitted(result, widths[1]), f"{took:>{widths[2]}}")).rstrip()
        for title, result, took in rows
    ]
