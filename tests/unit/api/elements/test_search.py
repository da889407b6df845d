"""`dibo elements list`, `show` and `check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dibo.cli import main
from dibo.errors import ElementError, UnknownFlavour, UsageError
from tests.unit.elements.checks.test_check import GOOD, write


@pytest.fixture
def elements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(
        tmp_path / "a/web",
        {"element-deps": "bootloader\nos\nlost\n", "install.d/50-web": GOOD, "pkg-map": "{}"},
    )
    write(tmp_path / "a/disk", {"block-device-default.yaml": "- lvm: {name: x, base: y}\n"})
    write(tmp_path / "b/web", {"install.d/60-web": GOOD})
    write(tmp_path / "b/debian", {"element-provides": "operating-system\nos\n"})
    monkeypatch.setenv("ELEMENTS_PATH", f"{tmp_path}/a:{tmp_path}/b")
    return tmp_path


def run(*arguments: object) -> int:
    return main.dibo(["elements", *map(str, arguments)])


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_list(elements: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"debian  ({elements}/b/debian)  provides operating-system, os  [replaced by dibo's own]",
        f"disk    ({elements}/a/disk)",
        f"web     ({elements}/a/web)",
        f"        shadows {elements}/b/web",
    ]
    assert run("list", "--json") == 0
    answer = document(capsys)
    assert answer["document"] == "elements"
    web = answer["elements"][2]
    assert (web["needs"], web["scripts"], web["data"]) == (
        ["bootloader", "os", "lost"],
        {"install.d": ["50-web"]},
        ["pkg-map"],
    )


def test_show(elements: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "web", "disk") == 0
    assert capsys.readouterr().out.splitlines() == [
        "web",
        f"  path      {elements}/a/web",
        f"  shadows   {elements}/b/web",
        "  needs     bootloader, os, lost",
        "  missing   lost",
        "  install.d: 50-web",
        "  data      pkg-map",
        "",
        "disk",
        f"  path      {elements}/a/disk",
        "  data      block-device-default.yaml",
    ]
    assert run("show", "wb") == UnknownFlavour.exit_code
    assert "there is no element 'wb'; did you mean 'web'?" in capsys.readouterr().err


def test_check(elements: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", elements / "a/web") == 0
    assert capsys.readouterr().out.splitlines() == [
        "web  runs",
        "  --  element-deps: the element lost, which it needs, is not on the search path",
        "      add its directory to ELEMENTS_PATH",
        "1 element: 1 run unchanged",
    ]
    assert run("check", "--json", elements / "a", elements / "b") == ElementError.exit_code
    answer = document(capsys)
    assert answer["document"] == "elements-check"
    assert {one["name"]: one["verdict"] for one in answer["elements"]} == {
        "debian": "replaced",
        "disk": "refused",
        "web": "runs",
    }
    assert run("check", elements / "a/disk") == ElementError.exit_code
    output = capsys.readouterr()
    assert "disk  does not run\n  NO  block-device-default.yaml: [0].lvm: logical volumes" in output.out
    assert "1 element of 1 cannot run unchanged: disk" in output.err


def test_without_a_search_path(
    elements: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ELEMENTS_PATH")
    assert run("list") == UsageError.exit_code
    assert "ELEMENTS_PATH is not set" in capsys.readouterr().err
    monkeypatch.setenv("ELEMENTS_PATH", f"{elements}/missing")
    assert run("check", elements / "a") == UsageError.exit_code
    assert f"{elements}/missing is not a directory" in capsys.readouterr().err
