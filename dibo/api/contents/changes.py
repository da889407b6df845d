"""A comparison as the values of its JSON document (dibo.api.contents.schema)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from dibo.api.contents.fields import (
    Fields,
    file_fields,
    group_fields,
    image_fields,
    kernel_fields,
    layer_fields,
    package_fields,
    partition_fields,
    unit_fields,
    user_fields,
)
from dibo.contents.comparison import Comparison, FileChange, Pair
from dibo.contents.inventory import shown

T = TypeVar("T")


def comparison_fields(comparison: Comparison) -> Fields:
    layers = comparison.layers
    return {
        "before": image_fields(comparison.before),
        "after": image_fields(comparison.after),
        "same": not comparison.differs,
        "sections": list(comparison.sections),
        "system": _pairs(comparison.system, str),
        "packages": _pairs(comparison.packages, package_fields),
        "files": [_file(change) for change in comparison.files],
        "units": _pairs(comparison.units, unit_fields),
        "users": _pairs(comparison.users, user_fields),
        "groups": _pairs(comparison.groups, group_fields),
        "kernels": _pairs(comparison.kernels, kernel_fields),
        "config": _pairs(comparison.config, str),
        "partitions": _pairs(comparison.partitions, partition_fields),
        "layers": None
        if layers is None
        else {
            "shared": layers.shared,
            "before": [layer_fields(layer) for layer in layers.before],
            "after": [layer_fields(layer) for layer in layers.after],
        },
        "sizes": [
            {"path": size.path, "before": size.before, "after": size.after} for size in comparison.directories
        ],
        "left_out": dict(comparison.left_out),
        "notes": list(comparison.notes),
    }


def _pairs(pairs: Iterable[Pair[T]], fields: Callable[[T], object]) -> list[Fields]:
    return [
        {
            "name": pair.name,
            "change": pair.change,
            "before": None if pair.before is None else fields(pair.before),
            "after": None if pair.after is None else fields(pair.after),
        }
        for pair in pairs
    ]


def _file(change: FileChange) -> Fields:
    return {
        "path": shown(change.path),
        "change": change.change,
        "aspects": list(change.aspects),
        "of_package": change.of_package,
        "before": None if change.before is None else file_fields(change.before),
        "after": None if change.after is None else file_fields(change.after),
    }
