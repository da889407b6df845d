"""Schemas in an editor: the language server of YAML that most editors use, talked to as they do.

It reads the schemas of `dibo schema` for the draft that it knows, which is 07, so what it makes of them is not what a
validator of 2020-12 makes of them (tests/unit/api/test_schema.py).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.api.schema import schema
from tests.support.language_server import LanguageServer
from tests.support.requirements import unmet
from tests.support.timeouts import TIMEOUT

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("editors")]

PROJECT = Path(__file__).parents[2]
SERVER = PROJECT / ".make/language-server/node_modules/.bin/yaml-language-server"
SETTINGS = {"yaml": {"validate": True, "completion": True, "hover": True, "schemaStore": {"enable": False}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    """The server; installed if need be, which takes minutes where there is no Node."""
    argv = [str(PROJECT / "tools/setup"), "language-server"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    node = shutil.which("node") or shutil.which("nodejs")
    if done.returncode or node is None:
        unmet(f"tools/setup language-server ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    root = tmp_path_factory.mktemp("flavours")
    for name in ("flavour", "layout", "policy", "project"):
        (root / f"{name}.schema.json").write_text(schema(name))
    with LanguageServer([node, SERVER, "--stdio"], root=root, settings=SETTINGS) as started:
        yield started


def modeline(name: str) -> str:
    return f"# yaml-language-server: $schema=../{name}.schema.json\n"


def test_right_files_have_no_diagnostics(server: LanguageServer) -> None:
    files = [
        file
        for place in ("flavours", "examples")
        for name in ("flavour", "layout")
        for file in sorted((PROJECT / place).glob(f"*/{name}.yaml"))
    ]
    assert {"flavour", "layout"} == {file.stem for file in files}
    said = {
        str(file): diagnostics
        for file in files
        if (
            diagnostics := server.open(
                server.root / file.parent.name / file.name, modeline(file.stem) + file.read_text()
            )
        )
    }
    assert said == {}


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("flavour", "summary: Web\nsumary: x\n", 3, "Property sumary is not allowed"),
        ("flavour", "local: 3\n", 2, 'Expected "boolean"'),
        ("flavour", "disk:\n  tabel: gpt\n", 3, "Property tabel is not allowed"),
        ("layout", "table: gtp\n", 2, '"gpt", "mbr"'),
        ("project", "images:\n  web: {flavour: [vm]}\n", 3, "Property flavour is not allowed"),
        ("project", "images:\n  web: {release: 3.10}\n", 3, 'Expected "string"'),
        ("policy", "repositories:\n  registry.example: {accept: all}\n", 3, '"unsigned"'),
    ],
)
def test_a_wrong_file_has_one_at_its_line(
    name: str, text: str, line: int, message: str, server: LanguageServer, tmp_path: Path
) -> None:
    said = server.open(server.root / tmp_path.name / f"{name}.yaml", modeline(name) + text)
    assert [diagnostic for diagnostic in said if diagnostic.line == line and message in diagnostic.message], (
        said
    )


def test_keys_are_completed_and_explained(server: LanguageServer) -> None:
    file = server.root / "web" / "flavour.yaml"
    server.open(file, modeline("flavour") + "summary: Web\npa\n")
    labels = server.complete(file, line=3, column=2)
    assert {"packages", "needs", "environment", "disk"} <= set(labels)
    assert "summary" not in labels, "it is there already"
    assert "in one line" in server.hover(file, line=2, column=2)


def test_keys_of_a_project_file_are_completed_and_explained(server: LanguageServer) -> None:
    file = server.root / "web" / "dibo.yaml"
    server.open(file, modeline("project") + "images:\n  web:\n    flavours: [vm]\n    re\n")
    assert {"release", "matrix", "tests", "extends"} <= set(server.complete(file, line=5, column=6))
    assert "added to those that are inherited" in server.hover(file, line=4, column=6)


def test_values_are_completed(server: LanguageServer) -> None:
    file = server.root / "web" / "layout.yaml"
    server.open(file, modeline("layout") + "table: \n")
    assert set(server.complete(file, line=2, column=7)) == {"gpt", "mbr"}
