"""`make docs`: the site is built with no network, needs none to be read, and links and anchors lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.markdown import PROJECT
from tests.support.requirements import unmet
from tests.support.tools import load_tool

pytestmark = pytest.mark.integration

DOCS_SITE = load_tool("docs-site")
_UNREACHABLE = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")


@pytest.fixture(scope="module", autouse=True)
def needs_zensical() -> None:
    if importlib.util.find_spec("zensical") is None:
        unmet("zensical is not installed: pip install -e '.[docs]'")


class _References(HTMLParser):
    """What a page loads, and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.images_without_text: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        if tag == "a":
            self.links.append(values.get("href", ""))
        elif tag == "link" and values.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(values.get("href", ""))
        elif "src" in values:
            self.loads.append(values["src"])
            if tag == "img" and len(values.get("alt", "")) < 20:
                self.images_without_text.append(values["src"])


def _read(page: Path) -> _References:
    parser = _References()
    parser.feed(page.read_text())
    return parser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("docs") / "site"
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n" + (
        "from pathlib import Path\nfrom tests.support.tools import load_tool\n"
        f"sys.exit(load_tool('docs-site').build(Path({str(PROJECT)!r}), Path({str(directory)!r})))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **_UNREACHABLE})
    return directory


def _broken(site: Path) -> Iterator[str]:
    pages = {path: _read(path) for path in site.rglob("*.html") if path.name != "404.html"}
    for page, references in pages.items():
        for link in references.links:
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            target = (page.parent / path).resolve() if path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{page.relative_to(site)}: {link}"
            elif anchor and target in pages and anchor not in pages[target].ids:
                yield f"{page.relative_to(site)}: {link}, no such anchor"


def test_every_link_and_anchor_of_the_html_leads_somewhere(site: Path) -> None:
    assert list(_broken(site)) == []


def test_the_pages_load_nothing_from_elsewhere_and_drawings_have_texts(site: Path) -> None:
    pages = [_read(path) for path in site.rglob("*.html")]
    assert len(pages) > 90
    assert [name for page in pages for name in page.loads if "//" in name] == []
    assert [name for page in pages for name in page.images_without_text] == []


def test_an_anchor_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/zensical.toml").write_text((PROJECT / "docs/zensical.toml").read_text())
    (tmp_path / "README.md").write_text("# Top\n\n[index](docs/README.md#nothing)\n")
    (tmp_path / "docs/README.md").write_text("# Index\n")
    assert DOCS_SITE.build(tmp_path, tmp_path / "site") != 0
    assert not (tmp_path / "site").exists()
