"""The face: help, exit codes, what goes to which stream, and what is imported for it."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import pytest

from dibo import __version__, errors
from dibo.cli import main
from dibo.errors import DiboError
from dibo.settings.variables import VARIABLES
from tests.support.flavours import write_flavour

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3]
COMMANDS = (
    "init",
    "plan",
    "build",
    "bake",
    "convert",
    "push",
    "tree",
    "promote",
    "verify",
    "why",
    "lock",
    "inspect",
    "diff",
    "report",
    "sbom",
    "provenance",
    "cache",
    "clean",
    "key",
    "flavours",
    "elements",
    "shell",
    "boot",
    "ssh",
    "boot-server",
    "doctor",
    "schema",
    "completion",
)
EXIT_CODES = PROJECT / "docs" / "reference" / "exit-codes.md"
KINDS = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, DiboError) and each.__module__ == errors.__name__
]

_HOME = tempfile.TemporaryDirectory(prefix="dibo-test-")


def dibo(
    *arguments: str, entry: str = "dibo", environment: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process of its own."""
    program = f"import sys; from dibo.cli.main import {entry}; sys.exit({entry}())"
    base = {"PATH": "/usr/bin:/bin", "HOME": _HOME.name, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env=base | (environment or {}),
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.dibo([command, "-h"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: dibo {command} ")


def test_the_commands_are_those_that_are_tested(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.dibo(["-h"])
    listed = re.findall(r"^    ([a-z-]+)(?: |$)", capsys.readouterr().out, re.MULTILINE)
    assert tuple(listed) == COMMANDS


def test_help_of_disk_image_create_explains_variables_and_phases(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.disk_image_create(["-h"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for word in (
        *VARIABLES,
        "-a, --arch ARCH",
        "-o, --output NAME",
        "-t, --type TYPE",
        "-x, --verbose",
        "block-device-size.d",
        "first-boot.d",
    ):
        assert word in text, word


def test_exit_codes_differ_and_leave_the_shell_s_alone() -> None:
    codes = {kind: kind.exit_code for kind in KINDS}
    assert len(set(codes.values())) == len(codes)
    assert all(2 <= code < 126 for code in codes.values())
    assert all(kind.meaning for kind in KINDS)
    own = [kind for kind in KINDS if "meaning" not in vars(kind) or "exit_code" not in vars(kind)]
    assert not own


@pytest.mark.skipif(not EXIT_CODES.exists(), reason="docs/reference/exit-codes.md is not written yet")
def test_exit_codes_are_documented() -> None:
    text = EXIT_CODES.read_text()
    for kind in KINDS:
        assert re.search(rf"^\| *`?{kind.exit_code}`? *\|", text, re.MULTILINE), kind


def test_the_version() -> None:
    assert dibo("--version") == (0, f"dibo {__version__}\n", "")
    assert dibo("--version", entry="disk_image_create") == (0, f"disk-image-create {__version__}\n", "")


def test_errors_go_to_stderr_with_a_code_and_a_hint(tmp_path: Path) -> None:
    code, out, err = dibo("flavours", "web-sever", environment={"FLAVOURS_DIR": str(tmp_path)})
    assert (code, out) == (errors.UnknownFlavour.exit_code, "")
    assert err.startswith("dibo: error: there is no flavour 'web-sever'")
    assert f"\n  looked in {tmp_path}" in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "COMMAND"),
        ("no-such-command", "dibo has no command 'no-such-command'"),
        ("schema", "file"),
        ("plan --no-such-option x", "--no-such-option"),
        ("boot-server F --port many", "--port: expected a number from 0 to 65535, got 'many'"),
        ("boot-server F --workers 0", "--workers: expected a number from 1 to 64, got '0'"),
        ("boot-server F --patience=-1", "--patience: expected a number"),
        ("convert IMAGE --max-entries 0", "--max-entries: expected a number of 1 or more, got '0'"),
        ("convert IMAGE --max-ratio many", "--max-ratio: expected a number"),
        ("cache prune h:1/a --older-than=-3", "--older-than: expected a number of 0 or more, got '-3'"),
        ("cache prune h:1/a --older-than -3", "--older-than"),
        ("cache prune h:1/a --older-than 3 --dry-run --yes", "not allowed with"),
        ("cache list h:1/a --keep-stack vm", "--keep-stack"),
        ("cache list h:1/a --local", "--local"),
        ("cache list h:1/a --yes", "--yes"),
        ("verify web.qcow2 -a arm64", "-a"),
    ],
)
def test_a_command_line_that_makes_no_sense(line: str, message: str) -> None:
    code, out, err = dibo(*line.split())
    assert (code, out) == (2, "")
    assert "usage: dibo" in err
    assert message in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("plan --layout layout.yaml", "dibo plan --layout --layout-file layout.yaml"),
        ("plan --layout ./vm", "dibo plan --layout --layout-file ./vm"),
        ("plan vm --layout-file layout.yaml", "--layout-file works only with --layout"),
        ("plan vm --image-size 3", "--image-size works only with --layout"),
        ("plan vm --fs-type ext3", "--fs-type works only with --layout"),
        ("plan vm --layout --containerfile d", "--containerfile works only without --layout"),
        ("build vm --include-local", "--include-local works only with --push"),
    ],
)
def test_options_that_do_not_go_together(line: str, message: str) -> None:
    code, out, err = dibo(*line.split())
    assert (code, out) == (errors.UsageError.exit_code, "")
    assert message in err


def test_a_plan_of_nothing_is_none_but_a_layout_needs_no_flavours(tmp_path: Path) -> None:
    for arguments in (("plan",), ("plan", "--layout")):
        code, _, err = dibo(*arguments)
        assert (code, "dibo plan needs flavours" in err) == (errors.UsageError.exit_code, True)
    file = tmp_path / "layout.yaml"
    file.write_text(
        "{table: mbr, partitions: [{name: r, type: linux, size: rest, filesystem: ext4, mount: /}]}"
    )
    code, out, _ = dibo("plan", "--layout", "--layout-file", str(file), "--image-size", "3")
    assert (code, out.splitlines()[0]) == (0, "mbr, 3GiB (--image-size), partitions at multiples of 1MiB")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("boot --size nan x.qcow2", "--size"),
        ("convert --max-size nan x", "--max-size"),
        ("convert --image-size nan x", "--image-size"),
        ("init --image-size 0 new", "--image-size"),
    ],
)
def test_the_option_whose_value_makes_no_sense_is_named(line: str, name: str) -> None:
    code, _, err = dibo(*line.split(), environment={"DIBO_PROJECT": "none"})
    assert code == errors.UsageError.exit_code
    assert f"error: {name}: expected " in err
    assert "IMAGE_SIZE" not in err


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("plan --layout --layout-file /dev/zero", 50, "cannot read the layout /dev/zero: it has more than"),
        (
            "plan --cache r.example/c --policy /dev/zero vm",
            2,
            "cannot read the policy /dev/zero: it has more",
        ),
        ("convert --images-from /dev/zero", 2, "cannot read the list /dev/zero: it has more than"),
        ("convert oci-archive:/dev/zero", 33, "/dev/zero is a device, and no archive"),
        ("plan --base /dev/zero vm", 2, "'/dev/zero' cannot be a base: it is no file"),
    ],
)
def test_a_file_without_an_end(tmp_path: Path, line: str, code: int, message: str) -> None:
    words = [*line.split(), *(["--cache-dir", str(tmp_path)] if "--layout" not in line else [])]
    ended, _, err = dibo(*words, environment={"DIBO_PROJECT": "none", "HOME": str(tmp_path)})
    assert (ended, message in err) == (code, True), err


def test_a_variable_that_makes_no_sense() -> None:
    code, _, err = dibo("vm", entry="disk_image_create", environment={"IMAGE_SIZE": "abc"})
    assert code == errors.UsageError.exit_code
    assert "expected a number of GB, got 'abc'" in err
    assert "Traceback" not in err


def test_answers_go_to_stdout(tmp_path: Path) -> None:
    write_flavour(tmp_path / "mine", "web", ["install.d/10-x", "install.d/data"], yaml="summary: my web\n")
    write_flavour(tmp_path / "theirs", "web", yaml="summary: their web\n")
    environment = {"DIBO_FLAVOURS_PATH": f"{tmp_path}/mine:{tmp_path}/theirs"}
    code, out, err = dibo("flavours", environment=environment)
    assert (code, err) == (0, "")
    (line,) = [line for line in out.splitlines() if line.startswith("web")]
    assert "my web" in line
    assert str(tmp_path / "mine" / "web") in line
    assert f"shadows {tmp_path}/theirs/web" in out
    assert not [
        line for line in out.splitlines() if line.startswith("vm ") and "/" in line
    ]  # comes with dibo
    code, out, err = dibo("flavours", "web", environment=environment)
    assert (code, err) == (0, "")
    assert "hook      install.d/10-x" in out
    assert "data      install.d/data" in out


def test_a_directory_that_cannot_be_a_flavour_is_named(tmp_path: Path) -> None:
    for name in ("My_Web", "Notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "My_Web" / "install.d").mkdir()
    code, out, err = dibo("flavours", environment={"FLAVOURS_DIR": str(tmp_path)})
    assert (code, "My_Web" in out) == (0, False)
    (line,) = err.splitlines()
    assert line.startswith(
        f"dibo: warning: {tmp_path}/My_Web cannot be a flavour: its name 'My_Web' is not allowed; use"
    )


def test_a_reader_that_goes_away() -> None:
    program = "import sys; from dibo.cli.main import dibo; sys.exit(dibo(['flavours']))"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert b"Traceback" not in running.stderr.read()


INTERRUPTED = """
import os, signal, sys
from dibo.cli.main import dibo
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "dibo.cli.run":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.exit(dibo())
"""


def interrupted_at_start(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "flavours", *words],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PROJECT)},
    )


def test_an_interrupt_while_it_starts() -> None:
    done = interrupted_at_start()
    said = "dibo: interrupted by SIGINT; nothing was left behind\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)
    done = interrupted_at_start("--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interrupt_while_it_starts_is_json_for_programs() -> None:
    done = interrupted_at_start("--json")
    assert done.returncode == 130
    (event,) = (json.loads(line) for line in done.stderr.splitlines())
    assert (event["document"], event["text"]) == (
        "message",
        "dibo: interrupted by SIGINT; nothing was left behind",
    )
    assert json.loads(done.stdout)["error"]["kind"] == "Interrupted"


def test_json_may_be_shortened() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dibo", "flavours", "no-such-flavour", "--js"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PROJECT)},
    )
    assert done.returncode == 11
    assert {json.loads(line)["document"] for line in done.stderr.splitlines()} == {"error"}
    assert json.loads(done.stdout)["error"]["exit_code"] == 11


SECOND = """
import os, signal, sys
from dibo.cli.main import dibo
from dibo.system.report import Report
close = Report.close
def interrupted(report):
    os.kill(os.getpid(), signal.SIGINT)
    close(report)
def interrupting(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)
    Report.close = interrupted
Report.close = interrupted
import dibo.cli.flavours as flavours
flavours.run = interrupting
sys.exit(dibo())
"""


def test_a_second_interrupt_while_the_first_is_answered_does_not_count() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SECOND, "flavours", "--json"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PROJECT)},
    )
    assert done.returncode == 130
    assert json.loads(done.stdout)["error"]["message"] == "interrupted by SIGINT"
    (event,) = (json.loads(line) for line in done.stderr.splitlines())
    assert event["text"] == "dibo: interrupted by SIGINT; nothing was left behind"


@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize(("line", "code"), [("flavours vm", 0), ("flavours no-such-flavour", 11)])
def test_closed_descriptors(closed: str, line: str, code: int) -> None:
    command = f'exec "$0" -m dibo {line} {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_names_that_are_not_utf_8_are_printed_as_they_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dibo", "flavours", b"\xff"],
        capture_output=True,
        env={"PYTHONPATH": str(PROJECT)},
    )
    assert done.returncode == errors.UnknownFlavour.exit_code
    assert b"Traceback" not in done.stderr


def test_an_answer_that_cannot_be_written_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dibo", "flavours"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(PROJECT)},
        )
    assert done.returncode == DiboError.exit_code
    assert done.stderr.startswith("dibo: error: [Errno 28] No space left on device: '<stdout>'\n")
    assert "ext4" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_answer_that_the_encoding_has_no_letters_for(tmp_path: Path, encoding: str) -> None:
    write_flavour(tmp_path, "small", {"flavour.yaml": "summary: ümläut 漢字\n"})
    done = subprocess.run(
        [sys.executable, "-m", "dibo", "flavours", "--flavours-path", tmp_path],
        capture_output=True,
        env={"PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u6f22\\u5b57" in done.stdout


def test_a_flavour_whose_name_is_too_long_for_a_file_is_unknown() -> None:
    code, _, err = dibo("plan", "a" * 300)
    assert code == errors.UnknownFlavour.exit_code
    assert "there is no flavour" in err


def test_the_schema_is_json() -> None:
    _, out, _ = dibo("schema", "flavour")
    jsonschema.Draft202012Validator.check_schema(json.loads(out))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(shell: str) -> None:
    code, out, _ = dibo("completion", shell)
    assert code == 0
    assert "disk-image-create" in out


def test_flavours_are_completed(tmp_path: Path) -> None:
    write_flavour(tmp_path, "web-server")
    line = "dibo build web-"
    environment = {
        "_ARGCOMPLETE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "out"),
        "FLAVOURS_DIR": str(tmp_path),
    }
    dibo(environment=environment)
    assert (tmp_path / "out").read_text().split("\013") == ["web-server "]


HEAVY = ("oras", "requests", "jsonschema", "argcomplete", "urllib3", "rich")


@pytest.mark.parametrize(
    ("arguments", "also"),
    [
        (("--version",), ("yaml", "dibo.api.session", "dibo.system.process", "http")),
        (("-h",), ("yaml",)),
        (("flavours",), ()),
    ],
    ids=["--version", "-h", "flavours"],
)
def test_nothing_heavy_is_imported(arguments: tuple[str, ...], also: tuple[str, ...]) -> None:
    program = (
        "import sys\nfrom dibo.cli.main import dibo\n"
        f"try: dibo({list(arguments)})\nexcept SystemExit: pass\n"
        "print('MODULES', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("MODULES")]
    assert not set(line.split()) & {*HEAVY, *also}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cache prune", "expected a repository or --local"),
        ("cache prune h:1/a --max-size 3", "--max-size goes with --local"),
        ("cache prune h:1/a --local", "expected a repository or --local, got both"),
        ("cache prune --local --max-size many", "--max-size 'many' is not a number of GB"),
    ],
)
def test_what_is_pruned_is_said(line: str, message: str) -> None:
    code, out, err = dibo(*line.split())
    assert (code, out) == (errors.UsageError.exit_code, "")
    assert message in err


@pytest.mark.parametrize("words", ["plan", "why"])
def test_what_builds_nothing_promises_no_output_of_hooks(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main.dibo([words, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "store them" not in text
    assert "output of hooks" not in text
    assert "look for layers in this repository" in text
