"""`tools/setup` where packages are missing, for a user without sudo; and the one place of the version."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import dibo
from tests.support.programs import fake
from tests.support.timeouts import TIMEOUT

PROJECT = Path(__file__).parents[3]
_TOOLS = (
    "awk",
    "bash",
    "cat",
    "comm",
    "dirname",
    "echo",
    "env",
    "grep",
    "id",
    "mkdir",
    "sed",
    "sh",
    "sort",
    "xargs",
    "python3.11",
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Its programs: none of Debian's is installed, and there is no sudo."""
    fake(tmp_path, "dpkg-query", "exit 1")
    fake(tmp_path, "apt-get", f'echo apt-get "$@" >> {tmp_path}/log')
    for tool in _TOOLS:
        if found := shutil.which(tool):
            (tmp_path / "bin" / tool).symlink_to(found)
    (tmp_path / "bin/id").unlink()
    fake(tmp_path, "id", "case $1 in -un) echo ada ;; *) echo 1000 ;; esac")
    return tmp_path


def setup(machine: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{machine}/bin", "HOME": str(machine), "PYTHON": "python3.11"}
    argv = [str(machine / "bin/bash"), str(PROJECT / "tools/setup"), *words]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)


@pytest.mark.parametrize(
    ("words", "packages", "no_packages"),
    [
        ((), ["buildah", "qemu-system-x86"], ["shellcheck", "docker-registry", "docker.io", "fish"]),
        (("check",), ["buildah", "shellcheck", "docker-registry"], ["docker.io", "umoci"]),
        (("test",), ["buildah", "shellcheck", "docker.io"], []),
    ],
)
def test_a_user_without_sudo_is_told_what_root_types(
    words: tuple[str, ...], packages: list[str], no_packages: list[str], machine: Path
) -> None:
    ended = setup(machine, *words)
    assert ended.returncode == 1
    problem, command = ended.stderr.splitlines()
    assert (
        problem
        == "tools/setup: packages are missing, and there is no sudo. Let root run, and then start again:"
    )
    assert command.startswith("    apt-get install ")
    assert set(packages) <= set(command.split())
    assert not set(no_packages) & set(command.split())
    assert not (machine / "log").exists()


def test_a_user_whom_sudo_refuses_is_told_what_root_types(machine: Path) -> None:
    fake(machine, "sudo", "echo sudo: a password is required >&2; exit 1")
    ended = setup(machine)
    assert ended.returncode == 1
    problem, command = ended.stderr.splitlines()
    assert problem.startswith("tools/setup: packages are missing, and sudo is refused. Let root run")
    assert command.startswith("    apt-get install ")
    assert not (machine / "log").exists()


def test_the_version_has_one_place() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "dibo/__init__.py"
    assert version("dibo") == dibo.__version__


def test_hooks_of_pre_commit_start_programs_of_this_checkout() -> None:
    import yaml

    (repository,) = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    makefile = (PROJECT / "Makefile").read_text()
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        program = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert program == "sh" or f"$(BIN)/{program}" in makefile
    assert os.access(PROJECT / "tools/shell-scripts", os.X_OK)
