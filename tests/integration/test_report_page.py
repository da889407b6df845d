"""The page of `dibo report` in a browser: its script runs under its policy, and does what readers do with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib
import pytest

from dibo.contents.inventory import InstalledPackage
from dibo.reports.page import report_page
from dibo.reports.visible import visible
from tests.support.browser import need_browser, opened
from tests.support.report_samples import HOSTILE, hostile_report, layer, record, report_on

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("browser")]

READER = """
(async () => {
  const results = {};
  const wait = () => new Promise((done) => setTimeout(done, 50));
  for (let turn = 0; turn < 100 && document.getElementById("file-browser").hidden; turn += 1) {
    await wait();
  }
  const shown = () => [...document.querySelectorAll("#table-packages tbody tr")].filter((row) => !row.hidden);
  const names = () => shown().map((row) => row.cells[0].textContent);
  const buttons = [...document.querySelectorAll("#table-packages thead button")];
  const heading = (title) => buttons.find((button) => button.textContent === title);
  results.folded = shown().length;
  document.querySelector("#table-packages").closest(".table").querySelector("button.plain-button").click();
  results.all = shown().length;
  heading("Package").click();
  results.byName = names().slice(0, 3);
  heading("Package").click();
  results.byNameDown = names().slice(0, 2);
  results.sorted = heading("Package").closest("th").getAttribute("aria-sort");
  heading("Size").click();
  results.bySize = names().slice(0, 2);
  const filter = document.querySelector("#table-packages").closest(".table").querySelector("input");
  filter.value = "package-01 1.7";
  filter.dispatchEvent(new Event("input"));
  results.filtered = names();

  const map = document.querySelector(".map");
  const crumbs = () => [...document.querySelectorAll("#treemap .crumbs li")].map((item) => item.textContent);
  const cells = () => [...map.children];
  results.cells = cells().length;
  results.areas = cells().filter((cell) => cell.textContent).map((cell) => [cell.getAttribute("aria-label"),
    parseFloat(cell.style.width) * parseFloat(cell.style.height)]);
  const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  cells()[0].focus();
  press("ArrowRight");
  results.second = document.activeElement === cells()[1];
  press("Home");
  document.activeElement.click();
  results.opened = crumbs();
  press("Escape");
  results.left = crumbs();
  document.querySelectorAll("#treemap input")[1].click();
  results.packages = cells()[0].getAttribute("aria-label");

  const files = document.getElementById("file-browser");
  const texts = (row) => [...row.cells].map((cell) => cell.textContent);
  const rows = () => [...files.querySelectorAll("tbody tr")].map(texts);
  results.top = rows();
  files.querySelector("tbody button").click();
  results.inside = rows();
  const search = files.querySelector("input");
  search.value = "SHARE file-7.dat";
  search.dispatchEvent(new Event("input"));
  results.searched = rows();
  document.body.dataset.results = JSON.stringify(results);
})();
"""


@pytest.fixture(scope="module")
def browser() -> str:
    return need_browser()


def parsed(text: str) -> Element:
    tree: Element = html5lib.parse(text, namespaceHTMLElements=False)
    return tree


def test_a_page_under_its_policy(tmp_path: Path, browser: str) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(report_page(hostile_report()))
    text, console = opened(page, browser)
    assert console == []
    tree = parsed(text)
    assert tree.get("data-ready") == "true"
    cells = [item for item in tree.iter("button") if (item.get("class") or "").startswith("cell")]
    assert len(cells) >= 2
    assert any(visible(HOSTILE).replace("/", "|") in (cell.get("aria-label") or "") for cell in cells)
    packages = next(item for item in tree.iter("table") if item.get("id") == "table-packages")
    assert len(list(packages.iter("th"))) >= 4
    files = next(item for item in tree.iter("div") if item.get("id") == "file-browser")
    assert files.get("hidden") is None
    assert "".join(next(files.iter("tbody")).itertext()).startswith("usr/")
    assert not list(tree.iter("img"))


def test_the_console_would_tell(tmp_path: Path, browser: str) -> None:
    """What the test above looks for is there when a page fetches something that its policy forbids, or fails."""
    page = tmp_path / "page.html"
    text = report_page(hostile_report()).decode()
    page.write_text(
        text.replace("</body>", '<img src="https://registry.example/x.png" alt=""><script>1</script></body>')
    )
    _, console = opened(page, browser)
    assert len([line for line in console if "Content Security Policy" in line]) >= 2


def test_what_readers_do(tmp_path: Path, browser: str) -> None:
    packages = tuple(
        InstalledPackage(
            name=f"package-{number:02}", architecture="amd64", version=f"1.{number}", manager="dpkg"
        )
        for number in range(40)
    )
    files = {
        f"usr/share/package-{number:02}/file-{number}.dat".encode(): record(
            1000 + 100 * number, package=f"package-{number:02}", layer=number % 2
        )
        for number in range(40)
    }
    report = report_on(
        {**files, b"boot/vmlinuz": record(50_000, layer=0)},
        packages=packages,
        layers=(layer("base"), layer("web install.d: packages", flavour="web")),
    )
    text = report_page(report).decode()
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', text)
    assert policy is not None
    page = tmp_path / "page.html"  # the reader is a second script, which the policy would not let run
    page.write_text(text.replace(policy[0], "").replace("</body>", f"<script>{READER}</script></body>"))
    dom, console = opened(page, browser, "--window-size=1280,900")
    assert console == []
    body = parsed(dom).find("body")
    assert body is not None
    results = json.loads(body.get("data-results") or "{}")
    assert (results["folded"], results["all"]) == (25, 40)
    assert results["byName"] == ["package-00", "package-01", "package-02"]
    assert results["byNameDown"] == ["package-39", "package-38"]
    assert results["sorted"] == "descending"
    assert results["bySize"] == ["package-39", "package-38"]
    assert results["filtered"] == []
    assert results["cells"] > 40
    _check_areas(results["areas"])
    assert results["second"] is True
    assert (results["opened"][0], results["opened"][-2:]) == ("All", ["usr", "List files"])
    assert results["left"] == ["All"]
    assert results["packages"].startswith("in no package, 48.8 KiB")
    assert [row[0] for row in results["top"]] == ["usr/", "boot/"]
    assert [row[0] for row in results["inside"]] == ["share/"]
    assert results["searched"] == [
        [
            "/usr/share/package-07/file-7.dat",
            "1.66 KiB",
            "web install.d: packages",
            "package-07",
            "-rw-r--r-- 0:0",
        ]
    ]


def _check_areas(areas: list[tuple[str, float]]) -> None:
    """The two directories at the top have areas in the proportion of their sizes."""
    at_top = {label.split(",")[0]: area for label, area in areas if label.split(",")[0] in ("usr", "boot")}
    assert at_top["usr"] / at_top["boot"] == pytest.approx((40 * 1000 + 100 * 780) / 50_000, rel=0.01)
