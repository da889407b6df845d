"""Imports point one way, and each door to the world is one file.

A folder of dibo imports only folders above it in the table of docs/explanation/architecture.md.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.tools import modules

PROJECT = Path(__file__).parents[3]
PACKAGE = PROJECT / "dibo"

TABLE = PROJECT / "docs/explanation/architecture.md"


def listed() -> list[str]:
    """The folders (and the two modules beside them) in the order in which they may import each other."""
    text = TABLE.read_text().partition("<!-- folders")[2].partition("<!-- end -->")[0]
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


ORDER = listed()

DOORS = {
    "subprocess": {"system.process"},
    "oras": {"images.registry.login"},
    "rich": {"system.live_rows"},
    "requests": {"images.registry.client"},
    "urllib3": {
        "images.registry.answer",
        "images.registry.client",
        "system.docker_api",
    },  # whose errors they see
    "docker": {"system.docker_api"},
    "urllib.request": {"system.http"},
    "http": {"system.http", "deploy.http_server"},  # as a client, and as a server
    "ssl": {"deploy.tls", "images.registry.client", "system.http"},
    "socket": {
        "deploy.http_server",
        "deploy.notify",
        "deploy.tls",
        "images.sources.layer_reader",  # a pair, over which descriptors are passed
        "images.sources.tarsplit",  # the other end: a program of its own
        "machines.channels",
        "machines.qmp",
    },
    "distributed": {"api.fleet.cluster", "api.fleet.on_worker"},
    "argparse": {"cli"},
    "argcomplete": {"cli"},
}

PURE = ("errors", "units", "tree", "layout", "plan")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "dibo"


@cache
def trees() -> dict[str, ast.Module]:
    """By the name of the module."""
    return {name_of(PACKAGE / module.path): module.tree for module in modules()}


@cache
def imports(tree: ast.AST) -> frozenset[str]:
    """Full names of modules that are imported anywhere in `tree`, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a module is"
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def own(tree: ast.AST) -> set[str]:
    """Modules of dibo that are imported, named as in the table."""
    found = {name.removeprefix("dibo.") for name in imports(tree) if name.split(".")[0] == "dibo"}
    return found & set(trees())


def folder(module: str) -> str:
    return module.partition(".")[0]


def test_the_table_lists_every_folder_and_only_those() -> None:
    there = {folder(module) for module in trees()} - {"dibo", "__main__"}
    assert sorted(ORDER) == sorted(there)


def test_a_folder_imports_only_folders_above_it() -> None:
    wrong = [
        f"{module} imports {other}"
        for module in sorted(trees().keys() - {"dibo", "__main__"})
        for other in sorted(own(trees()[module]) - {"dibo"})
        if ORDER.index(folder(other)) > ORDER.index(folder(module))
    ]
    assert not wrong, "the table lists what they import further down"


def test_no_circles() -> None:
    """Within a layer too: modules can be put in a row in which each imports only earlier ones."""
    left = {module: own(tree) - {module, "dibo"} for module, tree in trees().items()}
    while left:
        free = {module for module, others in left.items() if not others & left.keys()}
        assert free, f"these import each other in a circle: {sorted(left)}"
        left = {module: others for module, others in left.items() if module not in free}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_is_one_file_or_folder(door: str) -> None:
    users = {
        module
        for module, tree in trees().items()
        if any(name == door or name.startswith(f"{door}.") for name in imports(tree))
    }
    assert {folder(user) if folder(user) in DOORS[door] else user for user in users} == DOORS[door]


def calls(tree: ast.AST, *names: str) -> set[str]:
    """Which of `names`, such as print or os.fork, are called in `tree`."""
    found = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return found & set(names)


def test_only_the_report_prints() -> None:
    assert {module for module, tree in trees().items() if calls(tree, "print", "sys.stdout.write")} == {
        "system.report"
    }


def test_nobody_starts_processes_in_other_ways() -> None:
    ways = (
        "os.system",
        "os.popen",
        "os.fork",
        "os.execv",
        "os.execvp",
        "os.posix_spawn",
        "os.spawnv",
        "pty.spawn",
    )
    users = {module for module, tree in trees().items() if calls(tree, *ways)}
    assert users == {"images.sources.tarsplit"}  # a program of its own


def test_pure_folders_know_no_clock_no_environment_and_no_disk() -> None:
    impure = {"os", "time", "subprocess", "socket", "shutil", "tempfile", "random", "secrets"}
    pure = {module: tree for module, tree in trees().items() if folder(module) in PURE}
    assert pure
    assert {module: used for module, tree in pure.items() if (used := imports(tree) & impure)} == {}
