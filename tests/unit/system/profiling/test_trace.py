"""Profiles: what is in them, and that there is none where none is requested."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dibo.cli import main
from dibo.system import process
from dibo.system.profiling import trace
from dibo.system.report import Report

Event = dict[str, Any]


def events_of(text: str, kind: str) -> list[Event]:
    """Those that last, of a kind, in the order in which they began."""
    found = [event for event in json.loads(text)["traceEvents"] if event.get("cat") == kind]
    return sorted(found, key=lambda event: float(event["ts"]))


def is_within(inner: Event, outer: Event) -> bool:
    begun, ended = inner["ts"], inner["ts"] + inner["dur"]
    return bool(outer["ts"] <= begun and ended <= outer["ts"] + outer["dur"] + 0.2)  # rounded


def test_tasks_have_their_hooks_and_threads_have_rows() -> None:
    written: list[str] = []
    report = Report(io.StringIO())
    with trace.recording(written.append, title="a command"):
        with report.task("step") as task:
            task.running("10-one")
            task.stage("commit")
        thread = threading.Thread(target=trace.spanned(lambda: None, "beside"), name="helper")
        thread.start()
        thread.join()
    (command,) = events_of(written[0], "command")
    (step,) = events_of(written[0], "task")
    parts = events_of(written[0], "part")
    assert (command["name"], step["name"]) == ("a command", "step")
    assert [part["name"] for part in parts] == ["10-one", "commit"]
    assert all(is_within(part, step) and part["tid"] == step["tid"] for part in parts)
    assert is_within(step, command)
    (beside,) = [event for event in events_of(written[0], "span") if event["name"] == "beside"]
    names = {
        event["tid"]: event["args"]["name"]
        for event in json.loads(written[0])["traceEvents"]
        if event["name"] == "thread_name"
    }
    assert names[beside["tid"]] == "helper"


def test_programs_beside_each_other_have_rows_of_their_own() -> None:
    written: list[str] = []
    with trace.recording(written.append, title="a command"):
        with process.Process(["sleep", "0.05"]) as first:
            process.run(["true"])
            first.wait()
        process.run(["true"])
    sleep, during, after = events_of(written[0], "program")
    assert sleep["args"]["command"] == "sleep 0.05"
    assert sleep["tid"] == after["tid"] != during["tid"]
    assert is_within(during, sleep)


def test_a_profile_is_written_whatever_ends_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "trace.json"
    assert main.dibo(["convert", "oci:nothing", "--profile", str(profile), "-o", str(tmp_path / "x")]) != 0
    (command,) = events_of(profile.read_text(), "command")
    assert command["name"] == "make a disk from an existing container image, without privileges"
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]
    assert trace.PARTS not in os.environ


def test_a_profile_that_cannot_be_written_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.dibo(["convert", "oci:nothing", "--profile", str(tmp_path / "no" / "trace.json")]) != 0
    assert f"the directory {tmp_path / 'no'} does not exist" in capsys.readouterr().err


def test_workers_add_their_part() -> None:
    written: list[str] = []
    program = (
        "from dibo.system.profiling import trace\n"
        "with trace.recording_part(), trace.span('of the worker'): pass\n"
    )
    with trace.recording(written.append, title="a command"):
        subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[4])
    (span,) = [event for event in events_of(written[0], "span") if event["name"] == "of the worker"]
    assert span["pid"] != os.getpid()
    (command,) = [event for event in events_of(written[0], "command") if event["pid"] == os.getpid()]
    assert is_within(span, command)


def test_nothing_is_kept_without_a_profile() -> None:
    assert trace.task("one") is trace.task("two")
    assert trace.span("one") is trace.span("two")
    assert trace.program(["true"]) == trace.program(["false"])

    def work() -> None: ...

    assert trace.spanned(work, "one") is work
