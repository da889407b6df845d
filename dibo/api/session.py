"""Sessions: one run of dibo with its directories, its engine, and what that holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dibo.build import build as spine
from dibo.build import host_hooks, ingredients_store, stacks, store_pruning
from dibo.build.build import OnLayer
from dibo.build.context import ExtraFiles
from dibo.build.engine import Engine, Root, Setup
from dibo.build.engines import choose
from dibo.build.engines.sweeping import sweepers
from dibo.build.layer_origins import LayerOrigins
from dibo.build.package_choice import fetching_ahead
from dibo.errors import (
    CommandFailed,
    DiboError,
    EngineError,
    LayerError,
    RegistryError,
    ToolMissing,
    Unreachable,
    VerificationFailed,
)
from dibo.flavours.stack import Stack
from dibo.images.image import Layer
from dibo.images.layers.kept_layers import KeptLayers, boot_identity
from dibo.images.layers.limits import Limits
from dibo.images.layers.read_ahead import ReadAhead
from dibo.plan.base import Base, NoStore, ResolutionStore
from dibo.plan.plan import Plan
from dibo.settings.settings import Settings
from dibo.system.exclusive import shared
from dibo.system.profiling import trace as profiling
from dibo.system.report import Report
from dibo.system.resources import processors
from dibo.system.task import PULLED
from dibo.system.workspace import Run, Workspace

if TYPE_CHECKING:
    from dibo.cache.lookup import Caches
    from dibo.trust.policy import Trust


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
    """When each layer in the engine's store was made, by key, of those that count."""
    origins: LayerOrigins
    distrusted: Mapping[str, str] = field(default_factory=dict)
    """Why layers in the engine's store do not count, by key."""
    built: set[str] = field(default_factory=set)
    """Keys of the layers that this run uses of the engine's store."""

    @property
    def setup(self) -> Setup:
        return Setup(run=self.run, report=self.report, resolutions=self._resolutions())

    def job(self, stack: Stack, *, base: Base | None = None) -> spine.Job:
        """The plan of the layers of `stack`, with what the engine and caches hold of it. `base` is that of the
        settings, where it was looked up before."""
        settings = stacks.settings_of(self.settings, stack)
        base = base or spine.base_of(settings, workspace=self.workspace, report=self.report)
        with profiling.span("plan"):
            job = spine.prepare(settings, stack, base, self.setup, workspace=self.workspace, held=self.held)
            return self._consulted(job)

    def take_over(self, plan: Plan, extra: ExtraFiles) -> spine.Job:
        """As `job`, of a plan that another process of the same run made, with what hooks on the host made there."""
        return self._consulted(
            spine.taken_over(
                self.settings,
                plan,
                extra,
                workspace=self.workspace,
                report=self.report,
                held=self.held,
            )
        )

    def _resolutions(self) -> ResolutionStore:
        """Where packages may have been chosen before."""
        if self.caches is None:
            return NoStore()
        from dibo.cache.resolutions import RegistryResolutions

        return RegistryResolutions(remotes=self.caches.remotes)

    def _consulted(self, job: spine.Job) -> spine.Job:
        """The job, with what counts of the engine's store and of caches."""
        job = replace(job, origins=self.origins)
        reasons = [self.distrusted[key] for key in job.plan.keys if key in self.distrusted]
        if reasons:
            self.report.warn(f"layers of this stack do not count ({len(reasons)}): {reasons[-1]}")
        if self.caches is None:
            return job
        from dibo.cache import session as caching

        return caching.consult(job, self.caches, self.held)

    def build(self, job: spine.Job) -> None:
        """Have all layers in the engine's store; those that were made, in the caches too."""
        ingredients_store.save_plan(self.workspace.keys, job.plan)
        before = self.report.history.last
        self.built.update(job.plan.keys)
        with self._exchange(job) as (brought, on_layer):
            if brought.plan.to_run or not brought.plan.base_held:
                self.engine.check()
            build_run = spine.BuildRun(
                engine=self.engine, workspace=self.workspace, run=self.run, report=self.report
            )
            with fetching_ahead(brought.base, [planned.step for planned in brought.plan.to_run]):
                spine.build(brought, build_run, held=self.held, on_layer=on_layer)
        job.times.save_build(job.plan, self.report.history, since=before)

    def with_root(self, job: spine.Job, make: Make, *, needs_directory: bool = False) -> tuple[Path, ...]:
        """Let `make` make artefacts of the job's root: of a cache's, where one holds it whole, else of the engine's,
        once it is built. With `needs_directory` always of the engine's."""
        key = job.plan.image_key
        before = self.report.history.last
        made = None if needs_directory else _from_caches(self, job, make)
        if made is None:
            with ReadAhead(self.run.subdirectory("layers"), self._kept_layers(), Limits()) as ahead:
                with ExitStack() as stack:
                    if not needs_directory:
                        stack.enter_context(ahead.meanwhile(self._layers_below(job, stack)))
                    self.build(job)
                with self.engine.root(key, architecture=self.settings.architecture) as root:
                    made = make(replace(root, layers=ahead.layers(root.layers)))
        job.times.save_build(job.plan, self.report.history, since=before)
        return made

    def _kept_layers(self) -> KeptLayers:
        return KeptLayers(self.workspace.root / "unpacked", boot=boot_identity())

    def _layers_below(self, job: spine.Job, stack: ExitStack) -> tuple[Layer, ...]:
        """The layers on which steps are to run, where there is a processor to read them meanwhile."""
        plan = job.plan
        if not (plan.to_run and plan.start in self.held and self.engine.reads_beside and processors() > 1):
            return ()
        with suppress(DiboError):  # which is said when the step begins
            root = self.engine.root(plan.start, architecture=self.settings.architecture)
            return stack.enter_context(root).layers
        return ()

    def places(self, job: spine.Job) -> Mapping[str, str]:
        """Which registry has a layer that the engine has not."""
        if self.caches is None:
            return {}
        from dibo.cache import session as caching

        return caching.places(job.plan, self.caches, self.held)

    def notes(self, job: spine.Job) -> Mapping[str, str]:
        """Where each layer is, by key, for people; nothing without a cache in a registry."""
        if self.caches is None:
            return {}
        from dibo.cache import session as caching

        return caching.notes(job.plan, self.caches, self.held)

    def only_here(self, job: spine.Job) -> tuple[str, ...]:
        """Keys of layers that the engine's store has and no cache in a registry; nothing without such a cache."""
        if self.caches is None:
            return ()
        from dibo.cache import session as caching

        return caching.only_here(job.plan, self.caches, self.held)

    def refused(self, job: spine.Job) -> Mapping[str, str]:
        """Why layers that registries or the engine's store have are not used, by key."""
        reasons = {key: self.distrusted[key] for key in job.plan.keys if key in self.distrusted}
        if self.caches is None:
            return reasons
        from dibo.cache import session as caching

        return reasons | caching.refused(job.plan, self.caches)

    @contextmanager
    def _exchange(self, job: spine.Job) -> Iterator[tuple[spine.Job, OnLayer]]:
        if self.caches is None:
            yield job, lambda _: None
            return
        from dibo.cache import session as caching

        with caching.exchange(
            job, self.caches, self.engine, self.held, run=self.run, report=self.report
        ) as exchanged:
            yield exchanged


def stack_of(settings: Settings, run: Run | None = None) -> Stack:
    """The requested flavours, and those that they need, read once. Within a run, their files are copied, so that later
    changes of the originals have no effect. Raises UsageError if --host-hooks forbids a flavour."""
    copies = run.subdirectory("flavours") if run is not None else None
    catalogue = spine.catalogue(settings, copies=copies)
    element_copies = run.subdirectory("elements") if run is not None else None
    stack = stacks.make_any_stack(settings, catalogue, copies=element_copies)
    host_hooks.require_allowed(stack, settings.host_hooks)
    return stack


def open_engine(stack: ExitStack, settings: Settings, caches: Caches | None, setup: Setup) -> Engine:
    """The engine that was asked for. Where there are caches, none that works is no error yet: when they have all, it
    is not needed."""
    try:
        confined = replace(setup, confinement=spine.confinement_of(settings))
        return stack.enter_context(choose.engine(settings.engine, confined))
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


def _trust(settings: Settings) -> Trust | None:
    """Whose signatures count; None if no key, policy or cache is given."""
    if not (
        settings.policy
        or settings.verify_keys
        or settings.sign_key
        or settings.caches_from
        or settings.caches_to
    ):
        return None
    from dibo.trust.policy import trust_of

    return trust_of(settings)


def _caches(settings: Settings, report: Report, trust: Trust | None) -> Caches | None:
    if trust is None or not (settings.caches_from or settings.caches_to):
        return None
    from dibo.cache import session as caching

    return caching.caches_of(settings, report, trust)


@contextmanager
def new_run(settings: Settings) -> Iterator[tuple[Workspace, Run]]:
    """The cache directory, and a run in it: whatever is started from here on belongs to it."""
    workspace = Workspace(settings.cache)
    with workspace.run(sweepers=sweepers()) as run:
        yield workspace, run


@contextmanager
def new_session(settings: Settings, report: Report) -> Iterator[Session]:
    with (
        new_run(settings) as (workspace, run),
        open_session(settings, Setup(run=run, report=report), workspace=workspace) as session,
    ):
        yield session


@contextmanager
def open_session(settings: Settings, setup: Setup, *, workspace: Workspace) -> Iterator[Session]:
    """A session within a run that is there already. At its end, the layers in the engine's store are limited."""
    trust = _trust(settings)
    caches = _caches(settings, setup.report, trust)
    with ExitStack() as stack:
        with profiling.span("open the engine"):
            engine = open_engine(stack, settings, caches, setup)
        with shared(workspace.store_lock):
            with profiling.span("layers in the store"):
                held = _held(engine, caches)
            origins = LayerOrigins(workspace.keys, trust.policy if trust is not None else None)
            distrusted = origins.distrusted(engine, held)
            session = Session(
                settings=settings,
                workspace=workspace,
                run=setup.run,
                report=setup.report,
                engine=engine,
                caches=caches,
                held={key: made for key, made in held.items() if key not in distrusted},
                origins=origins,
                distrusted=distrusted,
            )
            yield session
        if session.built and settings.store_limit is not None:
            store_pruning.keep_limit(
                engine, workspace, setup.report, limit=settings.store_limit, kept=session.built
            )


def _from_caches(session: Session, job: spine.Job, make: Make) -> tuple[Path, ...] | None:
    """Artefacts of an image that a cache holds whole, straight from there: no engine is asked, nothing is unpacked.
    None when it has to be built, or brought, after all."""
    caches, key = session.caches, job.plan.image_key
    if caches is None or key in session.held or session.settings.refresh:
        return None
    if not all(key in remote.digests for remote in caches.remotes if remote.writes and not remote.off):
        return None
    location = caches.find(key)
    image = caches.image(key)
    if location is None or image is None:
        return None
    remote, entry = location
    try:
        made = make(Root(name=image.name, layers=image.layers, built=True))
    except (LayerError, VerificationFailed, Unreachable, RegistryError) as error:
        remote.forget(key, error)
        return None
    from dibo.cache.entry import SECONDS

    remote.mark(entry)
    job.times.save_annotation(job.plan.keys, entry.annotation(SECONDS))
    for layer_key in job.plan.keys:
        spine.report_layer(job.plan, layer_key, session.report, origin=PULLED, registry=str(remote.name))
    return made
