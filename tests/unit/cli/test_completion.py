"""Completions, in real shells: what `dibo completion` prints is sourced, and what Tab would do is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.flavours import write_flavour
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT

PROGRAM = "import sys; from dibo.cli.main import {name}; sys.exit({name}())"
COMMANDS = {
    "dibo": "dibo",
    "disk-image-create": "disk_image_create",
    "disk-image-get-kernel": "disk_image_get_kernel",
    "ramdisk-image-create": "ramdisk_image_create",
}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with the commands of this checkout, as pip installs them."""
    for command, name in COMMANDS.items():
        path = tmp_path / "bin" / command
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\n# PYTHON_ARGCOMPLETE_OK\n{PROGRAM.format(name=name)}\n")
        path.chmod(0o755)
    return tmp_path / "bin"


def _shell(programs: Path, *argv: str) -> str:
    project = str(Path(__file__).parents[3])
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": project, "HOME": str(programs)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def complete_in_bash(programs: Path, line: str) -> list[str]:
    """What bash offers for the last word of `line`."""
    script = """
        eval "$(dibo completion bash)"
        COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
        read -ra COMP_WORDS <<< "$1"
        [ "${1: -1}" != " " ] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        spec=$(complete -p "${COMP_WORDS[0]}")
        function=${spec##*-F }
        "${function%% *}" "${COMP_WORDS[0]}" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}" 2> /dev/null
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    return [word.strip() for word in _shell(programs, "bash", "-c", script, "bash", line).splitlines()]


def test_bash_completes_flavours(programs: Path) -> None:
    need("bash")
    assert complete_in_bash(programs, "disk-image-create -o web devs") == ["devstack-user"]
    assert complete_in_bash(programs, "dibo plan vm m") == ["mellanox", "mysql"]


def test_bash_completes_flavours_of_a_search_path(programs: Path, tmp_path: Path) -> None:
    need("bash")
    write_flavour(tmp_path / "mine", "my-web", ["install.d/10-x"])
    line = f"disk-image-create --flavours-path {tmp_path / 'mine'} my-"
    assert complete_in_bash(programs, line) == ["my-web"]


def test_bash_completes_commands_and_options(programs: Path) -> None:
    need("bash")
    assert complete_in_bash(programs, "dibo fl") == ["flavours"]
    assert complete_in_bash(programs, "disk-image-create --flav") == ["--flavours-path"]
    assert complete_in_bash(programs, "dibo completion ") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_parses(shell: str, programs: Path, tmp_path: Path) -> None:
    need(shell)
    script = tmp_path / "script"
    script.write_text(_shell(programs, "dibo", "completion", shell))
    for command in COMMANDS:
        assert command in script.read_text()
    _shell(programs, shell, "-n", str(script))


def test_fish_completes_flavours(programs: Path) -> None:
    need("fish")
    script = "dibo completion fish | source; complete --do-complete 'disk-image-create -o web devs'"
    assert _shell(programs, "fish", "--no-config", "-c", script).split() == ["devstack-user"]
