"""What each command does, given its options. Returns an exit code; errors are raised (dibo.errors)."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dibo.artefacts.manifest_schema import MANIFEST_SCHEMA
from dibo.build import build as spine
from dibo.build import containerfile as rendering
from dibo.build import context, ingredients_store
from dibo.build.engine import Engine, Root, Setup
from dibo.build.engines import choose
from dibo.errors import (
    CommandFailed,
    EngineError,
    LayerError,
    RegistryError,
    ToolMissing,
    Unreachable,
    UsageError,
    VerificationFailed,
)
from dibo.flavours.schema import SCHEMA
from dibo.layout.schema import LAYOUT_SCHEMA
from dibo.plan.plan import Plan, describe
from dibo.settings.settings import Options, Settings, decide
from dibo.system import resources
from dibo.system.report import Report, answer
from dibo.system.workspace import Run, Workspace

if TYPE_CHECKING:
    from dibo.cache.lookup import Caches


def settings(options: Options, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process: its environment, clock and machine."""
    decided = decide(
        options, environment, now=datetime.now(tz=UTC), machine=platform.machine(), home=resources.home()
    )
    choose.require_known(decided.engine)
    return decided


Make = Callable[[Root], tuple[Path, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One run: its directories, its engine, and what the engine holds."""

    settings: Settings
    workspace: Workspace
    run: Run
    report: Report
    engine: Engine
    caches: Caches | None
    held: dict[str, float]

    def job(self) -> spine.Job:
        job = spine.prepare(
            self.settings,
            workspace=self.workspace,
            run=self.run,
            report=self.report,
            held=self.held,
        )
        if self.caches is None:
            return job
        from dibo.cache import session as caching

        return caching.consult(job, self.caches, self.held)

    def build(self, job: spine.Job) -> None:
        """Have all layers in the engine's store; those that were made, in the caches too."""
        ingredients_store.save_plan(self.workspace.keys, job.plan)
        with self._exchange(job) as (brought, on_layer):
            if brought.plan.to_run or not brought.plan.base_held:
                self.engine.check()
            spine.build(
                brought,
                self.engine,
                workspace=self.workspace,
                run=self.run,
                report=self.report,
                held=self.held,
                on_layer=on_layer,
            )

    def with_root(self, job: spine.Job, make: Make, *, needs_directory: bool = False) -> tuple[Path, ...]:
        """Let `make` make artefacts of the job's root: of a cache's, where one holds it whole, else of the engine's,
        once it is built. With `needs_directory` always of the engine's."""
        key = job.plan.image_key
        made = None if needs_directory else _from_caches(self, key, make)
        if made is None:
            self.build(job)
            with self.engine.root(key, architecture=self.settings.architecture) as root:
                made = make(root)
        return made

    def places(self, job: spine.Job) -> Mapping[str, str]:
        """Which registry has a layer that the engine has not."""
        if self.caches is None:
            return {}
        from dibo.cache import session as caching

        return caching.places(job.plan, self.caches, self.held)

    @contextmanager
    def _exchange(self, job: spine.Job) -> Iterator[tuple[spine.Job, Callable[[str], None]]]:
        if self.caches is None:
            yield job, lambda _: None
            return
        from dibo.cache import session as caching

        with caching.exchange(
            job, self.caches, self.engine, self.held, run=self.run, report=self.report
        ) as exchanged:
            yield exchanged


def _engine(
    stack: ExitStack, decided: Settings, caches: Caches | None, *, run: Run, report: Report
) -> Engine:
    """The engine that was asked for. Where there are caches, none that works is no error yet: when they have all, it
    is not needed."""
    try:
        return stack.enter_context(choose.engine(decided.engine, Setup(run=run, report=report)))
    except (ToolMissing, EngineError) as error:
        if caches is None:
            raise
        return choose.absent(error)


def _held(engine: Engine, caches: Caches | None) -> dict[str, float]:
    """What the engine's store has. Where there are caches, an engine that does not work is no error yet: when they
    have all, it is not needed."""
    try:
        return dict(engine.held())
    except (ToolMissing, EngineError, CommandFailed):
        if caches is not None:
            return {}
        raise


def _caches(decided: Settings, report: Report) -> Caches | None:
    if not decided.caches_from and not decided.caches_to:
        return None
    from dibo.cache import session as caching

    return caching.caches_of(decided, report)


@contextmanager
def new_session(decided: Settings, report: Report) -> Iterator[Session]:
    workspace = Workspace(decided.cache)
    with (
        workspace.run(sweepers=choose.sweepers()) as run,
        open_session(decided, report, workspace=workspace, run=run) as session,
    ):
        yield session


@contextmanager
def open_session(decided: Settings, report: Report, *, workspace: Workspace, run: Run) -> Iterator[Session]:
    """A session within a run that is there already."""
    caches = _caches(decided, report)
    with ExitStack() as stack:
        engine = _engine(stack, decided, caches, run=run, report=report)
        yield Session(
            settings=decided,
            workspace=workspace,
            run=run,
            report=report,
            engine=engine,
            caches=caches,
            held=_held(engine, caches),
        )


def _from_caches(session: Session, key: str, make: Make) -> tuple[Path, ...] | None:
    """Artefacts of an image that a cache holds whole, straight from there: no engine is asked, nothing is unpacked.
    None when it has to be built, or brought, after all."""
    caches = session.caches
    if caches is None or key in session.held or session.settings.refresh:
        return None
    if not all(key in remote.there for remote in caches.remotes if remote.writes and not remote.off):
        return None
    where = caches.find(key)
    image = caches.image(key)
    if where is None or image is None:
        return None
    remote, found = where
    try:
        made = make(Root(name=image.name, layers=image.layers, built=True))
    except (LayerError, VerificationFailed, Unreachable, RegistryError) as error:
        remote.forget(key, error)
        return None
    remote.mark(found)
    return made


def plan(options: Options, report: Report, *, containerfile: Path | None, as_json: bool) -> int:
    """dibo plan."""
    with new_session(settings(options), report) as session:
        job = session.job()
        if containerfile is not None:
            rendering.write(job, session.held, target=containerfile, report=report)
        where = session.places(job)
        answer(_as_json(job.plan, where) if as_json else describe(job.plan, where))
    return 0


def _as_json(value: Plan, where: Mapping[str, str]) -> str:
    layers = [
        {
            "key": value.base_key,
            "held": value.base_held,
            "cache": where.get(value.base_key),
            "ingredients": json.loads(value.base_ingredients),
        }
    ]
    for number, planned in enumerate(value.steps):
        layers.append(
            {
                "key": planned.key,
                "held": number < value.resume,
                "cache": where.get(planned.key),
                "local": planned.step.local,
                "title": planned.step.title,
                "ingredients": json.loads(planned.ingredients),
            }
        )
    document = {"stack": list(value.recipe.stack.names), "epoch": value.epoch, "layers": layers}
    return json.dumps(document, indent=2)


def build(options: Options, report: Report, *, tag: str | None) -> int:
    """dibo build."""
    with new_session(settings(options), report) as session:
        job = session.job()
        session.build(job)
        if tag is not None:
            session.engine.tag(job.plan.image_key, tag)
        answer(tag or session.engine.reference(job.plan.image_key))
    return 0


def shell(options: Options, report: Report, *, at: str | None, run_command: str | None) -> int:
    """dibo shell."""
    # bash where the root has it
    argv = ["sh", "-c", 'command -v bash > /dev/null && exec bash "$@"; exec sh "$@"', "sh"]
    argv += ["-c", run_command] if run_command else ["-l"]
    if at is None and not options.flavours:
        raise UsageError("dibo shell wants flavours, or a layer with --at")
    with new_session(settings(options), report) as session:
        job = session.job() if options.flavours else None
        if at is None:
            assert job is not None
            session.build(job)
            return session.engine.shell(job.plan.image_key, context=None, mount_point="", argv=argv)
        name = _one_of(at, session.engine.names())
        directory, mount = None, ""
        for planned in job.plan.steps if job else ():
            assert job is not None
            if planned.key == name.removeprefix("failed-"):
                directory, mount = session.run.subdirectory("context"), context.mount_point(planned.step)
                context.stage(
                    planned.step,
                    job.recipe,
                    runner=job.runner,
                    extra=job.extra,
                    time=job.time,
                    target=directory,
                )
        if job is not None and directory is None:
            report.warn(
                f"{name[:19]} is no step of this stack as it is now, so {context.MOUNT} is not mounted"
            )
        return session.engine.shell(name, context=directory, mount_point=mount, argv=argv)


def _one_of(beginning: str, names: Sequence[str]) -> str:
    found = [name for name in names if name.startswith(beginning)]
    if not found:
        raise UsageError(
            f"there is no layer and no failed state {beginning!r}",
            hint="`dibo plan` shows the keys of layers",
        )
    if len(found) > 1:
        raise UsageError(
            f"{beginning!r} could be {', '.join(name[:24] for name in found[:4])}", hint="write more of it"
        )
    return found[0]


def flavours(options: Options) -> int:
    """dibo flavours."""
    found = spine.catalogue(settings(options))
    if options.flavours:
        answer(
            "\n\n".join(
                rendering.describe_flavour(found.get(name), found.found(name)) for name in options.flavours
            )
        )
        return 0
    rows = [(each, found.get(each.name)) for each in found]
    width = max((len(each.name) for each, _ in rows), default=0)
    for each, flavour in rows:
        answer(f"{each.name:{width}}  {flavour.summary}  ({each.path})".replace("    (", "  ("))
        for shadowed in each.shadows:
            answer(f"{'':{width}}  shadows {shadowed}")
    return 0


def flavour_names(options: Options) -> list[str]:
    """For completions: names only, nothing is read."""
    return [each.name for each in spine.catalogue(settings(options))]


def schema(file: str) -> int:
    """dibo schema."""
    answer(json.dumps({"layout": LAYOUT_SCHEMA, "manifest": MANIFEST_SCHEMA}.get(file, SCHEMA), indent=2))
    return 0


def completion(kind: str) -> int:
    """dibo completion."""
    from argcomplete.shell_integration import shellcode

    if kind not in ("bash", "zsh", "fish"):
        raise UsageError(f"no completions for {kind}")
    programs = ["dibo", "disk-image-create", "disk-image-get-kernel", "ramdisk-image-create"]
    answer(str(shellcode(programs, shell=kind)))
    return 0


def doctor(options: Options, report: Report) -> int:
    """dibo doctor."""
    from dibo.api import doctor as examination

    decided = settings(options)
    findings = examination.examine(decided, report)
    for finding in findings:
        answer(str(finding))
    if any(finding.needed and not finding.works for finding in findings):
        raise EngineError(
            "this machine cannot build yet",
            hint="see the lines that begin with NO; `dibo convert` needs none of that",
        )
    return 0
