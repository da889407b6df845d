"""What Dask runs in its workers: a process for each task, and a look at whether the task is still awaited.

A worker of Dask is shared: other work can run in it, and its processes are not dibo's. So dibo takes none of them for
children of its own here (dibo.system.process.sharing), and everything else happens in the process of the task.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable
from io import StringIO
from typing import Final

from distributed import get_worker

from dibo.api.fleet.orders import FactsOrder, FleetOrder, FleetOutcome, WorkerFacts
from dibo.api.workers.process import WorkerProcess
from dibo.system.process import sharing
from dibo.system.report import Report

_PROGRAM: Final = "dibo.api.fleet.task_process"
_LOOK_SECONDS: Final = 0.5
_running: list[str] = []
"""The topics of tasks that have processes here."""
_AWAITED: Final = ("executing", "long-running", "ready")


def perform(order: FleetOrder, topic: str) -> FleetOutcome:
    """Carry out a task; what it says meanwhile are events of the topic. Raises CommandFailed where its process was
    killed. A task that the scheduler no longer expects of this worker ends."""
    worker = get_worker()
    key = worker.get_current_task()

    def is_awaited() -> bool:
        state = worker.state.tasks.get(key)
        return state is not None and state.state in _AWAITED

    def hear(message: object) -> None:
        worker.log_event(topic, {"task": order.id, "message": pickle.dumps(message)})

    report = Report(StringIO(), quiet=True, environment={})
    ended = threading.Event()
    _running.append(topic)
    try:
        with sharing(), WorkerProcess[object, FleetOutcome](_PROGRAM, (FleetOutcome,), report) as process:
            threading.Thread(target=_watch, args=(process.end, is_awaited, ended), daemon=True).start()
            return process.ask(order, hear)
    finally:
        ended.set()
        _running.remove(topic)


def _watch(end: Callable[[], None], is_awaited: Callable[[], bool], ended: threading.Event) -> None:
    while not ended.wait(_LOOK_SECONDS):
        if not is_awaited():
            end()
            return


async def running(topic: str) -> int:
    """How many tasks of a bake have processes in this worker."""
    return _running.count(topic)


async def facts(order: FactsOrder) -> WorkerFacts:
    """What this worker has."""
    return await asyncio.to_thread(_facts, order)


def _facts(order: FactsOrder) -> WorkerFacts:
    report = Report(StringIO(), quiet=True, environment={})
    with sharing(), WorkerProcess[object, WorkerFacts](_PROGRAM, (WorkerFacts,), report) as process:
        return process.ask(order, lambda _: None)
