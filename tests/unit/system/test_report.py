"""What is told to people: hooks, registries and images cannot give orders to their terminal."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path

import pytest

from dibo.errors import HookFailed, Interrupted
from dibo.system.report import Report, answer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CI", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


ORDERS = [
    ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
    ("\x9b2J", "\\x9b2J"),
    ("a\x00b\x7f", "a\\x00b\\x7f"),
    ("evil\u202egnp.exe", "evil\\u202egnp.exe"),
    ("tab\tand ümläut — …", "tab\tand ümläut — …"),
    ("(Reading … 5%\r(Reading … 100%", "(Reading … 100%"),
    ("done\r", "done"),
]


@pytest.mark.parametrize(("text", "shown"), ORDERS)
@pytest.mark.parametrize("terminal", [True, False])
def test_control_characters_are_shown_as_escapes(text: str, shown: str, terminal: bool) -> None:
    stream = Terminal() if terminal else io.StringIO()
    report = Report(stream, verbose=True)
    report.line(text)
    report.say(text)
    report.error(HookFailed("failed", hint=text))
    text = stream.getvalue().replace("\x1b[1;31mdibo: error:\x1b[0m", "dibo: error:")
    assert text == f"    {shown}\n{shown}\ndibo: error: failed\n  {shown}\n"


def test_what_is_noted_of_a_step_gives_no_orders_and_is_one_line() -> None:
    stream = Terminal()
    with Report(stream).task("download") as task:
        task.note("first\nlast \x1b[2J")
    assert "\x1b[2J" not in stream.getvalue()
    assert stream.getvalue().splitlines()[-1].endswith(", last \\x1b[2J)")


def test_of_a_long_path_both_ends_are_shown() -> None:
    """Not of what a hook wrote."""
    stream, path = io.StringIO(), f"/begin/{'a/' * 2000}end"
    report = Report(stream)
    report.warn(path)
    with report.task(f"read {path}"):
        pass
    report.error(HookFailed(f"no file {path}", hint=f"dibo inspect {path}"))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert all(len(line) < 400 and "/begin/a/" in line and "a/end" in line for line in lines)
    report.error(HookFailed("failed", hint=f"| {path}"))
    assert path in stream.getvalue()


def test_lines_of_one_text_stay_apart() -> None:
    stream = io.StringIO()
    Report(stream).say("one\ntwo\r\nthree")
    assert stream.getvalue() == "one\ntwo\nthree\n"


@pytest.mark.parametrize(("text", "shown"), ORDERS)
def test_answers_keep_their_bytes_but_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, text: str, shown: str
) -> None:
    for stream, expected in ((io.StringIO(), text), (Terminal(), shown)):
        monkeypatch.setattr(sys, "stdout", stream)
        answer(text)
        assert stream.getvalue() == f"{expected}\n"


def test_a_task_that_a_signal_ends_was_interrupted() -> None:
    stream = io.StringIO()
    for error in (Interrupted(signal.SIGINT), HookFailed("no")):
        with pytest.raises(type(error)), Report(stream).task("packages"):
            raise error
    ends = [line.partition(" (")[0] for line in stream.getvalue().splitlines() if "s)" in line]
    assert ends == ["packages: interrupted", "packages: failed"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_named(signum: signal.Signals) -> None:
    assert str(Interrupted(signum.value)) == f"interrupted by {signum.name}"


def test_an_answer_comes_before_what_is_said_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both streams in one file: standard output has a buffer there, standard error none."""
    path = tmp_path / "out"
    with path.open("a") as out, path.open("a") as note:
        monkeypatch.setattr(sys, "stdout", out)
        answer("the list")
        Report(note).say("the note")
    assert path.read_text() == "the list\nthe note\n"


def test_progress_is_a_line_whenever_it_has_doubled() -> None:
    stream = io.StringIO()
    report = Report(stream, verbose=True)
    for _ in range(2):
        with report.task("reading"):
            for done in range(504):
                report.progress(done << 20, 504 << 20)
    lines = [line.partition(",")[0] for line in stream.getvalue().splitlines() if line.startswith(" ")]
    assert lines == 2 * [f"    {1 << power} MiB of 504 MiB" for power in range(9)]


def test_progress_without_x_is_not_in_a_log() -> None:
    stream = io.StringIO()
    with Report(stream).task("reading") as task:
        task.progress(1 << 30)
        task.running("10-hook")
        task.line("output")
    assert [line.partition(" (")[0] for line in stream.getvalue().splitlines()] == [
        "reading …",
        "reading: done",
    ]
