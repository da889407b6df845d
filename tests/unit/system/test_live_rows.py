"""What a person sees on a terminal while something is under way, and what stays afterwards."""

from __future__ import annotations

import re
import signal
import subprocess

import pytest

from tests.support.terminal import PROJECT, on_terminal, script
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

TITLE = "[3/8] web-server install.d: 10-document-root, 20-certificates, 30-logs, 40-site, 50-enable"
STEP = f"""
with report.task({TITLE!r}) as task:
    task.running("20-certificates")
    task.line("Setting up " + "a long line of output " * 20)
    go()
    report.warn("something is odd")
    go()
"""
BYTES = """
with report.task("disk") as task:
    task.progress(25 << 20, 100 << 20)
    go()
    task.note("491 MiB of files on 2 GiB")
"""
SGR = re.compile(rb"\x1b\[[0-9;]*m")
MOVES = re.compile(rb"\x1b(?!\[[0-9;]*m)|\r(?!\n)")


def is_shown(rows: list[str]) -> bool:
    return any("│ Setting up" in row for row in rows)


def waited_for_bytes(rows: list[str]) -> bool:
    return any("25 MiB/100 MiB" in row for row in rows)


@pytest.mark.parametrize("columns", [80, 200])
def test_a_step_is_a_row_and_its_last_line_another(columns: int) -> None:
    with on_terminal(script(STEP), columns=columns) as terminal:
        step, output = terminal.wait_for(is_shown)
        assert re.search(r" \d+ s$", step)
        assert (TITLE in step) == (columns == 200)
        assert ("…" in step) == (columns == 80)
        assert output.startswith("  20-certificates │ Setting up a long line of output")
        assert output.endswith("…")
        assert len(output) == columns - 1
        terminal.go()
        rows = terminal.wait_for(lambda rows: rows[0] == "dibo: warning: something is odd" and is_shown(rows))
        assert len(rows) == 3, "rows move below what is said"
        terminal.go()
        assert terminal.end() == 0
        assert terminal.rows[0] == "dibo: warning: something is odd"
        ended = "".join(terminal.rows[1:])
        assert re.fullmatch(re.escape(TITLE) + r": done \(\d+\.\d s\)", ended), "nothing else is left"


@pytest.mark.parametrize("columns", [80, 200])
def test_bytes_are_a_bar(columns: int) -> None:
    with on_terminal(script(BYTES), columns=columns) as terminal:
        (row,) = terminal.wait_for(waited_for_bytes)
        assert "━" in row
        assert len(row) < columns
        terminal.go()
        assert terminal.end() == 0
        (row,) = terminal.rows
        assert re.fullmatch(r"disk: done \(\d+\.\d s, 491 MiB of files on 2 GiB\)", row)


def test_steps_of_several_threads_are_rows_of_their_own() -> None:
    text = """
import threading
begun, ended = threading.Event(), threading.Event()
def upload():
    with report.task("send base", minor=True) as task:
        task.progress(1 << 20, 4 << 20)
        begun.set()
        ended.wait()
thread = threading.Thread(target=upload)
thread.start()
begun.wait()
with report.task("install") as task:
    report.line("output of the step")
    go()
ended.set()
thread.join()
"""
    with on_terminal(script(text)) as terminal:
        terminal.wait_for(lambda rows: len(rows) == 3 and "output of the step" in rows[2])
        assert "send base" in terminal.rows[0]
        assert "1 MiB/4 MiB" in terminal.rows[0]
        assert "install" in terminal.rows[1]
        terminal.go()
        assert terminal.end() == 0
        assert [row.partition(" (")[0] for row in terminal.rows] == ["install: done"]


WIDE = [
    "漢字" * 100,
    "\u202eright to left\u202c" * 20,
    "e\u0301" * 300,
    "\x1b[2J\x1b[H\x9b1;1H orders \x07" * 10,
    "tab\t" * 60,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 " * 60,
    "one\ntwo\n" * 10,
    "10%\r20%\r" + "x" * 300,
]


@pytest.mark.parametrize("columns", [80, 200])
def test_no_line_takes_two_rows(columns: int) -> None:
    text = f"""
with report.task("first") as task:
    task.line("begun")
    go()
    for line in {WIDE!r}:
        task.line(line)
        report.say("said")
        go()
"""
    with on_terminal(script(text), columns=columns) as terminal:
        terminal.wait_for(lambda rows: "  begun" in rows)
        for number in range(len(WIDE)):
            terminal.go()
            rows = terminal.wait_for(lambda rows, number=number: rows[:-2] == ["said"] * (number + 1))  # type: ignore[misc]
            assert "first" in rows[-2]
            assert terminal.screen.cursor.y == number + 1, "the cursor waits at the first row"
        terminal.go()
        assert terminal.end() == 0
        assert [row.partition(" (")[0] for row in terminal.rows] == ["said"] * len(WIDE) + ["first: done"]


def test_a_terminal_that_becomes_narrower() -> None:
    with on_terminal(script(STEP), columns=200) as terminal:
        terminal.wait_for(is_shown)
        assert (terminal.screen.cursor.x, terminal.screen.cursor.y) == (0, 0), (
            "what wraps anew is erased from here"
        )
        terminal.resize(80)
        terminal.wait_for(lambda rows: len(rows) == 2 and all(row.endswith(("…", " s")) for row in rows))
        terminal.resize(40)
        terminal.wait_for(lambda rows: len(rows) == 2 and all(row.endswith(("…", " s")) for row in rows))
        terminal.resize(120)
        terminal.wait_for(lambda rows: len(rows) == 2 and len(rows[1]) == 119)
        terminal.go()
        terminal.go()
        assert terminal.end() == 0
        assert terminal.rows[0] == "dibo: warning: something is odd"
        assert len(terminal.rows) == 2


def test_rows_at_the_bottom_of_the_screen_and_more_than_it_has() -> None:
    text = """
import contextlib
for number in range(40):
    report.say(f"line {number}")
with contextlib.ExitStack() as stack:
    for number in range(20):
        stack.enter_context(report.task(f"task {number}", minor=True))
    go()
    report.say("said")
    go()
"""
    with on_terminal(script(text), lines=10) as terminal:
        terminal.wait_for(lambda rows: any("task 8" in row for row in rows))
        terminal.go()
        terminal.wait_for(lambda rows: rows[0] == "said" and len(rows) == 10)
        terminal.go()
        assert terminal.end() == 0
        assert terminal.rows[-1] == "said"


def test_an_interrupt_leaves_no_rows() -> None:
    text = """
from dibo.errors import Interrupted
from dibo.system.signals import interruptible
try:
    with interruptible(), report.task("install") as task:
        task.line("output")
        go()
except Interrupted:
    pass
"""
    with on_terminal(script(text)) as terminal:
        terminal.wait_for(lambda rows: "  output" in rows)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 0
        (row,) = terminal.rows
        assert row.startswith("install: interrupted (")


def test_a_dumb_terminal_gets_lines_and_no_escapes() -> None:
    with on_terminal(script(STEP), variables={"TERM": "dumb", "FORCE_COLOR": "1"}) as terminal:
        terminal.go()
        terminal.go()
        assert terminal.end() == 0
        assert b"\x1b" not in terminal.raw
        lines = terminal.raw.decode().splitlines()
        assert lines[0] == f"{TITLE} …"
        assert lines[1] == "dibo: warning: something is odd"
        assert lines[2].startswith(f"{TITLE}: done (")


def test_a_terminal_of_ci_gets_lines_that_stay() -> None:
    with on_terminal(script(STEP), variables={"CI": "true"}) as terminal:
        terminal.go()
        terminal.go()
        assert terminal.end() == 0
        assert MOVES.search(terminal.raw) is None
        assert SGR.search(terminal.raw) is not None
        assert SGR.sub(b"", terminal.raw).decode().startswith(f"{TITLE} …\r\n")


def test_no_color_is_about_colours_only() -> None:
    with on_terminal(script(BYTES), variables={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for(waited_for_bytes)
        terminal.go()
        assert terminal.end() == 0
        assert SGR.search(terminal.raw) is None


def test_colours_of_outcomes_and_errors() -> None:
    text = """
from dibo.errors import HookFailed
with report.task("fine"):
    pass
try:
    with report.task("bad"):
        raise HookFailed(
            "the hook 10-x of flavour 'web' in install.d ended with exit code 3",
            hint="| out of luck\\nlog: /tmp/log\\nto look at what it left:  dibo shell --at failed-1",
        )
except HookFailed as error:
    report.error(error)
"""
    with on_terminal(script(text)) as terminal:
        assert terminal.end() == 0
        assert [row.partition(" (")[0] for row in terminal.rows] == [
            "fine: done",
            "bad: failed",
            "dibo: error: the hook 10-x of flavour 'web' in install.d ended with exit code 3",
            "  | out of luck",
            "  log: /tmp/log",
            "  to look at what it left:  dibo shell --at failed-1",
        ]
        colours = [
            terminal.screen.buffer[row][column].fg for row, column in ((0, 6), (1, 5), (2, 0), (2, 13))
        ]
        assert colours == ["green", "red", "red", "default"]


def piped(text: str, **variables: str) -> bytes:
    ended = subprocess.run(
        script(text),
        capture_output=True,
        timeout=TIMEOUT,
        env={
            "PYTHONPATH": str(PROJECT),
            "TERM": "xterm",
            **variables,
        },
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == b""
    return ended.stderr


SHORT = STEP.replace("go()", "pass")


def test_a_pipe_gets_lines() -> None:
    assert b"\x1b" not in piped(SHORT)
    assert piped(SHORT).decode().splitlines()[0] == f"{TITLE} …"


def test_colours_can_be_forced_and_nothing_moves() -> None:
    for variables in ({"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}):
        text = piped(SHORT, **variables)
        assert SGR.search(text) is not None
        assert MOVES.search(text) is None
    assert b"\x1b" not in piped(SHORT, FORCE_COLOR="1", NO_COLOR="1")
    assert b"\x1b" not in piped(SHORT, FORCE_COLOR="")


GOES_ON = """
import time
for number in range(3):
    with report.task("t" * 100):
        report.say("x" * 70000)
print("made", flush=True)
"""


@pytest.mark.parametrize(
    "redirection", ["2>&-", "2> /dev/full", "2> >(exec true; wait)", "2> >(head -c 1 > /dev/null)"]
)
def test_the_work_goes_on_where_nobody_listens(redirection: str) -> None:
    text = GOES_ON.replace("report.say", "report.line('x') or report.say")
    code = script(text)[2].replace(
        "report = Report()",
        "from dibo.cli.main import _open_standard_streams\n_open_standard_streams()\nreport = Report()",
    )
    ended = subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {redirection}', script("")[0], code],
        stdout=subprocess.PIPE,
        timeout=TIMEOUT,
        env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin"},
    )
    assert (ended.returncode, ended.stdout) == (0, b"made\n")


def test_rich_is_imported_when_a_row_is_drawn_and_not_before() -> None:
    text = """
def loaded(): return "rich" in sys.modules
report.say("at first" if not loaded() else "too early")
with report.task("long") as task:
    task.line("shown")
    go()
report.say("now" if loaded() else "never")
"""
    with on_terminal(script(text)) as terminal:
        terminal.wait_for(lambda rows: "  shown" in rows)
        terminal.go()
        assert terminal.end() == 0
        assert [row for row in terminal.rows if "(" not in row] == ["at first", "now"]
