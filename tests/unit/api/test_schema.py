"""What `dibo schema` prints, as check-jsonschema takes it: the schemas, the files of this project, and wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner

from dibo.api.schema import SCHEMAS, schema

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3]
RIGHT = {
    "layout": ["table: gpt\npartitions: [{name: root, type: linux-root, size: rest, mount: /}]\n"],
    "policy": ["default: {accept: nothing}\nrepositories: {}\n"],
    "project": [
        "images: {web: {flavours: [vm], size: 1.5, matrix: {release: [trixie]}}}\n",
        "include: [a.yaml]\n",
    ],
    "json": [
        '{"document": "error", "version": 1, "error": '
        '{"kind": "UsageError", "message": "no", "hint": "", "details": [], "exit_code": 64}}',
    ],
}
WRONG = {
    "flavour": [
        "sumary: x\n",
        "packages: nginx\n",
        "needs: [../vm]\n",
        "disk: {partitions: [{name: a, mount: /}, {name: b, mount: /}]}\n",
    ],
    "layout": ["tabel: gpt\n", "partitions: [{name: a, size: rest}, {name: b, size: rest}]\n"],
    "manifest": ["format: 2\n", "[]\n"],
    "project": [
        "images: {web: {flavour: [vm]}}\n",
        "images: {web: {release: 3.10}}\n",
        "images: {web: {matrix: {release: trixie}}}\n",
    ],
    "policy": ["repositories: {registry.example: {accept: all}}\n", "default: {}\n"],
    "json": ["document: nothing\nversion: 1\n", "[]\n"],
}


def check(*words: str | Path) -> tuple[int, str]:
    """In this process: to start, the program takes a hundred times as long as to check a file."""
    done = CliRunner().invoke(check_jsonschema, [str(word) for word in words])
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with NAME.schema.json of each."""
    directory = tmp_path_factory.mktemp("schemas")
    for name in SCHEMAS:
        (directory / f"{name}.schema.json").write_text(schema(name))
    return directory


def test_each_schema_is_one(schemas: Path) -> None:
    code, said = check("--check-metaschema", *sorted(schemas.iterdir()))
    assert code == 0, said


def test_a_schema_that_is_none_is_refused(tmp_path: Path) -> None:
    broken = json.loads(schema("layout"))
    broken["properties"]["table"]["type"] = "text"
    (tmp_path / "layout.json").write_text(json.dumps(broken))
    assert check("--check-metaschema", tmp_path / "layout.json")[0] == 1


def test_the_project_s_flavours_and_layouts_pass(schemas: Path) -> None:
    for name in ("flavour", "layout"):
        files = [
            file
            for place in ("flavours", "examples", "tests/integration/flavours")
            for file in sorted((PROJECT / place).glob(f"*/{name}.yaml"))
            if yaml.safe_load(file.read_text()) is not None  # an empty flavour.yaml is right
        ]
        assert files
        code, said = check("--schemafile", schemas / f"{name}.schema.json", *files)
        assert code == 0, said


def test_project_files_of_examples_pass(schemas: Path) -> None:
    files = sorted(PROJECT.glob("examples/*/dibo.yaml"))
    assert len(files) >= 3
    code, said = check("--schemafile", schemas / "project.schema.json", *files)
    assert code == 0, said


@pytest.mark.parametrize("name", RIGHT)
def test_right_files_pass(name: str, schemas: Path, tmp_path: Path) -> None:
    code, said = check("--schemafile", schemas / f"{name}.schema.json", *_files(tmp_path, RIGHT[name]))
    assert code == 0, said


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_refused(name: str, schemas: Path, tmp_path: Path) -> None:
    files = _files(tmp_path, WRONG[name])
    code, said = check("--output-format", "json", "--schemafile", schemas / f"{name}.schema.json", *files)
    assert code == 1, said
    assert {error["filename"] for error in json.loads(said)["errors"]} == {str(file) for file in files}


def _files(directory: Path, texts: list[str]) -> list[Path]:
    files = [directory / f"{number}.yaml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    return files
