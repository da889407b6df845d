"""The spine of a build: from settings and a stack of flavours to layers."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dibo.build import host_hooks, stacks
from dibo.build.archives.locked import require_base, require_files
from dibo.build.bases.choose import choose_base
from dibo.build.bases.settings import base_settings
from dibo.build.context import ElementRunner, ExtraFiles, Runner
from dibo.build.engine import Engine, Setup, StepRun
from dibo.build.fetched_files import FetchedFiles, fetched_files, requests_of_steps
from dibo.build.flavour_warnings import warn_of_flavours
from dibo.build.host_hooks import HostRun
from dibo.build.layer_origins import LayerOrigins
from dibo.build.package_choice import choose_packages, stage_step
from dibo.build.sandbox import Confinement
from dibo.build.secrets import SecretValues, read_secrets
from dibo.build.step_times import HookClock, LayerTime, StepTimes
from dibo.elements.stack import MixedStack
from dibo.errors import BaseError, HookFailed
from dibo.flavours.epoch import start_of
from dibo.flavours.loader import Catalogue
from dibo.flavours.stack import Stack
from dibo.plan import keys
from dibo.plan.base import Base
from dibo.plan.keys import KeyInputs
from dibo.plan.plan import Plan, PlannedStep, make_plan, with_held
from dibo.plan.recipe import Recipe, Step, make_recipe
from dibo.settings.settings import Settings
from dibo.system import process, resources
from dibo.system.exclusive import exclusive
from dibo.system.report import Report
from dibo.system.task import BUILT, CACHED, SHARED, LayerOutcome, Task
from dibo.system.workspace import Run, Workspace

_FRESH_SECONDS = 6 * 3600  # a mirror keeps superseded packages at least for hours


OnLayer = Callable[[str], None]
"""Gets the key of each layer that is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A plan, and all that running it takes."""

    settings: Settings
    plan: Plan
    base: Base
    extra: ExtraFiles
    runner: Runner
    origins: LayerOrigins
    times: StepTimes
    fetched: FetchedFiles
    secrets: SecretValues = field(default_factory=SecretValues)

    @property
    def stack(self) -> Stack:
        return self.plan.recipe.stack

    @property
    def recipe(self) -> Recipe:
        return self.plan.recipe

    @property
    def time(self) -> int | None:
        """The latest that anything in a layer may have, in seconds since 1970."""
        return start_of(self.plan.epoch)

    def stage(self, step: Step, target: Path) -> None:
        """Fill `target`, an empty directory, with what a step sees. Raises FlavourError, BaseError, Unreachable,
        VerificationFailed, OutputError."""
        files = self.runner, self.extra
        times = self.time, self.plan.resolution.clock
        stage_step(step, self.recipe, self.base, files=files, times=times, target=target)
        self.fetched.place(step, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRun:
    """What a build works with: the engine, the directories of the cache and of this run, and the report."""

    engine: Engine
    workspace: Workspace
    run: Run
    report: Report


def catalogue(settings: Settings, *, copies: Path | None = None) -> Catalogue:
    """The flavours of the search path: what the user named, then the built-in ones. With `copies`, the files of those
    that are read are copied there."""
    return Catalogue((*settings.flavours_path, resources.shared("flavours")), copies=copies)


def host_environment(settings: Settings, stack: Stack) -> dict[str, str]:
    """What hooks on the host get beside what their phase gives them."""
    return {**stack.environment(settings.environment.get), "ARCH": settings.architecture}


def base_of(settings: Settings, *, workspace: Workspace, report: Report) -> Base:
    """What the first layer is made of. What it looks up, it looks up once. Raises UsageError."""
    return choose_base(settings.base, settings=base_settings(settings), workspace=workspace, report=report)


def prepare(
    settings: Settings,
    stack: Stack,
    base: Base,
    setup: Setup,
    *,
    workspace: Workspace,
    held: Mapping[str, float],
) -> Job:
    """Everything up to the plan: host hooks run, base identified, packages chosen, keys made."""
    run, report = setup.run, setup.report
    secrets = read_secrets(settings.secrets, settings.environment)
    warn_of_flavours(settings, stack, report)
    for warning in secrets.undeclared(stack):
        report.warn(warning)
    revisions = secrets.revisions(stack, workspace.keys)
    recipe = make_recipe(
        stack,
        architecture=settings.architecture,
        environment=stack.environment(settings.environment.get),
    )
    extra = host_hooks.extra_data(
        stack,
        directory=run.subdirectory("extra-data"),
        host=host_run(settings, stack, report),
    )
    runner = Runner()
    base_ingredients = base.ingredients()
    if settings.lock is not None:
        require_base(settings.lock, f"{base.name} {base.architecture}", dict(base_ingredients))
        require_files(settings.lock, stack, settings.architecture)
    recipe, resolution = choose_packages(recipe, base, setup.resolutions)
    plan = make_plan(
        recipe,
        base_name=base.name,
        base_ingredients=base_ingredients,
        resolution=resolution,
        inputs=KeyInputs(
            runner=runner.digest,
            element_runner=ElementRunner().digest if isinstance(stack, MixedStack) else "",
            epoch=settings.epoch,
            extra=extra.values,
            revisions=revisions,
        ),
        held=lambda key: not settings.refresh and key in held,
    )
    return Job(
        settings=settings,
        plan=plan,
        base=base,
        extra=extra,
        runner=runner,
        origins=LayerOrigins(workspace.keys),
        times=StepTimes(workspace.keys),
        fetched=fetched_files(settings, workspace, report),
        secrets=secrets,
    )


def taken_over(
    settings: Settings,
    plan: Plan,
    extra: ExtraFiles,
    *,
    workspace: Workspace,
    report: Report,
    held: Mapping[str, float],
) -> Job:
    """The job of a plan that another process of the same run made: no hook runs, no key is made again. `extra` is what
    hooks on the host made there."""
    base = base_of(stacks.settings_of(settings, plan.recipe.stack), workspace=workspace, report=report)
    base.adopt(plan.resolution)
    return Job(
        settings=settings,
        plan=with_held(plan, lambda key: not settings.refresh and key in held),
        base=base,
        extra=extra,
        runner=Runner(),
        origins=LayerOrigins(workspace.keys),
        times=StepTimes(workspace.keys),
        fetched=fetched_files(settings, workspace, report),
        secrets=read_secrets(settings.secrets, settings.environment),
    )


def host_run(settings: Settings, stack: Stack, report: Report) -> HostRun:
    """What hooks on the host run with."""
    return HostRun(
        environment=host_environment(settings, stack), on_output=report.say, policy=settings.host_hooks
    )


def confinement_of(settings: Settings) -> Confinement:
    """How far the settings confine steps."""
    return Confinement(isolation=settings.isolation, network=settings.network)


def build(
    job: Job,
    build_run: BuildRun,
    *,
    held: Mapping[str, float],
    on_layer: OnLayer = lambda _: None,
) -> None:
    """Make the layers that are not there yet; `on_layer` gets the key of each. Raises HookFailed, EngineError,
    BaseError, FlavourError, and UsageError for a secret that is missing."""
    plan = job.plan
    job.secrets.require_for(planned.step for planned in plan.to_run)
    if any(planned.step.is_outside for planned in plan.to_run):
        stacks.require_outside(build_run.engine)
    requests = requests_of_steps(planned.step for planned in plan.to_run)
    job.fetched.require(requests)
    report_cached(plan, build_run.report)
    with job.fetched.ahead(requests):
        _make_layers(job, build_run, held=held, on_layer=on_layer)


def _make_layers(job: Job, build_run: BuildRun, *, held: Mapping[str, float], on_layer: OnLayer) -> None:
    plan = job.plan
    made = dict(held)
    if not plan.base_held:
        title = f"base {plan.base_name}"
        with _alone(job, plan.base_key, title, build_run, held=held) as made_by_another:
            if not made_by_another:
                with build_run.report.task(title) as task:
                    _require_same_base(job)
                    build_run.engine.import_base(
                        job.base.source(),
                        key=plan.base_key,
                        labels=keys.labels_of_layer(plan.base_key),
                        architecture=plan.recipe.architecture,
                    )
                job.origins.save_built(build_run.engine, plan.base_key, parent=None)
                job.times.save(plan.base_key, LayerTime(seconds=round(task.seconds, 3)))
                report_layer(plan, plan.base_key, build_run.report, origin=BUILT, task=task)
            else:
                report_layer(plan, plan.base_key, build_run.report, origin=SHARED)
        on_layer(plan.base_key)
    parent = plan.start
    made.setdefault(parent, time.time())
    for number, planned in enumerate(plan.to_run, start=plan.resume + 1):
        title = f"[{number}/{len(plan.steps)}] {planned.step.title}"
        job.fetched.raise_failures()
        with _alone(job, planned.key, title, build_run, held=held) as made_by_another:
            if not made_by_another:
                task = _run_step(
                    job, planned, build_run, title=title, parent=parent, parent_made=made[parent]
                )
                job.origins.save_built(build_run.engine, planned.key, parent=parent)
                report_layer(plan, planned.key, build_run.report, origin=BUILT, task=task)
            else:
                report_layer(plan, planned.key, build_run.report, origin=SHARED)
        parent = planned.key
        made[parent] = time.time()
        on_layer(parent)


def _require_same_base(job: Job) -> None:
    """Raises BaseError where a server has another base now than when the key was made."""
    document = keys.base_document(
        job.base.ingredients(), architecture=job.recipe.architecture, resolved=job.plan.resolution.base
    )
    if keys.key_of(document) != job.plan.base_key:
        raise BaseError(
            f"the base {job.plan.base_name} is another one now than when its layer was planned",
            hint="there is a newer one: start again",
        )


def report_cached(plan: Plan, report: Report) -> None:
    """Tell of the layers that are not to be made: what no cache gave is in the engine's store."""
    if plan.base_held:
        for key in plan.keys[: plan.resume + 1]:
            report_layer(plan, key, report, origin=CACHED)


def report_layer(
    plan: Plan, key: str, report: Report, *, origin: str, registry: str = "", task: Task | None = None
) -> None:
    """Tell where a layer of the plan came from."""
    titles = (f"base {plan.base_name}", *(planned.step.title for planned in plan.steps))
    report.layer(
        LayerOutcome(
            key=key,
            title=titles[plan.keys.index(key)],
            origin=origin,
            registry=registry,
            task=task.number if task is not None else None,
        )
    )


@contextlib.contextmanager
def _alone(
    job: Job, key: str, title: str, build_run: BuildRun, *, held: Mapping[str, float]
) -> Iterator[bool]:
    """Let no other build on this machine make the layer `key` meanwhile; whether one has made it since the plan, when
    the engine's store held `held`."""

    def tell(holder: str) -> None:
        build_run.report.say(f"{title}: waiting for {holder}, which builds this layer")

    with exclusive(build_run.workspace.locks, key, on_wait=tell) as waited:
        engine = build_run.engine
        # It may have ended between the plan and this lock: then nobody waited.
        made = engine.held().get(key)
        is_new = made is not None and (waited or made != held.get(key))
        made_by_another = is_new and not job.origins.distrusted(engine, [key])
        if made_by_another:
            build_run.report.say(f"{title}: another build has made it")
        yield made_by_another


def _run_step(
    job: Job, planned: PlannedStep, build_run: BuildRun, *, title: str, parent: str, parent_made: float
) -> Task:
    """Make the layer of one step; `parent_made` is when the layer below was made, in seconds since 1970."""
    engine, run, report = build_run.engine, build_run.run, build_run.report
    directory = run.subdirectory("context")
    job.stage(planned.step, directory)
    fresh = {"DIBO_FRESH": "1"} if time.time() - parent_made < _FRESH_SECONDS else {}
    failed = f"failed-{planned.key}"
    clock = HookClock()

    def on_hook(hook: str) -> None:
        clock.start(hook)
        task.running(f"{planned.step.owner}: {hook}")

    with report.task(title) as task, job.secrets.files(planned.step.secrets, run) as secrets:
        step = StepRun(
            planned=planned,
            labels=keys.labels_of_layer(
                planned.key, epoch=job.plan.epoch if planned.step.dated else "", local=planned.step.local
            ),
            parent=parent,
            context=directory,
            environment={**(process.proxies() if planned.step.network else {}), **fresh},
            secrets=secrets,
            mask=job.secrets.mask,
            log=build_run.workspace.logs / f"{planned.key}.log",
            on_output=task.line,
            on_hook=on_hook,
            on_stage=task.stage,
        )
        try:
            engine.run_step(step)
        except HookFailed as error:
            _keep_only(engine, failed)
            error.hint += f"\nto look at what it left:  {shell_command(job, planned)}"
            raise
    job.times.save(planned.key, clock.stop())
    return task


def _keep_only(engine: Engine, failed: str) -> None:
    """One failed state is kept: the newest."""
    for name in engine.names():
        if name.startswith("failed-") and name != failed:
            engine.remove(name)


def shell_command(job: Job, planned: PlannedStep) -> str:
    """What to type to stand in the state that a failed step left."""
    settings = job.settings
    options = ["-a", settings.architecture, *(() if settings.container_build else ("--base", settings.base))]
    options += ["--epoch", settings.epoch] if settings.epoch_named else []
    for option, value in (
        ("--release", settings.release),
        ("--sha256", settings.sha256),
        ("--mirror", settings.mirror),
        ("--keyring", settings.keyring),
        ("--keyserver", settings.keyserver),
    ):
        options += [option, str(value)] if value else []
    for path in settings.flavours_path:
        options += ["--flavours-path", str(path.absolute())]
    options += ["--cache-dir", str(settings.cache)]
    names = settings.flavours[1:] if settings.flavours[0] == "base" else ("--no-base", *settings.flavours)
    return shlex.join(["dibo", "shell", "--at", f"failed-{planned.key[:12]}", *options, *names])
