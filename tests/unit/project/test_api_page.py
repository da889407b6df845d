"""docs/reference/api.md is what dibo.api has, and its examples work.

The reference is written anew by: pytest tests/unit/project/test_api_page.py --update-golden
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo import api
from dibo.cli.commands import parser_of
from tests.support.api_examples import PAGE, needs_engine, needs_machine, python_blocks
from tests.support.markdown import generated, table, with_generated
from tests.support.web_layout import write_layout


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split())


def _functions() -> Iterator[str]:
    for name in ("plan", "build", "convert", "convert_many", "inspect", "boot"):
        function = getattr(api, name)
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        (node,) = tree.body
        assert isinstance(node, ast.FunctionDef)
        arguments = re.sub(r", (?![^\[]*\])", ",\n    ", ast.unparse(node.args))
        arguments = re.sub(r"(?<=[\w\]])=(?=[\w(])", " = ", arguments)
        signature = f"def {name}(\n    {arguments},\n) -> {ast.unparse(node.returns or ast.Constant(None))}"
        yield f"### {name}\n\n```python\n{signature}: ...\n```\n\n{_paragraph(function.__doc__)}"


def _fields(kind: type) -> list[tuple[str, str, str]]:
    """Of a dataclass: name, type and default, meaning."""
    (node,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(node, ast.ClassDef)
    rows = []
    for statement, following in zip(node.body, [*node.body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            default = f" = {ast.unparse(statement.value)}" if statement.value is not None else ""
            default = re.sub(r" = field\(default_factory=dict.*", " = {}", default)
            default = re.sub(r" = field\(repr=False\)", "", default)
            meaning = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                meaning = _paragraph(str(following.value.value))
            rows.append((statement.target.id, f"{ast.unparse(statement.annotation)}{default}", meaning))
        elif isinstance(statement, ast.FunctionDef) and not statement.name.startswith("_"):
            returns = ast.unparse(statement.returns or ast.Constant(None))
            rows.append((statement.name, returns, _paragraph(ast.get_docstring(statement))))
    return rows


def _as_option(kind: str, field: str) -> str:
    if not kind.endswith("Options") or field == "environment":
        return ""
    word = {
        "filesystem": "fs-type",
        "verify_keys": "verify-key",
        "secrets": "secret",
        "ssh_keys": "ssh-key",
        "ports": "port",
    }.get(field, field)
    return f"as `--{word.replace('_', '-')}`"


def _classes() -> Iterator[str]:
    for name in api.__all__:
        kind = getattr(api, name)
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            rows = [
                (f"`{field}`", f"`{types}`", meaning or _as_option(name, field))
                for field, types, meaning in _fields(kind)
            ]
            yield f"### {name}\n\n{_paragraph(kind.__doc__)}\n\n{table(('field', 'type', 'meaning'), rows)}"


def _reference() -> str:
    progress = "### Progress\n\n`Callable[[str], None]`: gets a line of progress or a warning, without the line break."
    return "\n\n".join([*_functions(), progress, *_classes()])


def test_the_reference_is_that_of_the_code(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        PAGE.write_text(with_generated(PAGE.read_text(), "api", _reference()))
    assert generated(PAGE.read_text(), "api") == _reference()


def test_every_public_name_is_on_the_page_and_has_a_docstring() -> None:
    text = PAGE.read_text()
    assert [name for name in api.__all__ if f"### {name}\n" not in text] == []
    assert [name for name in api.__all__ if name != "Progress" and not getattr(api, name).__doc__] == []
    assert set(api.__all__) <= set(dir(api))
    with pytest.raises(AttributeError):
        _ = api.nothing


def test_examples_that_need_no_engine_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others run in tests/integration/test_api.py; what boots is that of tests/integration/test_boot_command.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write_layout(tmp_path / "web-layout", "1")
    namespace: dict[str, object] = {}
    for block in python_blocks(PAGE):
        if needs_machine(block):
            compile(block, str(PAGE), "exec")
        elif not needs_engine(block):
            exec(block, namespace)
    contents, versions = namespace["contents"], namespace["versions"]
    assert isinstance(contents, api.DiskContents)
    assert contents.system is not None and contents.system.id == "debian"
    assert versions == {"nginx": "1.26.3-3"}
    assert isinstance(namespace["lines"], list) and namespace["lines"]


def test_some_examples_need_an_engine() -> None:
    assert [needs_engine(block) for block in python_blocks(PAGE)] == [
        False,
        True,
        True,
        False,
        False,
        False,
        False,
        False,
    ]


def test_options_are_those_of_commands() -> None:
    """Where the reference says nothing else of an option, it is that of a command of the same name."""
    known = {
        option
        for program in ("dibo", "disk-image-create")
        for parser in _parsers(parser_of(program))
        for action in parser._actions
        for option in action.option_strings
    }
    named = set(re.findall(r"\| as `(--[a-z-]+)` \|", PAGE.read_text()))
    assert len(named) > 20
    assert named - known == set()


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _parsers(below)


def test_no_public_module_shadows_a_function() -> None:
    """`import dibo.api.plan` would make `dibo.api.plan` a module."""
    modules = {path.stem for path in Path(api.__file__).parent.glob("*.py")}
    assert modules & set(api.__all__) == set()
