"""The documentation as a site: tools/docs-site, and the navigation of docs/zensical.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.markdown import PROJECT
from tests.support.tools import load_tool

DOCS_SITE = load_tool("docs-site")
CONFIG = tomllib.loads((PROJECT / "docs/zensical.toml").read_text())["project"]
INDEXED = "docs/adr/"
"""Pages that an index lists in the place of the navigation."""


def _entries(navigation: list[dict[str, Any]]) -> Iterator[str]:
    for entry in navigation:
        for target in entry.values():
            if isinstance(target, str):
                yield target
            else:
                yield from _entries(target)


def test_the_navigation_has_every_page_once() -> None:
    entries = list(_entries(CONFIG["nav"]))
    written = [str(path.relative_to(PROJECT)) for path in (PROJECT / "docs").rglob("*.md")]
    assert [name for name in entries if not (PROJECT / name).is_file()] == []
    assert sorted(entries) == sorted(set(entries))
    assert {name for name in written if not name.startswith(INDEXED)} <= set(entries)
    assert f"{INDEXED}README.md" in entries


def test_the_index_has_every_page_but_decisions() -> None:
    text = (PROJECT / "docs/README.md").read_text()
    links = set(re.findall(r"\]\((?!\.\.)([^)#]+)\)", text))
    written = {str(path.relative_to(PROJECT / "docs")) for path in (PROJECT / "docs").rglob("*.md")}
    assert {name for name in written if not name.startswith("adr/")} - {"README.md"} <= links


def test_the_index_of_decisions_has_each() -> None:
    text = (PROJECT / INDEXED / "README.md").read_text()
    written = [path.name for path in (PROJECT / INDEXED).glob("[0-9]*.md")]
    assert [name for name in written if f"({name})" not in text] == []


def test_nothing_is_fetched() -> None:
    """No fonts, no plugins that download (`privacy`, `social`), no scripts of other hosts."""
    assert CONFIG["theme"]["font"] is False
    assert not {"plugins", "extra_javascript", "repo_url"} & CONFIG.keys()


def test_the_site_has_what_pages_link_to() -> None:
    names = {str(path.relative_to(PROJECT)) for path in DOCS_SITE.pages(PROJECT)}
    assert {"README.md", "flavours/vm/README.md", "docs/site.css", "tools/apt-packages", "LICENSE"} <= names
    assert not [name for name in names if name.startswith(("dibo/cli", ".venv"))]


def _project(directory: Path, text: str) -> Path:
    (directory / "docs").mkdir()
    (directory / "README.md").write_text("# Top\n\n[index](docs/README.md)\n")
    (directory / "docs/README.md").write_text(f"# Index\n\n{text}\n")
    return directory


@pytest.mark.parametrize(
    "link", ["(nowhere.md)", "(../tools/nothing)", "(../../outside)", "(nowhere.md#part)"]
)
def test_a_link_to_no_file_is_refused(tmp_path: Path, link: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert DOCS_SITE.build(_project(tmp_path, f"[x]{link}"), tmp_path / "site") == 1
    assert "docs/README.md: the link" in capfd.readouterr().err
    assert not (tmp_path / "site").exists()


def test_links_in_code_are_none(tmp_path: Path) -> None:
    text = (
        "`[x](nowhere.md)`\n\n    [x](nowhere.md)\n\n```md\n[x](nowhere.md)\n```\n\n[x](https://example.org)"
    )
    names = [path.name for path in DOCS_SITE.pages(_project(tmp_path, text))]
    assert names == ["README.md", "README.md"]


DRAWINGS = sorted((PROJECT / "docs/images").glob("*.svg"))


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda path: path.name)
def test_drawings_say_what_they_show_in_light_and_dark(drawing: Path) -> None:
    text = drawing.read_text()
    root = ElementTree.fromstring(text)
    assert [child.tag.rpartition("}")[2] for child in root][:2] == ["title", "desc"]
    assert all(len(root[number].text or "") >= least for number, least in ((0, 10), (1, 60)))
    assert "prefers-color-scheme: dark" in text
    assert re.findall(r"(?:href|src|url)\W+https?:", text) == []
    colours = re.findall(r'(?:fill|stroke)="(?!none|var)[^"]+"', text)
    assert colours == [], "colours have names, with a value for light and one for dark"


def test_drawings_are_on_pages_with_a_text() -> None:
    used: set[Path] = set()
    for page in (PROJECT / "docs").rglob("*.md"):
        for alternative, target in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", page.read_text()):
            assert len(alternative) >= 60, f"{page.name}: say what {target} shows"
            used.add((page.parent / target).resolve())
    assert used == {*DRAWINGS, *(PROJECT / "docs/images").glob("*.png")}
