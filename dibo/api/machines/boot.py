"""Boot an image: assemble a machine, start it, carry out the steps, and end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.api.documents import CommandAnswer, new_document
from dibo.api.machines.assemble import AssembledMachine, assembled, explained
from dibo.api.machines.request import STEP_SECONDS, BootRequest
from dibo.artefacts.outputs import check_output_file
from dibo.errors import DiboError, MachineTimeout, OutputError
from dibo.machines import interactive
from dibo.machines.console import clean
from dibo.machines.running import OnConsole, RunningMachine, started
from dibo.machines.running_table import RunningEntry, register, unregister
from dibo.machines.ssh import SSH_PORT, SshAccess
from dibo.machines.steps import StepKind, StepResult, StepTools, carry_out
from dibo.settings.settings import Settings
from dibo.system.raw_terminal import ESCAPE_NAME
from dibo.system.report import Report
from dibo.system.workspace import Run, Workspace

_NOT_SHOWN: Final = "it did not end within the time that it was given"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootOutputs:
    """Where output goes. `on_console` gets what the machine writes to its serial port, `on_line` each line that a
    command prints."""

    on_console: OnConsole | None = None
    """None: lines of the console are output of the step under way."""
    on_line: Callable[[str], None] = lambda _: None
    attended: bool = False
    """Whether the user's terminal is the console; without steps only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootResult:
    """What was booted, and how its steps ended."""

    name: str
    architecture: str
    firmware: str
    accelerator: str
    steps: tuple[StepResult, ...]

    @property
    def exit_code(self) -> int:
        """That of the command that failed; 0 where none did."""
        return next((result.code for result in self.steps if result.code), 0)


def boot_answer(result: BootResult) -> CommandAnswer:
    """What a program is told."""
    steps = [
        {
            "kind": done.step.kind.value,
            "value": done.step.value,
            "took": round(done.seconds, 3),
            "exit_code": done.code,
            "output": done.output,
        }
        for done in result.steps
    ]
    return CommandAnswer(
        text="",
        document=new_document(
            "boot",
            machine=result.name,
            architecture=result.architecture,
            firmware=result.firmware,
            accelerator=result.accelerator,
            steps=steps,
            exit_code=result.exit_code,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BootedMachine:
    """A machine that runs. `access` is None where there is no way in by SSH."""

    parts: AssembledMachine
    machine: RunningMachine
    access: SshAccess | None


@contextmanager
def booted(
    settings: Settings, request: BootRequest, run: Run, report: Report, outputs: BootOutputs
) -> Iterator[BootedMachine]:
    """Assemble a machine and start it; it ends with the context. Raises as `boot`."""
    for step in request.steps:
        if step.kind is StepKind.SCREENSHOT:
            check_output_file(Path(step.value), option="--screenshot")
    with ExitStack() as stack:
        try:
            parts = stack.enter_context(assembled(settings, request, run, report))
        except DiboError as error:
            raise explained(error, request) from error
        log = _ConsoleLog(request.console, stack)
        timeout = request.timeout or (STEP_SECONDS if request.steps else None)
        machine = stack.enter_context(
            started(
                parts.machine,
                directory=parts.directory,
                on_console=_console(outputs, report, log),
                timeout=timeout,
            )
        )
        access = _access(parts, machine)
        _register(run, request, parts, machine, access)
        stack.callback(unregister, run)
        _tell(parts, machine, access, report, attended=outputs.attended)
        yield BootedMachine(parts=parts, machine=machine, access=access)


def boot(settings: Settings, request: BootRequest, report: Report, outputs: BootOutputs) -> BootResult:
    """Boot an image and carry out the steps; without steps, until the machine ends. Raises MachineError, MachineDied,
    MachineTimeout, UsageError, OutputError, DiskImageError, ToolMissing, and what `dibo convert` raises."""
    with (
        Workspace(settings.cache).run() as run,
        booted(settings, request, run, report, outputs) as started_machine,
    ):
        machine, value = started_machine.machine, started_machine.parts.machine
        results = _attend(request, machine, started_machine.access, run, report, outputs)
        if request.write and not machine.ended and not machine.shut_down():
            report.warn(f"{value.name} did not end when its power button was pressed: switched off")
        return BootResult(
            name=value.name,
            architecture=value.board.architecture,
            firmware=value.firmware.kind.value,
            accelerator=value.accelerator.partition(",")[0],
            steps=results,
        )


def _attend(
    request: BootRequest,
    machine: RunningMachine,
    access: SshAccess | None,
    run: Run,
    report: Report,
    outputs: BootOutputs,
) -> tuple[StepResult, ...]:
    if request.steps:
        tools = StepTools(machine=machine, access=access, run=run, report=report, on_line=outputs.on_line)
        return carry_out(request.steps, tools)
    if outputs.attended:
        if not interactive.attend(machine):
            report.say("")
        return ()
    try:
        interactive.watch(machine)
    except MachineTimeout as error:
        raise machine.failure(MachineTimeout, _NOT_SHOWN) from error
    return ()


def _console(outputs: BootOutputs, report: Report, log: _ConsoleLog) -> OnConsole:
    lines = _Lines(report.line)

    def take(data: bytes) -> None:
        log.write(data)
        if outputs.on_console is not None:
            outputs.on_console(data)
        else:
            lines.write(data)

    return take


class _Lines:
    """Hands on each line of a console once it is complete."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line, self._begun = on_line, ""

    def write(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + clean(data.decode(errors="replace"))).split("\n")
        for line in lines:
            self._on_line(line)


class _ConsoleLog:
    """The file that keeps all of the console, if one was asked for."""

    def __init__(self, path: Path | None, stack: ExitStack) -> None:
        self._file = None
        if path is not None:
            try:
                self._file = stack.enter_context(path.open("wb", buffering=0))
            except OSError as error:
                raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def write(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)


def _access(parts: AssembledMachine, machine: RunningMachine) -> SshAccess | None:
    port = machine.ports.get(("tcp", SSH_PORT))
    if port is None or parts.key is None:
        return None
    return SshAccess(port=port, user=parts.user, key=parts.key, known_hosts=parts.directory / "known_hosts")


def _register(
    run: Run, request: BootRequest, parts: AssembledMachine, machine: RunningMachine, access: SshAccess | None
) -> None:
    if access is not None:
        entry = RunningEntry(
            name=parts.machine.name,
            image=request.image or "",
            pid=machine.pid,
            port=access.port,
            user=access.user,
            key=str(access.key),
            known_hosts=str(access.known_hosts),
            ports=_ports(machine),
        )
        register(run, entry)


def _ports(machine: RunningMachine) -> tuple[str, ...]:
    return tuple(
        f"{port.address}:{machine.ports.get((port.protocol, port.guest), port.here)} → {port.guest}/{port.protocol}"
        for port in machine.machine.ports
    )


def _tell(
    parts: AssembledMachine,
    machine: RunningMachine,
    access: SshAccess | None,
    report: Report,
    *,
    attended: bool,
) -> None:
    value = parts.machine
    how = value.firmware.kind.value if value.kernel is None else "its kernel"
    accelerator = value.accelerator.partition(",")[0]
    report.say(
        f"{value.name}: {value.board.architecture}, {value.machine}, by {how}, {accelerator}, {value.memory} MiB"
    )
    for port in _ports(machine):
        report.say(f"{value.name}: {port}")
    if access is not None:
        report.say(f"{value.name}: dibo ssh {value.name} logs in as {access.user}")
    if attended:
        report.say(f"{value.name}: {ESCAPE_NAME} (Ctrl and ]) ends it")
