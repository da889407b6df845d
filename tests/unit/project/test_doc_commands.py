"""Every command that README, CONTRIBUTING and docs show is one that exists, and works: tests/support/doc_table.py."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest

from dibo.cli import main
from dibo.cli.commands import COMMANDS, parser_of
from dibo.cli.options import settings_of
from dibo.errors import UsageError
from dibo.flavours.loader import Catalogue
from dibo.settings.variables import VARIABLES
from tests.support.disks.boot_disks import ext4, save
from tests.support.doc_commands import PROGRAMS, DocCommand, commands, doc_pages, name_of
from tests.support.doc_table import NO_COMMANDS, OTHER_PROGRAMS, STAND_INS, TRIALS, Trial
from tests.support.flavours import write_flavour
from tests.support.markdown import PROJECT
from tests.support.servers.fake_registry import FakeRegistry
from tests.support.web_layout import write_layout
from tests.unit.images.sources.sample_images import Maker
from tests.unit.images.sources.test_registry import put

pytestmark = pytest.mark.slow

ALL = [command for page in doc_pages() for command in commands(page)]
OF_DIBO = [command for command in ALL if command.program in PROGRAMS]
BUILT_IN = {entry.name for entry in Catalogue([PROJECT / "flavours"])}
_INCOMPLETE = ("the following arguments are required", "expected one argument")


def _ids(command: DocCommand) -> str:
    return f"{command.page}:{command.line}"


@cache
def _parser(program: str) -> argparse.ArgumentParser:
    """One for all commands: those of `dibo` take longer to make than to use."""
    return parser_of(program)


@cache
def _parsed(command: DocCommand) -> argparse.Namespace | None:
    """None for one in the text that only names a command and options of it. Raises UsageError."""
    if command.words[1:] == ("--version",):
        return None
    try:
        return _parser(command.program).parse_args(list(command.words[1:]))
    except UsageError as error:
        if command.inline and any(words in error.message for words in _INCOMPLETE):
            return None
        raise


def test_options_and_values_are_those_of_the_command() -> None:
    refused = [
        f"{_ids(command)}: {command.text}: {error}" for command in OF_DIBO if (error := _error(command))
    ]
    assert refused == []


def _error(command: DocCommand) -> UsageError | None:
    """Why dibo refuses it."""
    try:
        arguments = _parsed(command)
        if arguments is not None and not any(re.fullmatch(r"[A-Z]+", word) for word in command.words):
            architectures = getattr(arguments, "architecture", None) or ""  # of dibo build, several
            for architecture in architectures.split(","):
                changed = {"architecture": architecture or None, "lock": None}  # which is not here
                one = argparse.Namespace(**{**vars(arguments), **changed})
                settings_of(one, dict(command.variables))
    except UsageError as error:
        return error
    return None


def _flavours(arguments: argparse.Namespace) -> Iterator[str]:
    yield from getattr(arguments, "flavours", None) or ()
    for names in getattr(arguments, "keep_stack", None) or ():
        yield from names if isinstance(names, list | tuple) else str(names).split(",")


def test_flavours_that_are_named_exist() -> None:
    """They are dibo's, or stand for the reader's own; or are made on the page, or are an example that it links."""
    texts = {name_of(page): page.read_text() for page in doc_pages()}
    named = {
        (command.page, name)
        for command in OF_DIBO
        if (arguments := _parsed(command)) is not None
        for name in _flavours(arguments)
        if not re.fullmatch(r"[A-Z]+", name) and name not in BUILT_IN | STAND_INS
    }
    unmade = {(page, name) for page, name in named if not re.search(rf"(/|    |`){name}\b", texts[page])}
    assert unmade == set(), "make it on the page, link to it, or use one that exists"


def test_directories_of_the_project_hold_the_flavours() -> None:
    """A path of dibo's own, as in the image for CI jobs, has what the command names."""
    missing = set()
    for command in OF_DIBO:
        arguments = _parsed(command)
        for path in getattr(arguments, "flavours_path", None) or ():
            place = PROJECT / path.removeprefix("/src/") if path.startswith("/src/") else PROJECT / path
            if path.startswith("/src/") or path == "examples":
                here = {entry.name for entry in Catalogue([place])} | BUILT_IN
                names = set(_flavours(arguments or argparse.Namespace()))
                missing |= {(_ids(command), name) for name in names - here}
    assert missing == set()


def _trial(command: DocCommand) -> Trial | None:
    variables = "".join(f"{name}={value} " for name, value in command.variables)
    line = variables + shlex.join([command.program, *command.words[1:]])
    return next((trial for pattern, trial in TRIALS.items() if re.match(pattern, line)), None)


SHOWN = [command for command in OF_DIBO if not command.inline]


def test_every_command_is_on_the_list() -> None:
    assert [f"{_ids(command)}: {command.text}" for command in SHOWN if _trial(command) is None] == []


def test_no_entry_of_the_list_is_stale() -> None:
    used = {id(_trial(command)) for command in SHOWN}
    assert [pattern for pattern, trial in TRIALS.items() if id(trial) not in used] == []


def test_tests_that_the_list_names_exist() -> None:
    missing = []
    for name in {trial.test for trial in TRIALS.values() if trial.test}:
        path, _, function = name.partition("::")
        text = (PROJECT / path).read_text() if (PROJECT / path).exists() else ""
        if not text or (function and f"def {function}(" not in text):
            missing.append(name)
    assert missing == []


def test_other_programs_are_on_the_list() -> None:
    """A line of commands begins with a program; what is no command is output, or the content of a file."""
    unknown = set()
    for command in ALL:
        word = command.words[0]
        known = command.program in PROGRAMS or word in OTHER_PROGRAMS
        in_commands = Path(command.paragraph).name in PROGRAMS or command.paragraph in OTHER_PROGRAMS
        is_program = re.fullmatch(r"[a-z][a-z0-9-]+", word) and shutil.which(word) and word not in NO_COMMANDS
        if not known and is_program and not in_commands:
            unknown.add(f"{_ids(command)}: {command.text}")
    assert unknown == set()


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = {word for command in ALL if command.words[0] == "make" for word in command.words[1:]}
    named |= set(re.findall(r"`make ([a-z-]+)", "".join(page.read_text() for page in doc_pages())))
    assert {name for name in named if "=" not in name} - targets == set()


def test_variables_of_dibo_exist() -> None:
    documented = [PROJECT / "docs/reference/cli.md", *PROJECT.glob("converters/*/README.md")]
    known = set(VARIABLES).union(*(re.findall(r"\bDIBO_[A-Z0-9_]+", page.read_text()) for page in documented))
    named = {name for command in ALL for name, _ in command.variables}
    named |= {
        word.partition("=")[0]
        for command in ALL
        if command.words[0] == "export"
        for word in command.words[1:]
    }
    assert {name for name in named if name.startswith("DIBO_")} - known == set()


def test_the_list_of_commands_is_not_empty() -> None:
    assert len(SHOWN) > 120
    assert {command.words[1] for command in SHOWN if command.words[0] == "dibo"} == set(COMMANDS)


RUN = [
    command
    for command in dict.fromkeys(SHOWN)
    if (trial := _trial(command)) is not None and trial.codes and "…" not in shlex.join(command.words)
]


LAYOUTS = PROJECT / "docs/how-to/layouts.md"


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A directory with the files that the pages' commands read, in the place of `registry.example` one on this machine,
    and no engine. The registry's HOST:PORT."""
    home = tmp_path / "home"
    work = home / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    for name in ("my-flavour", "web-server", "monitoring"):
        write_flavour(work / "our-flavours", name, {"install.d/50-site": "#!/bin/sh\n"})
    save(work / "web.qcow2", ext4())
    (work / "deploy.ramdisk").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(600))
    (work / "deploy.kernel").write_bytes(bytes(600))
    write_layout(work / "web-layout", "1")
    with tarfile.open(work / "web.containerdisk.tar", "w") as tar:
        tar.add(work / "web-layout", ".")
    layout = re.search(r"^    table: gpt\n(?:^    .*\n)+", LAYOUTS.read_text(), re.MULTILINE)
    assert layout is not None
    (work / "server.yaml").write_text(dedent(layout[0]))
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "cat").symlink_to(shutil.which("cat") or "/bin/cat")  # the converter tar calls it
    environment = {
        "PATH": str(programs),
        "HOME": str(home),
        "DIBO_BASE": "debian",
        "DIBO_SIGN_PASSWORD": "secret",
        "DIBO_FLAVOURS_PATH": str(work / "our-flavours"),
        "ARCH": "amd64",
        "DIBO_EPOCH": "2026-11",  # no archive of packages is asked
    }
    for name in ("DOCKER_HOST", "XDG_CONFIG_HOME", "REGISTRY_AUTH_FILE", "IMG_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with FakeRegistry() as registry:
        for repository in ("images/web", "images/other", "disks/web"):
            maker = Maker()
            put(registry, maker, maker.image(compress=True)["digest"], repository, "1")
        yield registry.host


def _keys(host: str) -> None:
    """A pair of keys, and signatures by it of what commands verify."""
    assert main.dibo(["key", "generate", "team"]) == 0
    for name in ("images/web", "disks/web"):
        assert main.dibo(["key", "sign", "--sign-key", "team.key", f"{host}/{name}:1"]) == 0


@pytest.mark.parametrize("command", RUN, ids=_ids)
def test_commands_run(command: DocCommand, stand_ins: str, capsys: pytest.CaptureFixture[str]) -> None:
    trial = _trial(command)
    assert trial is not None
    if {"--sign-key", "--verify-key", "sign", "verify"} & set(command.words):
        _keys(stand_ins)
    words = [word.replace("registry.example", stand_ins).replace("docker://debian:12", f"{stand_ins}/images/web:1")
             for word in command.words[1:]]  # fmt: skip
    code = getattr(main, command.program.replace("-", "_"))(words)
    output = capsys.readouterr()
    assert code in trial.codes, output.err
    assert output.out or command.words[1:3] == ("key", "generate")


def test_the_blocks_of_shell_are_shell() -> None:
    """Lines of commands have no syntax that a shell refuses."""
    lines = [command.text for command in ALL if command.program in PROGRAMS and not command.inline]
    script = "\n".join(line for line in lines if "…" not in line and not line.endswith("\\"))
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
