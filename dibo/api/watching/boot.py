"""`dibo boot --watch`: a disk that dibo built, booted, and built again whenever its flavours change.

The manifest beside the disk says what it was built of (dibo.api.verify). After each build, the new disk is compared
with the one that the machine was booted from: files alone are copied into the machine that runs; what takes a boot ends
the machine, and starts another. What happened, and why, is said each time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dibo.api.conversions.again import recorded_layout
from dibo.api.create import create
from dibo.api.machines.boot import BootedMachine, BootOutputs, booted
from dibo.api.machines.request import STEP_SECONDS, BootRequest
from dibo.api.settings import current_settings
from dibo.api.verify import again, output_name
from dibo.api.watching.watch import changes, snapshot, trees_of
from dibo.artefacts.recorded import find
from dibo.errors import DiboError, MachineDied, ManifestError, ToolMissing, UsageError
from dibo.formats.source import Source
from dibo.inspect.open_image import opened
from dibo.machines.live_update import LiveUpdate, apply_update, plan_update
from dibo.machines.ssh import wait_for_login
from dibo.machines.steps import BootStep, StepKind, StepTools, carry_out
from dibo.settings.settings import Options, Settings
from dibo.system.file_watch import FileWatcher
from dibo.system.report import Report
from dibo.system.workspace import Run, Workspace

_SHOWN = 5
_TURN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedBoot:
    """What is booted, and how it is built again. `build` raises what a build raises."""

    settings: Settings
    request: BootRequest
    image: Path
    build: Callable[[], object]


def watch_boot(
    options: Options,
    environment: Mapping[str, str],
    report: Report,
    request: BootRequest,
    outputs: BootOutputs,
) -> None:
    """Boot the disk image of `request`, and follow its flavours, until the machine ends by itself, or a signal comes.
    `options` say where flavours are, as for `dibo verify`. Raises UsageError, ManifestError, ToolMissing, and what
    `boot` raises."""
    if request.image is None or request.write:
        raise UsageError("--watch boots a disk image that dibo built, and keeps no changes of a machine")
    recorded = find(Path(request.image))
    if "disk" not in recorded.manifest or "image" in recorded.manifest:
        raise ManifestError(
            f"{request.image} is no disk that disk-image-create built of flavours",
            hint="--watch follows the flavours that the manifest beside the disk names",
        )
    build_options, variables = again(recorded.manifest, recorded.path, options, environment)
    if build_options.lock is not None:  # the packages of flavours may change meanwhile
        build_options = replace(build_options, lock=None, epoch=None)
    output = recorded.path.parent / output_name(recorded)
    settings = current_settings(replace(build_options, name=str(output)), variables)
    with Workspace(settings.cache).run() as run:
        layout = recorded_layout(recorded.manifest, run.directory)
        follow(
            WatchedBoot(
                settings=settings,
                request=request,
                image=Path(request.image),
                build=lambda: create(settings, report, layout_file=layout),
            ),
            run,
            report,
            outputs,
        )


def follow(watched: WatchedBoot, run: Run, report: Report, outputs: BootOutputs) -> None:
    """Build, boot, and follow. Raises as `watch_boot`; what is wrong with a flavour is shown, and a machine that dies
    is booted anew after the next change."""
    with FileWatcher(trees=trees_of(watched.settings)) as watcher:
        follower = _Follower(watched, watcher, report)
        follower.build()
        while True:
            try:
                with booted(watched.settings, watched.request, run, report, outputs) as machine:
                    follower.attend(_Attended(machine=machine, run=run, outputs=outputs))
                    if machine.machine.ended:
                        return
            except MachineDied as error:
                report.error(error)
                report.say("watching for changes; ^C ends it")
                while not (follower.has_changed() and follower.build()):
                    watcher.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attended:
    """One boot."""

    machine: BootedMachine
    run: Run
    outputs: BootOutputs

    @property
    def name(self) -> str:
        return self.machine.parts.machine.name


class _Follower:
    """Knows what was built last."""

    def __init__(self, watched: WatchedBoot, watcher: FileWatcher, report: Report) -> None:
        self._watched, self._watcher, self._report = watched, watcher, report
        self._current = snapshot(watched.settings, [])

    def has_changed(self) -> bool:
        """Whether the flavours are others than those that were built last; says which."""
        latest = snapshot(self._watched.settings, [])
        if latest == self._current:
            return False
        self._report.say(f"\nchanged: {', '.join(changes(self._current, latest))}")
        self._current = latest
        return True

    def build(self) -> bool:
        """Whether it went well; errors are shown."""
        self._report.restart()
        try:
            self._watched.build()
        except (UsageError, ToolMissing):
            raise
        except DiboError as error:
            self._report.error(error)
            return False
        return True

    def attend(self, attended: _Attended) -> None:
        """Follow changes until one takes a boot, or the machine ends."""
        machine = attended.machine.machine
        sources = ExitStack()
        try:
            running = self._opened(sources, attended)
            self._carry_out(self._watched.request.steps, attended)
            self._report.say(f"{attended.name}: watching for changes; ^C ends it")
            while True:
                machine.give_time(None)
                while not self._watcher.has_changed():
                    machine.look(_TURN)
                    if machine.ended:
                        self._report.say(f"{attended.name}: the machine has ended")
                        return
                self._watcher.wait()
                if not self.has_changed():
                    continue
                with _console_read(attended.machine):
                    is_built = self.build()
                if not is_built:
                    continue
                newer = ExitStack()
                following = self._opened(newer, attended)
                sources, older = newer, sources
                try:
                    update = plan_update(running, following)
                finally:
                    older.close()
                running = following
                if not self._update(update, attended):
                    return
        finally:
            sources.close()

    def _opened(self, stack: ExitStack, attended: _Attended) -> Source:
        source, *_ = stack.enter_context(opened(self._watched.image, run=attended.run, report=self._report))
        return source

    def _update(self, update: LiveUpdate, attended: _Attended) -> bool:
        """Copy what can be copied; whether the machine is as new as the disk then."""
        name = attended.name
        if update.is_empty:
            self._report.say(f"{name}: the disk has the same files: nothing to copy")
            return True
        obstacle = update.obstacle or self._copy(update, attended)
        if obstacle:
            self._report.say(f"{name}: {obstacle}: booting anew")
            return False
        self._report.say(f"{name}: {_summary(update)}; nothing was restarted")
        self._carry_out([step for step in self._watched.request.steps if step.kind is StepKind.RUN], attended)
        return True

    def _copy(self, update: LiveUpdate, attended: _Attended) -> str:
        """What kept the files from being copied; empty if they were."""
        machine, access = attended.machine.machine, attended.machine.access
        if access is None:
            return "files changed, and there is no way in by SSH"
        machine.give_time(self._watched.request.timeout or STEP_SECONDS)
        try:
            wait_for_login(machine, access)
            result = apply_update(machine, access, update)
        except MachineDied:
            raise
        except DiboError as error:
            return error.message
        return f"copying failed: {result.output.strip() or result.code}" if result.code else ""

    def _carry_out(self, steps: Sequence[BootStep], attended: _Attended) -> None:
        """A step that fails is shown, and ends nothing: the next change may mend it."""
        if not steps:
            return
        machine = attended.machine.machine
        tools = StepTools(
            machine=machine,
            access=attended.machine.access,
            run=attended.run,
            report=self._report,
            on_line=attended.outputs.on_line,
        )
        machine.give_time(self._watched.request.timeout or STEP_SECONDS)
        try:
            for result in carry_out(steps, tools):
                if result.code:
                    self._report.warn(f"{attended.name}: {result.step} ended with {result.code}")
        except MachineDied:
            raise
        except DiboError as error:
            self._report.error(error)


def _summary(update: LiveUpdate) -> str:
    texts = []
    for word, paths in (("copied", update.paths), ("removed", update.gone)):
        if paths:
            more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            texts.append(f"{word} {', '.join(f'/{path}' for path in paths[:_SHOWN])}{more}")
    return "; ".join(texts)


@contextmanager
def _console_read(machine: BootedMachine) -> Iterator[None]:
    """Another thread reads the console meanwhile, and nothing else uses the machine."""
    done = threading.Event()
    errors: list[DiboError] = []

    def read() -> None:
        try:
            while not done.is_set() and not machine.machine.ended:
                machine.machine.look(_TURN)
        except DiboError as error:
            errors.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if errors:
        raise errors[0]
