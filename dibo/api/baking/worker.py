"""The program of a worker: carries out one task of a bake after the other."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from dibo.api.baking.run_task import run_task
from dibo.api.baking.spec import Decided, TaskOutcome, TaskSpec
from dibo.api.workers.forward import ForwardSink
from dibo.api.workers.serve import Send, serve
from dibo.system.report import Report, log_commands


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTask:
    """To a worker: carry out a task. It answers with a TaskOutcome, after messages of dibo.api.workers.forward."""

    spec: TaskSpec
    decided: Decided | None
    verbose: bool
    """Whether to send all commands and their output."""


class _Worker:
    def __init__(self) -> None:
        self._logs = False

    def carry_out(self, order: RunTask, send: Send) -> TaskOutcome:
        report = Report(sink=ForwardSink(send, verbose=order.verbose))
        if order.verbose and not self._logs:
            self._logs = True
            log_commands(Report(sink=ForwardSink(send, verbose=True)))
        return run_task(order.spec, report, decided=order.decided)


def main() -> int:
    """The program; its exit code."""
    return serve(_Worker().carry_out)


if __name__ == "__main__":
    sys.exit(main())
