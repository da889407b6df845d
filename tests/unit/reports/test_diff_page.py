"""The page of `dibo diff`: whole, closed to the network, and no text of an image is markup."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.contents.compare import compare
from dibo.contents.comparison import Comparison
from dibo.contents.read import ReadRequest, open_pair
from dibo.reports.diff_page import LIMIT, diff_page
from dibo.reports.visible import visible
from tests.support.images.image_forms import STATUS, Root, debian_root, write_layout, write_tar
from tests.unit.reports.test_page import parsed, text_of

pytestmark = pytest.mark.slow

HOSTILE = "<script>alert(1)</script>\"'&\x1b[2J\u202e"


@pytest.fixture
def comparison(tmp_path: Path, request_: ReadRequest) -> Comparison:
    before, after = debian_root(), debian_root()
    after["var/lib/dpkg/status"] = STATUS.replace("5.2-1", HOSTILE).encode()
    after["etc/passwd"] = f"{HOSTILE}:x:7:7:{HOSTILE}:/:/bin/sh\n".encode()
    after[f"etc/{HOSTILE.replace('/', '')}"] = b"x"
    after["usr/lib/systemd/system/new.service"] = f"[Unit]\nDescription={HOSTILE}\n".encode()
    a = write_layout(tmp_path / "a", before, run={"Cmd": ["sh"]})
    b = write_layout(tmp_path / "b", before, after, run={"Cmd": [HOSTILE]})
    with open_pair((a, b), replace(request_, hashes=True)) as pair:
        return compare(*pair)


def test_the_page(comparison: Comparison) -> None:
    tree = parsed(diff_page(comparison))
    tables = {item.get("id"): text_of(item) for item in tree.iter("table")}
    expected = ("packages", "files", "units", "users", "config", "layers")
    assert {f"table-{name}" for name in expected} <= set(tables)
    assert "5.2-1" in tables["table-packages"]
    assert "new.service" in tables["table-units"]
    headings = [item.get("id") for item in tree.iter("h2")]
    assert headings[0] == "glance"
    identifiers = [item.get("id") for item in tree.iter() if item.get("id")]
    assert len(identifiers) == len(set(identifiers))
    links = {item.get("href", "").removeprefix("#") for item in tree.iter("a")}
    assert set(headings) <= links <= set(identifiers)


def test_it_is_closed_and_nothing_of_an_image_is_markup(comparison: Comparison) -> None:
    page = diff_page(comparison).decode()
    assert "default-src &#x27;none&#x27;" in page
    assert not re.search("https?:|url[(]|@import|fetch[(]|innerHTML", page)
    for element in parsed(page.encode()).iter():
        assert not any(name.startswith("on") or name == "style" for name in element.attrib)
        addresses = [element.get(name) for name in ("href", "src")]
        assert all(address == "data:," or address.startswith("#") for address in addresses if address)
    assert page.count("</script>") == 1
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page)
    assert visible(HOSTILE) in text_of(parsed(page.encode()))


def test_the_same(tmp_path: Path, request_: ReadRequest) -> None:
    a = str(write_tar(tmp_path / "a.tar", debian_root()))
    with open_pair((a, a), request_) as pair:
        page = diff_page(compare(*pair))
    assert "Nothing that was compared differs." in page.decode()


def test_many_files_are_cut(tmp_path: Path, request_: ReadRequest) -> None:
    many: Root = {f"usr/share/{'x' * 200}/{number:08}": b"" for number in range(12_000)}
    a = str(write_tar(tmp_path / "a.tar", debian_root()))
    b = str(write_tar(tmp_path / "b.tar", {**debian_root(), **many}))
    with open_pair((a, b), request_) as pair:
        page = diff_page(compare(*pair))
    assert len(page) <= LIMIT
    assert b"dibo diff --json lists all" in page
