"""The documentation agrees with the code: tables of commands, options, variables, exit codes and flavours are made
from it, links lead somewhere, and files that are named exist.

A table that differs is written anew by: pytest tests/unit/project/test_docs.py --update-golden
"""

from __future__ import annotations

import argparse
import ast
import re
import signal
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from dibo import errors
from dibo.api.json_schema import DOCUMENTS, EVENTS
from dibo.artefacts.converter import Converters
from dibo.cli.commands import PROGRAMS, parser_of
from dibo.flavours.ignore import BUILT_IN
from dibo.flavours.loader import Catalogue
from dibo.flavours.model import Phase
from dibo.flavours.schema import SCHEMA
from dibo.images.sources.table import SOURCES
from dibo.settings.variables import RAMDISK_VARIABLES, VARIABLES
from tests.support.markdown import PROJECT, anchors, generated, links, pages, table, with_generated
from tests.support.tools import modules

DOCS = PROJECT / "docs"
TOP = ("dibo", "docs", "tests", "tools", "flavours", "containerfiles", "converters", "examples", "bench")


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    action = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)


def _commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for program in PROGRAMS:
        yield program, parser_of(program)
    for name, parser in _subcommands(parser_of("dibo")).items():
        yield f"dibo {name}", parser


def _with_actions() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Commands; of those that have actions, each of these instead."""
    for name, parser in _commands():
        actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not actions:
            yield name, parser
        for action in actions:
            for word, below in action.choices.items():
                yield f"{name} {word}", below


def _command_table() -> str:
    rows = [(f"`{name}`", parser.description or "") for name, parser in _commands()]
    return table(
        ("command", "what it does"), [(name, text[:1].lower() + text[1:].rstrip(".")) for name, text in rows]
    )


def _options_table(parser: argparse.ArgumentParser) -> str:
    rows = []
    for action in parser._actions:
        if action.help is argparse.SUPPRESS or action.dest in ("help", "version"):
            continue
        name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        if action.option_strings and action.nargs != 0:
            name += f" {action.metavar}"
        if not action.option_strings and action.choices is not None:
            name = "|".join(map(str, action.choices))
        rows.append((f"`{name}`", action.help or _positional(action)))
    return table(("", "meaning"), rows)


def _positional(action: argparse.Action) -> str:
    return {"+": "one or more", "*": "none, one or more"}.get(str(action.nargs), "which one")


def _variables_table(variables: dict[str, str]) -> str:
    return table(("variable", "meaning (default)"), [(f"`{name}`", text) for name, text in variables.items()])


def _exit_codes_table() -> str:
    kinds: list[type[errors.DiboError]] = [errors.DiboError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    rows = sorted((kind.exit_code, kind.meaning) for kind in kinds if kind.__module__ == errors.__name__)
    return table(("code", "meaning"), [("0", "all went well"), *((str(code), text) for code, text in rows)])


def _flavours_table() -> str:
    catalogue = Catalogue([PROJECT / "flavours"])
    rows = [
        (f"[{found.name}](flavours/{found.name}/README.md)", catalogue.get(found.name).summary)
        for found in catalogue
    ]
    return table(("flavour", "what it brings"), rows)


def _types_table() -> str:
    rows = []
    for each in Converters([PROJECT / "converters"]):
        tools = list(each.tools)
        rows.append((f"[{each.type}](converters/{each.type}/README.md)", each.summary, ", ".join(tools)))
    return table(("type", "what it is", "programs besides the engine"), rows)


def _document_table(name: str) -> str:
    """The keys of a document that --json prints; those of its lists after a dot."""
    return table(("key", "type", "meaning"), _keys((DOCUMENTS | EVENTS)[name], ""))


def _keys(schema: dict[str, Any], prefix: str) -> list[tuple[str, str, str]]:
    rows = []
    for key, value in schema["properties"].items():
        within = value.get("items", value)
        name = f"{prefix}{key}"
        kind = repr(value["const"]) if "const" in value else value["type"]
        words = " or ".join(kind) if isinstance(kind, list) else kind
        rows.append(
            (
                f"`{name}`",
                f"{words} of {within['type']}s" if words == "array" else words,
                value["description"],
            )
        )
        if "properties" in within:
            rows += _keys(within, f"{name}[]." if words == "array" else f"{name}.")
    return rows


def _images_table() -> str:
    return table(("image", "where it is"), [(f"`{kind.form}`", kind.means) for kind in SOURCES.values()])


def _words_table() -> str:
    lines = (PROJECT / "tools/words").read_text().splitlines()
    pairs = [line.split("->") for line in lines]
    assert pairs == sorted(pairs), "sort tools/words"
    return table(("not", "but"), [(f"`{word}`", instead.strip()) for word, instead in pairs])


TABLES: list[tuple[Path, str, Callable[[], str]]] = [
    (PROJECT / "README.md", "commands", _command_table),
    (PROJECT / "README.md", "flavours", _flavours_table),
    (PROJECT / "README.md", "types", _types_table),
    (DOCS / "reference/cli.md", "variables", partial(_variables_table, VARIABLES)),
    (DOCS / "reference/cli.md", "ramdisk variables", partial(_variables_table, RAMDISK_VARIABLES)),
    (DOCS / "reference/cli.md", "images", _images_table),
    (DOCS / "reference/exit-codes.md", "exit codes", _exit_codes_table),
    (DOCS / "reference/vocabulary.md", "words", _words_table),
    *((DOCS / "reference/json.md", name, partial(_document_table, name)) for name in (*DOCUMENTS, *EVENTS)),
    *((DOCS / "reference/cli.md", name, partial(_options_table, parser)) for name, parser in _with_actions()),
]


@pytest.mark.parametrize(
    ("page", "name", "make"), TABLES, ids=[f"{page.name}-{name}" for page, name, _ in TABLES]
)
def test_tables_are_those_of_the_code(
    page: Path, name: str, make: Callable[[], str], request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--update-golden"):
        page.write_text(with_generated(page.read_text(), name, make()))
    assert generated(page.read_text(), name) == make()


def test_every_table_in_the_pages_is_checked() -> None:
    for page in {page for page, _, _ in TABLES}:
        found = re.findall(r"<!-- (.*): from the code -->", page.read_text())
        assert sorted(found) == sorted(name for where, name, _ in TABLES if where == page)


def test_help_names_every_variable_and_phase() -> None:
    text = parser_of("disk-image-create").format_help()
    assert [name for name in VARIABLES if f"  {name} " not in text] == []
    assert [phase for phase in Phase if f"  {phase} " not in text] == []
    text = parser_of("ramdisk-image-create").format_help()
    assert [name for name in RAMDISK_VARIABLES if f"  {name} " not in text] == []


def test_help_of_convert_names_every_source() -> None:
    text = "".join(_subcommands(parser_of("dibo"))["convert"].format_help().split())
    forms = ["".join(kind.form.split()) for kind in SOURCES.values()]
    assert [form for form in forms if form not in text] == []


def test_the_index_links_every_flavour() -> None:
    text = (DOCS / "README.md").read_text()
    names = sorted(path.parent.name for path in (PROJECT / "flavours").glob("*/flavour.yaml"))
    assert [name for name in names if f"(../flavours/{name}/README.md)" not in text] == []


def test_exit_codes_are_distinct() -> None:
    kinds: list[type[errors.DiboError]] = [errors.DiboError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    codes = [kind.exit_code for kind in kinds if kind.__module__ == errors.__name__]
    assert len(set(codes)) == len(codes)


def test_exit_codes_of_signals() -> None:
    text = (DOCS / "reference/exit-codes.md").read_text()
    for name in ("SIGHUP", "SIGINT", "SIGTERM"):
        assert f"| {128 + signal.Signals[name]} | stopped by {name}" in text


def test_the_reference_has_every_key_and_phase() -> None:
    text = (DOCS / "reference/flavour.md").read_text()
    keys = SCHEMA["properties"]
    assert isinstance(keys, dict)
    assert [key for key in keys if f"| `{key}` |" not in text] == []
    assert [phase for phase in Phase if f"| `{phase}` |" not in text] == []


def test_links_lead_somewhere() -> None:
    assert len(pages()) > 100
    named = [(page, link) for page in pages() for link in links(page.read_text())]
    local = [(page, link) for page, link in named if not link.startswith(("http://", "https://"))]
    assert [f"{page.relative_to(PROJECT)}: {link}" for page, link in local if _is_broken(page, link)] == []


def _is_broken(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return not target.exists() or (anchor != "" and anchor not in _anchors(target))


@cache
def _anchors(page: Path) -> frozenset[str]:
    return frozenset(anchors(page.read_text()))


def _mentioned(text: str) -> Iterator[str]:
    """Paths of the project: a directory at its top, then words; not what has a placeholder in it."""
    for found in re.finditer(rf"(?<![\w/.-])(?:{'|'.join(TOP)})/[\w./-]*\w", text):
        following = text[found.end() :][:1]
        if following not in ("…", "*", "<", "{") and not re.search(r"/[A-Z]+(/|$)", found[0]):
            yield found[0]


def test_files_that_pages_name_exist() -> None:
    named = {
        (str(page.relative_to(PROJECT)), name)
        for page in pages()
        for words in re.findall(r"`([^`\n]+)`", page.read_text())
        for name in _mentioned(words)
    }
    assert sorted((page, name) for page, name in named if not _exists(name)) == []


def test_files_that_the_code_names_exist() -> None:
    missing = []
    for module in modules():
        if "share" in module.path.parts:
            continue
        text = ast.get_docstring(module.tree) or ""
        missing += [
            f"{module.path}: {name}" for name in _mentioned(text) if "." in name and not _exists(name)
        ]
    assert missing == []


def _exists(name: str) -> bool:
    return (PROJECT / name).exists() or name.startswith("dibo/share")


def test_the_reference_has_every_pattern_that_is_ignored() -> None:
    section = (
        (DOCS / "reference/flavour.md").read_text().partition("## `.dibo-ignore`")[2].partition("\n## ")[0]
    )
    listed = [word for line in section.splitlines() if line.startswith("    ") for word in line.split()]
    assert listed == list(BUILT_IN)


def test_the_tutorial_writes_the_example() -> None:
    """`make demo` builds the flavour that the tutorial explains."""
    tutorial = (DOCS / "tutorial/first-image.md").read_text()
    flavour = Catalogue([PROJECT / "examples"]).get("web-server")
    files = (*flavour.files, *flavour.declarations)
    texts = {file.path: (flavour.origin / file.path).read_text() for file in files}
    assert [path for path, text in texts.items() if indent(text, "    ") not in tutorial] == []


def test_the_version_is_one() -> None:
    """The wheel takes it from the package, as `dibo --version` does."""
    import tomllib

    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert settings["project"]["dynamic"] == ["version"]
    assert settings["tool"]["hatch"]["version"]["path"] == "dibo/__init__.py"
