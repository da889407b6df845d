"""What a reader sees at once."""

from __future__ import annotations

from dataclasses import replace

from dibo.reports.model import BuildSummary, ReportedImage, SizeNode
from dibo.reports.overview import largest_directories, overview
from tests.support.report_samples import layer, record, report_on


def tiles(report: ReportedImage) -> dict[str, str]:
    """The values by their names."""
    parts = overview(report).html.split("<dt>")[1:]
    return {part.partition("<")[0]: part.partition('">')[2].partition("<")[0] for part in parts}


def built(*origins: str, saved: float, unknown: int) -> ReportedImage:
    report = report_on(
        {b"a": record(2048, layer=0)},
        form="image",
        layers=tuple(layer(f"step {place}") for place in range(len(origins))),
    )
    layers = tuple(replace(item, origin=origin) for item, origin in zip(report.layers, origins, strict=True))
    build = BuildSummary(seconds=75.0, saved=saved, unknown=unknown, steps=(), ended=0)
    return replace(report, layers=layers, build=build)


def test_sizes_and_counts() -> None:
    shown = tiles(report_on({b"usr/a": record(1 << 20), b"usr/su": record(3, mode=0o4755)}))
    assert shown == {"Size": "1 MiB", "Privileged files": "1"}


def test_what_the_cache_saved() -> None:
    shown = tiles(built("cached", "built", saved=130.0, unknown=0))
    assert (shown["Last build"], shown["Cache saved"]) == ("1 min 15 s", "2 min 10 s")
    assert tiles(built("cached", "built", saved=0.0, unknown=1))["Cache saved"] == "unknown"
    assert "Cache saved" not in tiles(built("built", "built", saved=0.0, unknown=0))


def test_the_largest_directories_are_not_within_each_other() -> None:
    def node(name: str, size: int, *parts: SizeNode) -> SizeNode:
        return SizeNode(name=name, size=size, files=1, parts=parts)

    leaf = node("file", 1)
    deep = node("modules", 60, node("6.1", 60, node("kernel", 60, leaf)))
    root = node(
        "all", 100, node("usr", 90, node("lib", 80, deep, node("python", 15, leaf))), node("boot", 10, leaf)
    )
    assert largest_directories(root) == [("/usr/lib/modules", 60), ("/usr/lib/python", 15), ("/boot", 10)]
