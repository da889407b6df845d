"""A report as one HTML page: nothing is fetched, nothing of an image is executed, and it has less than two megabytes.

<meta Content-Security-Policy>   default-src 'none'; the one style and the one script, by their sha256 (CSP Level 3)
sections and tables              whole without a script, for readers, printers and viewers that run none
data blocks                      what the script draws and searches (dibo.reports.payload)
one style, one script            dibo/reports/assets, by hand
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dibo import __version__
from dibo.reports import sections
from dibo.reports.markup import Child, Markup, joined, tag
from dibo.reports.model import ReportedImage, SizeNode
from dibo.reports.overview import header, overview
from dibo.reports.page_tables import bar, percent
from dibo.reports.payload import data_block, file_index, size_views
from dibo.reports.shell import closed_page, navigation
from dibo.reports.visible import visible
from dibo.units import human_size

LIMIT: Final = 2_000_000
"""Bytes of a page."""
_INDEX: Final = 1_300_000
"""Bytes of the index of files."""
_MOST_ROWS: Final = (1200, 400, 120, 40, 10)
"""Of a table: the first number with which the page is small enough."""
_SCRIPTS: Final = ("squarify.js", "text.js", "tables.js", "treemap.js", "files.js", "start.js")
_VIEWS: Final = {"directories": "Directory", "packages": "Package", "flavours": "Flavour", "layers": "Layer"}
_TOP: Final = 12


def report_page(report: ReportedImage) -> bytes:
    """The page, as UTF-8."""
    page = b""
    for most in _MOST_ROWS:
        start = _page(report, most, index="", left_out=0)
        room = min(_INDEX, LIMIT - len(start) - 1000)
        if room < 0:
            continue
        index, left_out = file_index(
            report.files, [layer.title or f"layer {layer.number}" for layer in report.layers], most=room
        )
        page = _page(report, most, index=index, left_out=left_out)
        break
    return page or _page(report, 0, index="", left_out=len(report.files))


def _page(report: ReportedImage, most: int, *, index: str, left_out: int) -> bytes:
    parts = [part for part in _parts(report, most, left_out) if part is not None]
    body = [
        tag("a", "Skip to the report", href="#glance", class_="skip"),
        header(report),
        navigation(joined(parts)),
        tag("main", *parts),
        tag("footer", tag("p", f"Written by dibo {__version__}. Nothing of the image was run.")),
        _data("size-views", data_block(size_views(report.views))),
        _data("file-index", data_block(index)),
    ]
    return closed_page(f"{visible(report.name, most=200)}: image report", body, scripts=_SCRIPTS)


def _parts(report: ReportedImage, most: int, left_out: int) -> Iterator[Markup | None]:
    yield overview(report)
    yield _space(report)
    yield sections.layer_section(report, most)
    yield sections.package_section(report, most)
    yield sections.startup_section(report, most)
    yield sections.port_section(report, most)
    yield sections.privileged_section(report, most)
    yield sections.user_section(report, most)
    yield sections.partition_section(report, most)
    yield _files(left_out)


def _space(report: ReportedImage) -> Markup:
    """Where the space goes: a list for each view, which the script makes a map of."""
    views = report.views
    nodes = {name: getattr(views, name) for name in _VIEWS if getattr(views, name) is not None}
    lists = [_view(name, node) for name, node in nodes.items()]
    chart = tag("div", id="treemap", hidden=True)
    return sections.section(
        "space", "Where the space goes", chart, tag("div", *lists, id="views", class_="views")
    )


def _view(name: str, node: SizeNode) -> Markup:
    largest = node.parts[0].size if node.parts else 0
    rows = [
        tag(
            "tr",
            tag("th", part.name, scope="row"),
            tag("td", human_size(part.size), class_="n"),
            tag("td", percent(part.size, node.size), class_="n"),
            tag("td", bar(part.size / largest if largest else 0)),
        )
        for part in node.parts[:_TOP]
    ]
    headings = [tag("th", title, scope="col") for title in (_VIEWS[name], "Size", "Part", "")]
    return tag(
        "table",
        tag("caption", f"By {_VIEWS[name].lower()}"),
        tag("thead", tag("tr", *headings)),
        tag("tbody", *rows),
        data_view=name,
    )


def _files(left_out: int) -> Markup:
    note: Child = None
    if left_out:
        note = tag(
            "p",
            f"{left_out:,} small files are not listed for themselves, since the page stays below two megabytes: "
            "dibo report --json has all.",
            class_="note",
        )
    without = tag("p", "The browser of files needs a script.", class_="note", id="files-without")
    return sections.section("files", "Files", tag("div", id="file-browser", hidden=True), without, note)


def _data(name: str, block: str) -> Markup:
    return tag("script", Markup(block), type="application/json", id=name)
