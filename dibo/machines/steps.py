"""What a test asks of a machine, in order: text on the console, a command over SSH, a picture of the screen.

A step is a kind and its text, as a mapping of one key in a file:

    - expect: 'login:'
    - run: systemctl is-system-running --wait
    - screenshot: login.png

"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from dibo.errors import DiboError, MachineTimeout, UsageError
from dibo.machines.picture import png_of
from dibo.machines.running import RunningMachine
from dibo.machines.ssh import CommandResult, SshAccess, run_command, wait_for_login
from dibo.system.report import Report
from dibo.system.workspace import Run

_LONGEST_WAIT: Final = 86400.0


class StepKind(Enum):
    EXPECT = "expect"
    """A regular expression (Python's re), which the console shows after what the expression before it matched."""
    TYPE = "type"
    """A line to type on the console."""
    RUN = "run"
    """A shell command."""
    SCREENSHOT = "screenshot"
    """A file that a picture of the screen is written to, as PNG."""
    WAIT = "wait"
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootStep:
    """A step of a boot, made by `parse_step`: `kind.value` is the word for it, such as `run`."""

    kind: StepKind
    value: str

    def __str__(self) -> str:
        return f"{self.kind.value} {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """How a step ended. `code` and `output` are those of a command, None of other steps."""

    step: BootStep
    seconds: float
    code: int | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTools:
    """What steps work with. `access` is None where there is no way in by SSH."""

    machine: RunningMachine
    access: SshAccess | None
    run: Run
    report: Report
    on_line: Callable[[str], None]
    """Gets each line that a command prints."""


def parse_step(kind: str, value: str) -> BootStep:
    """Raises UsageError for a kind that does not exist, and for a text that is invalid for it."""
    try:
        step = BootStep(kind=StepKind(kind), value=value)
    except ValueError:
        kinds = ", ".join(known.value for known in StepKind)
        raise UsageError(f"a step of a boot is one of {kinds}; got {kind!r}") from None
    if step.kind is StepKind.EXPECT:
        _pattern(value)
    elif step.kind is StepKind.WAIT and not 0 <= _seconds(value) <= _LONGEST_WAIT:
        raise UsageError(f"expected seconds to wait, got {value!r}")
    elif step.kind in (StepKind.RUN, StepKind.SCREENSHOT) and not value.strip():
        raise UsageError(f"the step {kind} is empty")
    return step


def parse_steps(entries: Sequence[object]) -> tuple[BootStep, ...]:
    """Steps of a file, each a mapping of one key. Raises UsageError."""
    steps = []
    for entry in entries:
        if not isinstance(entry, Mapping) or len(entry) != 1:
            raise UsageError(
                f"a step of a boot is a mapping of one key, such as `run: uptime`; got {entry!r}"
            )
        ((kind, value),) = entry.items()
        steps.append(parse_step(str(kind), str(value)))
    return tuple(steps)


def carry_out(steps: Sequence[BootStep], tools: StepTools) -> tuple[StepResult, ...]:
    """Until one of them fails: a command that ends with another code than 0 is the last. Raises MachineDied,
    MachineTimeout; pictures that were still to be taken are taken then, too, if that is possible."""
    results: list[StepResult] = []
    logged_in = False
    for number, step in enumerate(steps):
        began = time.monotonic()
        try:
            with tools.report.task(f"{tools.machine.machine.name}: {step}"):
                if step.kind is StepKind.RUN and not logged_in:
                    wait_for_login(tools.machine, _access(tools))
                    logged_in = True
                answer = _carry_out(step, tools)
        except DiboError:
            _take_pictures(steps[number:], tools)
            raise
        results.append(
            StepResult(
                step=step,
                seconds=time.monotonic() - began,
                code=answer.code if answer else None,
                output=answer.output if answer else None,
            )
        )
        if answer is not None and answer.code != 0:
            _take_pictures(steps[number:], tools)
            break
    return tuple(results)


def _carry_out(step: BootStep, tools: StepTools) -> CommandResult | None:
    match step.kind:
        case StepKind.EXPECT:
            _expect(tools.machine, step.value)
        case StepKind.TYPE:
            tools.machine.require_on("take what is typed")
            tools.machine.type_line(step.value)
        case StepKind.SCREENSHOT:
            tools.machine.require_on("show something on its screen")
            _take_picture(Path(step.value), tools)
        case StepKind.WAIT:
            _wait(tools.machine, _seconds(step.value))
        case StepKind.RUN:
            return run_command(tools.machine, _access(tools), step.value, tools.on_line)
    return None


def _access(tools: StepTools) -> SshAccess:
    if tools.access is None:
        raise UsageError("a command runs over SSH, which needs a network", hint="leave out --network none")
    return tools.access


def _expect(machine: RunningMachine, value: str) -> None:
    pattern = _pattern(value)
    while True:
        match = pattern.search(machine.text)
        if match is not None:
            machine.text = machine.text[match.end() :]
            return
        machine.require_on(f"show {value!r}")
        try:
            machine.look(1.0)
        except MachineTimeout:
            raise machine.failure(MachineTimeout, f"the console did not show {value!r} in time") from None


def _wait(machine: RunningMachine, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not machine.ended:
        machine.look(left)


def _take_pictures(steps: Sequence[BootStep], tools: StepTools) -> None:
    """For who reads the log of a test that failed."""
    for step in steps:
        if step.kind is StepKind.SCREENSHOT and not tools.machine.ended:
            try:
                _take_picture(Path(step.value), tools)
            except DiboError as error:
                tools.report.warn(error.message)


def _take_picture(path: Path, tools: StepTools) -> None:
    ppm = tools.run.subdirectory("screen") / "screen.ppm"
    tools.machine.screenshot(ppm)
    with tools.run.output(path) as part:
        part.write_bytes(png_of(ppm.read_bytes()))
    ppm.unlink()


def _pattern(value: str) -> re.Pattern[str]:
    try:
        return re.compile(value, re.MULTILINE)
    except re.error as error:
        raise UsageError(f"{value!r} is no regular expression: {error}") from error


def _seconds(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return -1.0
