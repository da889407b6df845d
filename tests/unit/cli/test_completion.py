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
SHARE = Path(__file__).parents[3] / "share"
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


def complete_in_bash(programs: Path, line: str, load: str = 'eval "$(dibo completion bash)"') -> list[str]:
    """What bash offers for the last word of `line`; `load` is what loads the completions."""
    script = (
        f"{load}\n"
        + """
        COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
        read -ra COMP_WORDS <<< "$1"
        [ "${1: -1}" != " " ] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        spec=$(complete -p "${COMP_WORDS[0]}")
        function=${spec##*-F }
        "${function%% *}" "${COMP_WORDS[0]}" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}" 2> /dev/null
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    )
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


VALUES = [
    ("disk-image-create --engine b", ["buildah"]),
    ("disk-image-create --isolation c", ["chroot"]),
    ("disk-image-create --network n", ["none"]),
    ("disk-image-create --host-hooks s", ["sandbox"]),
    ("disk-image-create -a arm6", ["arm64"]),
    ("disk-image-create --arch i", ["i386"]),
    ("disk-image-create -t vm", ["vmdk"]),
    ("disk-image-create --type qcow2,sq", ["qcow2,squashfs"]),
    (
        "disk-image-create --base ub",
        ["ubuntu", "ubuntu:focal", "ubuntu:jammy", "ubuntu:noble", "ubuntu:resolute"],
    ),
    ("disk-image-create --fs-type x", ["xfs"]),
    ("disk-image-create --layer-compression g", ["gzip"]),
    ("dibo convert -t sq", ["squashfs"]),
    ("dibo cache prune --keep-stack vm,mel", ["vm,mellanox"]),
    ("dibo schema lay", ["layout"]),
    ("ramdisk-image-create hwb", ["hwburnin"]),
]


@pytest.mark.parametrize(("line", "offered"), VALUES)
def test_bash_completes_values(line: str, offered: list[str], programs: Path) -> None:
    need("bash")
    assert sorted(complete_in_bash(programs, line)) == offered


def test_bash_completes_a_release_after_its_colon(programs: Path) -> None:
    need("bash")
    assert complete_in_bash(programs, "disk-image-create --base debian:t") == ["trixie"]


@pytest.mark.parametrize(
    ("line", "offered"), [(line, offered) for line, offered in VALUES if len(offered) == 1]
)
def test_fish_completes_values(line: str, offered: list[str], programs: Path) -> None:
    need("fish")
    script = f"dibo completion fish | source; complete --do-complete '{line}'"
    assert _shell(programs, "fish", "--no-config", "-c", script).split("\t")[0].strip() == offered[0]


def complete_in_zsh(programs: Path, line: str, load: str) -> str:
    """The command line of an interactive zsh after `line` and Tab; `load` is what loads the completions."""
    result, setup = programs / "buffer", programs / "setup"
    setup.write_text(
        f"""
        PS1=''
        {load}
        show() {{ print -r -- "$BUFFER" > {result}; exit }}
        zle -N show
        bindkey '^T' show
        """
    )
    script = f"""
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "source {setup}"
        zpty -n -w shell $'{line}\t\x14'
        while zpty -r shell output; do :; done
    """
    _shell(programs, "zsh", "-f", "-c", script)
    return result.read_text().strip()


IN_ZSH = 'autoload -U compinit; compinit -u -D; eval "$(dibo completion zsh)"'


@pytest.mark.parametrize(
    ("line", "offered"), [(line, offered) for line, offered in VALUES if len(offered) == 1]
)
def test_zsh_completes_values(line: str, offered: list[str], programs: Path) -> None:
    need("zsh")
    before = line.rpartition(" ")[0]
    assert complete_in_zsh(programs, line, IN_ZSH) == f"{before} {offered[0]}"


def test_the_installed_file_of_zsh_completes_at_the_first_tab(programs: Path) -> None:
    need("zsh")
    load = f"fpath=({SHARE}/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D"
    assert complete_in_zsh(programs, "dibo doctor --engine b", load) == "dibo doctor --engine buildah"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_installed_file_of_bash_completes(command: str, programs: Path) -> None:
    need("bash")
    file = SHARE / "bash-completion" / "completions" / command
    line = "dibo completion z" if command == "dibo" else f"{command} --cache-d"
    expected = "zsh" if command == "dibo" else "--cache-dir"
    assert complete_in_bash(programs, line, f"source {file}") == [expected]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_installed_file_of_fish_completes(command: str, programs: Path) -> None:
    need("fish")
    file = SHARE / "fish" / "vendor_completions.d" / f"{command}.fish"
    script = f"source {file}; complete --do-complete '{command} --cache-d'"
    expected = [] if command == "dibo" else ["--cache-dir"]
    assert _shell(programs, "fish", "--no-config", "-c", script).split("\t")[0].split() == expected


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
