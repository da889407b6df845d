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

pytestmark = pytest.mark.slow

PROGRAM = "import sys; from dibo.cli.main import {name}; sys.exit({name}())"
SHARE = Path(__file__).parents[3] / "share"
COMMANDS = {
    "dibo": "dibo",
    "disk-image-create": "disk_image_create",
    "disk-image-get-kernel": "disk_image_get_kernel",
    "diskimage-builder": "diskimage_builder",
    "ramdisk-image-create": "ramdisk_image_create",
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the commands of this checkout, as pip installs them."""
    tmp_path = tmp_path_factory.mktemp("programs")
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


IN_BASH = 'eval "$(dibo completion bash)"'


def complete_in_bash(programs: Path, line: str, load: str = IN_BASH) -> list[str]:
    """What bash offers for the last word of `line`; `load` is what loads the completions."""
    (answer,) = complete_all_in_bash(programs, [line], load)
    return answer


def complete_all_in_bash(programs: Path, lines: list[str], load: str = IN_BASH) -> list[list[str]]:
    """What one bash offers for each line."""
    script = (
        f"{load}\n"
        + """
        for line; do
            COMP_LINE=$line COMP_POINT=${#line} COMP_TYPE=9 COMPREPLY=()
            read -ra COMP_WORDS <<< "$line"
            [ "${line: -1}" != " " ] || COMP_WORDS+=("")
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            spec=$(complete -p "${COMP_WORDS[0]}")
            function=${spec##*-F }
            "${function%% *}" "${COMP_WORDS[0]}" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}" 2> /dev/null
            printf '%s\\n' "${COMPREPLY[@]}" =
        done
    """
    )
    *answers, _ = _shell(programs, "bash", "-c", script, "bash", *lines).split("=\n")
    return [[word.strip() for word in answer.splitlines()] for answer in answers]


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
    ("dibo convert --boot sy", ["systemd-boot"]),
    ("dibo cache pr", ["prune"]),
    ("dibo key ver", ["verify"]),
    ("dibo doctor ra", ["ramdisk"]),
    ("dibo plan vm mel", ["mellanox"]),
    ("dibo plan -a risc", ["riscv64"]),
    ("dibo cache prune --keep-stack vm,mel", ["vm,mellanox"]),
    ("dibo schema lay", ["layout"]),
    ("ramdisk-image-create hwb", ["hwburnin"]),
]


def test_bash_completes_values(programs: Path) -> None:
    need("bash")
    answers = complete_all_in_bash(programs, [line for line, _ in VALUES])
    assert [(line, sorted(answer)) for (line, _), answer in zip(VALUES, answers, strict=True)] == VALUES


def test_bash_completes_a_release_after_its_colon(programs: Path) -> None:
    need("bash")
    assert complete_in_bash(programs, "disk-image-create --base debian:t") == ["trixie"]


SINGLE = [(line, offered[0]) for line, offered in VALUES if len(offered) == 1]


def test_fish_completes_values(programs: Path) -> None:
    need("fish")
    script = "dibo completion fish | source; for line in $argv; complete --do-complete $line; echo =; end"
    lines = [line for line, _ in SINGLE]
    *answers, _ = _shell(programs, "fish", "--no-config", "-c", script, *lines).split("=\n")
    assert list(zip(lines, (answer.split("\t")[0].strip() for answer in answers), strict=True)) == SINGLE


def complete_in_zsh(programs: Path, lines: list[str], load: str) -> list[str]:
    """The command line of one interactive zsh after each line and Tab; `load` is what loads the completions."""
    result, setup = programs / "buffer", programs / "setup"
    result.unlink(missing_ok=True)
    setup.write_text(
        f"""
        PS1=''
        {load}
        show() {{ print -r -- "$BUFFER" >> {result}; BUFFER= }}
        leave() {{ exit }}
        zle -N show
        zle -N leave
        bindkey '^T' show
        bindkey '^X' leave
        """
    )
    typed = "".join(f"{line}\\t\\x14" for line in lines)
    script = f"""
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "source {setup}"
        zpty -n -w shell $'{typed}\\x18'
        while zpty -r shell output; do :; done
    """
    _shell(programs, "zsh", "-f", "-c", script)
    return [line.strip() for line in result.read_text().splitlines()]


IN_ZSH = 'autoload -U compinit; compinit -u -D; eval "$(dibo completion zsh)"'


def test_zsh_completes_values(programs: Path) -> None:
    need("zsh")
    expected = [f"{line.rpartition(' ')[0]} {offered}" for line, offered in SINGLE]
    assert complete_in_zsh(programs, [line for line, _ in SINGLE], IN_ZSH) == expected


def test_the_installed_file_of_zsh_completes_at_the_first_tab(programs: Path) -> None:
    need("zsh")
    load = f"fpath=({SHARE}/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D"
    assert complete_in_zsh(programs, ["dibo doctor --engine b"], load) == ["dibo doctor --engine buildah"]


def _option(command: str) -> str:
    return "--dry-run" if command == "diskimage-builder" else "--cache-dir"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_installed_file_of_bash_completes(command: str, programs: Path) -> None:
    need("bash")
    file = SHARE / "bash-completion" / "completions" / command
    line = "dibo completion z" if command == "dibo" else f"{command} {_option(command)[:-2]}"
    expected = "zsh" if command == "dibo" else _option(command)
    assert complete_in_bash(programs, line, f"source {file}") == [expected]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_installed_file_of_fish_completes(command: str, programs: Path) -> None:
    need("fish")
    file = SHARE / "fish" / "vendor_completions.d" / f"{command}.fish"
    script = f"source {file}; complete --do-complete '{command} {_option(command)[:-2]}'"
    expected = [] if command == "dibo" else [_option(command)]
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


def test_what_the_project_file_finds(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_flavour(tmp_path / "own", "my-web", ["install.d/10-x"])
    converter = tmp_path / "converters/parcel/converter.yaml"
    converter.parent.mkdir(parents=True)
    converter.write_text("takes: root\nsummary: A parcel.\n")
    (tmp_path / "dibo.yaml").write_text(
        "images: {web: {flavours: [my-web], flavours-path: [own], converters-path: [converters]}}"
    )
    monkeypatch.chdir(tmp_path)
    lines = ["dibo flavours my-", "dibo init --add db --flavour my-", "dibo doctor -t par"]
    assert complete_all_in_bash(programs, lines) == [["my-web"], ["my-web"], ["parcel"]]
    (tmp_path / "dibo.yaml").write_text("images: [")
    assert complete_all_in_bash(programs, ["dibo flavours mys"]) == [["mysql"]]


def test_images_of_the_project_file(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dibo.yaml").write_text(
        "images: {web-shop: {flavours: [vm], architectures: [amd64, arm64]}, vm-like: {flavours: [vm]}}"
    )
    monkeypatch.chdir(tmp_path)
    lines = ["dibo build we", "dibo why vm", "dibo boot web-shop-ar", "dibo bake vm-"]
    offered = complete_all_in_bash(programs, lines)
    assert [sorted(name.strip() for name in names) for names in offered] == [
        ["web-shop", "web-shop-amd64", "web-shop-arm64"],
        ["vm", "vm-like"],
        ["web-shop-arm64"],
        ["vm-like"],
    ]
