"""Workers are started when there is an order for them, and again after one was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.api.workers.process import WorkerProcess
from dibo.errors import CommandFailed
from dibo.system import process
from dibo.system.report import Report

PROGRAM = """
import os, sys
from dibo.api.workers.serve import serve

def carry_out(order, send):
    if order == "die":
        os._exit(3)
    return os.getpid()

sys.exit(serve(carry_out))
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The module of a worker that answers with its process id."""
    (tmp_path / "worker_of_a_test.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    return "worker_of_a_test"


def _running(pid: int) -> bool:
    return pid in process.process_table()


def test_a_process_is_started_with_the_first_order(program: str) -> None:
    before = set(process.process_table())
    with WorkerProcess[object, int](program, (int,), Report()) as worker:
        assert not {pid for pid in set(process.process_table()) - before if _is_of(pid, program)}
        first = worker.ask("work", lambda _: None)
        assert _running(first)
        assert worker.ask("work", lambda _: None) == first
    assert not _running(first)


def _is_of(pid: int, program: str) -> bool:
    try:
        return program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_another_one_is_started_after_one_that_died(program: str) -> None:
    with WorkerProcess[object, int](program, (int,), Report()) as worker:
        first = worker.ask("work", lambda _: None)
        with pytest.raises(CommandFailed, match="exit code 3"):
            worker.ask("die", lambda _: None)
        second = worker.ask("work", lambda _: None)
        assert second != first
    assert not _running(second)


def test_none_is_started_once_all_end(program: str) -> None:
    with WorkerProcess[object, int](program, (int,), Report()) as worker:
        worker.end()
        with pytest.raises(CommandFailed, match="all end"):
            worker.ask("work", lambda _: None)
