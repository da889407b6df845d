"""The page: valid, closed to the world, small, and the same for whoever reads it; nothing of an image is markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import pytest

from dibo.contents.read import ReadRequest, open_contents
from dibo.reports.make_report import make_report
from dibo.reports.model import ReportedImage
from dibo.reports.page import LIMIT, report_page
from dibo.reports.visible import visible
from tests.support.images.image_forms import debian_root, layers_of, write_layout
from tests.support.report_samples import HOSTILE, hostile_report, large_report, record, report_on

pytestmark = pytest.mark.slow

ADDRESSES = ("src", "href", "action", "formaction", "data", "poster", "srcset", "background", "xlink:href")


def parsed(page: bytes) -> Element:
    """As a browser parses it; raises for what is no valid HTML."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    tree: Element = parser.parse(page, transport_encoding="utf-8")
    return tree


def text_of(element: Element) -> str:
    return "".join(element.itertext())


def data_of(tree: Element, name: str) -> Any:
    return json.loads(next(text_of(item) for item in tree.iter("script") if item.get("id") == name))


def index_of(tree: Element) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(data_of(tree, "file-index")), -15))


@pytest.fixture(scope="module")
def hostile() -> bytes:
    return report_page(hostile_report())


@pytest.fixture(scope="module")
def large() -> ReportedImage:
    return large_report()


def _check_closed(page: bytes) -> None:
    """Nothing is fetched, and nothing is executed but the one script, with the one style."""
    tree = parsed(page)
    for element in tree.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on"), (element.tag, name)
            assert name != "style"
            if name in ADDRESSES:
                assert value.startswith("#") or value == "data:,", (element.tag, name, value)
    scripts = [item for item in tree.iter("script") if item.get("type") is None]
    styles = list(tree.iter("style"))
    assert len(scripts) == len(styles) == 1
    policy = next(
        item.get("content", "")
        for item in tree.iter("meta")
        if item.get("http-equiv") == "Content-Security-Policy"
    )
    for directive, element in (("script-src", scripts[0]), ("style-src", styles[0])):
        digest = base64.b64encode(hashlib.sha256(text_of(element).encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    own = text_of(scripts[0]) + text_of(styles[0])
    for word in (
        "http",
        "//",
        "url(",
        "@import",
        "innerHTML",
        "eval(",
        "document.write",
        "fetch(",
        "import(",
    ):
        assert word not in own.replace("://", "//") or word == "//", word


def test_the_page_of_an_image(tmp_path: Path, request_: ReadRequest) -> None:
    root = layers_of(debian_root(), "usr/bin")
    with open_contents(write_layout(tmp_path / "image", *root), request_) as contents:
        page = report_page(make_report(contents.inventory, read_text=lambda _: ""))
    _check_closed(page)
    tree = parsed(page)
    headings = [text_of(item) for item in tree.iter("h2")]
    assert headings[:2] == ["At a glance", "Where the space goes"]
    assert {"Packages", "What starts", "Files that give rights", "Users", "Files"} <= set(headings)
    tables = {item.get("id"): text_of(item) for item in tree.iter("table")}
    assert "5.2-1" in tables["table-packages"]
    assert "web.service" in tables["table-units"]
    assert "/usr/bin/su" in tables["table-privileged"]
    assert "cap_net_raw" in tables["table-privileged"]
    assert "root=LABEL=x ro quiet" in text_of(tree)
    views = data_of(tree, "size-views")
    assert list(views) == ["directories", "packages", "layers"]
    assert "usr" in [part[0] for part in views["directories"][3]]
    index = index_of(tree)
    assert "ping" in index["names"]
    assert (
        len({len(index[name]) for name in ("names", "depths", "sizes", "layers", "packages", "attributes")})
        == 1
    )


def test_every_heading_is_reached_and_every_part_has_a_name(hostile: bytes) -> None:
    tree = parsed(hostile)
    identifiers = [item.get("id") for item in tree.iter() if item.get("id")]
    assert len(identifiers) == len(set(identifiers))
    links = {item.get("href", "").removeprefix("#") for item in tree.iter("a")}
    assert links <= set(identifiers)
    assert {item.get("id") for item in tree.iter("h2")} <= links
    for section in tree.iter("section"):
        assert section.get("aria-labelledby") in identifiers or section.get("class", "").startswith("card")
    for table in tree.iter("table"):
        assert table.find("caption") is not None
        assert all(item.get("scope") for item in table.iter("th"))


def test_nothing_of_an_image_is_markup(hostile: bytes) -> None:
    _check_closed(hostile)
    tree = parsed(hostile)
    assert not list(tree.iter("img"))
    shown = visible(HOSTILE)
    assert text_of(next(iter(tree.iter("h1")))) == shown.rpartition("/")[2]  # without directories
    assert shown in text_of(next(item for item in tree.iter("table") if item.get("id") == "table-packages"))
    text = hostile.decode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert text.count("</script>") == 3
    index = index_of(tree)
    assert all(name == visible(name) for name in index["names"])
    assert "\\xff\\xfe\\n" in index["names"]


def test_a_page_of_a_hundred_thousand_files_is_small(large: ReportedImage) -> None:
    page = report_page(large)
    assert len(page) < LIMIT
    tree = parsed(page)
    index = index_of(tree)
    assert len(index["names"]) == large.totals.entries  # all of them
    assert sum(index["sizes"]) == large.totals.bytes
    rows = next(item for item in tree.iter("table") if item.get("id") == "table-packages")
    assert len(list(rows.iter("tr"))) <= 1201
    assert "more packages" in text_of(tree)


def test_small_files_are_taken_together_where_the_page_would_be_too_large(
    large: ReportedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dibo.reports.page._INDEX", 100_000)
    page = report_page(large)
    tree = parsed(page)
    index = index_of(tree)
    smaller = [name for name in index["names"] if name.endswith(" smaller")]
    directories = sum(index["attribute"][place].startswith("d") for place in index["attributes"])
    left_out = sum(int(name.split()[0]) for name in smaller)
    files = len(index["names"]) - len(smaller) - directories
    assert left_out + files == large.totals.files
    assert files > 500
    assert sum(index["sizes"]) == large.totals.bytes
    assert f"{left_out:,} small files are not listed" in text_of(tree)


def test_texts_without_bound_do_not_make_it_large() -> None:
    long = '"' * 4000
    files = {
        f"usr/{number}-{long[:200]}".encode(): record(5, mode=0o4755, package=long) for number in range(3000)
    }
    page = report_page(report_on(files, notes=(long,) * 5))
    assert len(page) < LIMIT
    parsed(page)


def test_an_image_without_anything() -> None:
    page = report_page(report_on({}))
    _check_closed(page)
    assert "No file is set-user-id" in text_of(parsed(page))


def test_the_same_report_is_the_same_page() -> None:
    assert report_page(hostile_report()) == report_page(hostile_report())
