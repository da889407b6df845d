"""`dibo diff` and `dibo inspect` from the command line: text, JSON in the schema, exit codes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dibo.api.contents.diff import SAME, parse_sections
from dibo.api.json_schema import JSON_SCHEMA
from dibo.cli.main import dibo
from dibo.errors import UsageError
from tests.support.images.image_forms import FORMS, STATUS, Member, debian_root, write_form
from tests.support.schemas import validate


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("IMG_PATH", raising=False)


def _pair(tmp_path: Path, forms: tuple[str, str] = ("layout", "disk")) -> tuple[str, str]:
    second = debian_root()
    second["var/lib/dpkg/status"] = STATUS.replace("5.2-1", "5.2-2").encode()
    second["usr/bin/bash"] = Member(data=b"#!SHELL" * 1000, mode=0o755)
    second["usr/bin/su"] = Member(data=b"su", mode=0o755)
    del second["fifo"]
    return (
        write_form(forms[0], tmp_path, debian_root(), name="a"),
        write_form(forms[1], tmp_path, second, name="b"),
    )


def test_text_and_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = _pair(tmp_path)
    assert dibo(["diff", a, b]) == 65
    assert capsys.readouterr().out.splitlines()[:7] == [
        "packages:",
        "  ~ bash  5.2-1 → 5.2-2",
        "files:",
        "  - /fifo        FIFO 0644",
        "  ~ /usr/bin/su  mode 4755 → 0755",
        "    and 3 files of packages that changed: --files lists them",
        "layers: 0 shared, 1 only in A, 0 only in B",
    ]
    assert dibo(["diff", a, a]) == 0
    assert capsys.readouterr().out == f"{SAME}\n"
    assert dibo(["diff", "--only", "users,groups", "--only", "kernels", a, b]) == 0
    assert (
        dibo(["diff", "--exclude", "/usr", "--exclude", "fifo", "--only", "files", "--exclude", "var", a, b])
        == 0
    )
    assert dibo(["diff", a, str(tmp_path / "missing")]) == 2
    assert dibo(["diff", "--only", "nothing", a, b]) == 2


def test_files_that_cannot_be_read_are_not_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        monkeypatch.setattr(os, "open", _refuse_secrets(os.open))  # root reads everything
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text(name)
        (tmp_path / name / "secret").chmod(0)
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert dibo(["diff", a, b]) == 33
    assert "1 file cannot be read" in capsys.readouterr().err
    (tmp_path / "b" / "new").write_text("")
    assert dibo(["diff", a, b]) == 65
    assert "1 file cannot be read" in capsys.readouterr().err


def _refuse_secrets(original: Callable[..., int]) -> Callable[..., int]:
    def refuse(path: object, *arguments: Any, **options: Any) -> int:
        if isinstance(path, bytes) and path.endswith(b"/secret"):
            raise PermissionError(13, "Permission denied")
        return original(path, *arguments, **options)

    return refuse


def test_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = _pair(tmp_path)
    assert dibo(["diff", "--summary", a, b]) == 65
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["packages: 1 changed", "files: 1 removed, 4 changed"]


@pytest.mark.parametrize("form", FORMS)
def test_documents_fit_the_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    a, b = _pair(tmp_path, ("layout", form))
    assert dibo(["diff", "--json", "--all", a, b]) == 65
    document = json.loads(capsys.readouterr().out)
    validate(document, JSON_SCHEMA)
    assert (document["document"], document["same"]) == ("diff", False)
    (su,) = (file for file in document["files"] if file["path"] == "/usr/bin/su")
    assert (su["aspects"], su["before"]["mode"], su["after"]["mode"]) == (["mode"], "4755", "0755")
    for options in ([], ["--files"]):
        assert dibo(["inspect", "--json", *options, b]) == 0
        document = json.loads(capsys.readouterr().out)
        validate(document, JSON_SCHEMA)
        assert [package["name"] for package in document["packages"]] == ["bash", "dpkg"]
        files = {file["path"]: file for file in document["files"] or ()}
        assert bool(files) == bool(options)
        assert not options or len(files["/usr/bin/su"]["sha256"]) == 64


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, b = _pair(tmp_path)
    assert dibo(["inspect", "--files", b]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"image: {b} (disk, raw)" in lines
    assert "system: Debian 12, amd64" in lines
    assert "kernel: 6.1.0-9-amd64: root=LABEL=x ro quiet" in lines
    assert "enabled: getty@.service, web.service" in lines
    assert "users with a shell: root, web" in lines
    assert "files with capabilities: /usr/bin/ping (cap_net_raw)" in lines
    assert any(line.startswith("  -0640 0:42 ") and line.endswith(" /etc/shadow") for line in lines)


@pytest.mark.parametrize("words", [["x"], ["packages,x"], [""], [","]])
def test_sections_that_are_none(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_sections(words)
