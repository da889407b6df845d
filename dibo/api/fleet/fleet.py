"""A fleet, opened before anything is planned: what is wrong with a cluster is known before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dibo.api.baking.planning import PlannedBake
from dibo.api.baking.spec import ImageSpec
from dibo.api.fleet.cluster import Cluster, ClusterAddress, connected, first_workers
from dibo.api.fleet.exchange import Exchange, FileExchange, RegistryExchange
from dibo.api.fleet.execute import bake_on
from dibo.api.fleet.orders import FactsOrder
from dibo.api.session import new_run
from dibo.bake.placement import FleetWorker
from dibo.bake.report import TaskResult
from dibo.build.build import confinement_of
from dibo.errors import UsageError
from dibo.images.reference import ImageName
from dibo.system.report import Report
from dibo.system.workspace import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A cluster whose workers can be used."""

    cluster: Cluster
    workers: tuple[FleetWorker, ...]
    repository: ImageName | None
    """Where large things are exchanged; None: in files, by workers on this machine."""
    run: Run
    """What is on its way is in its directory."""
    report: Report
    stop_on_failure: bool

    @property
    def is_local(self) -> bool:
        """Whether the workers share the store of layers and the files of this machine."""
        return self.repository is None

    @property
    def slots(self) -> int:
        """How many tasks are done at a time."""
        return sum(worker.slots for worker in self.workers)

    def bake(self, planned: PlannedBake) -> tuple[TaskResult, ...]:
        """Carry out all tasks; how each ended, in the order of the graph. Raises EngineError for a task that no worker
        can do, LocalLayers and UsageError for an image that cannot be built on other machines."""
        exchange: Exchange
        if self.repository is None:
            exchange = FileExchange(planned.images.values(), self.run)
        else:
            exchange = RegistryExchange(planned, self.repository, self.run, self.report)
        return bake_on(
            planned,
            self.report,
            self.cluster,
            exchange,
            workers=self.workers,
            stop_on_failure=self.stop_on_failure,
        )


@contextmanager
def open_fleet(
    specs: Sequence[ImageSpec],
    report: Report,
    address: ClusterAddress,
    *,
    jobs: int,
    stop_on_failure: bool,
) -> Iterator[Fleet]:
    """A fleet for these images. On this machine it has `jobs` workers. Raises UsageError without a registry that
    workers of other machines could share, and what `connected` and `first_workers` raise."""
    repository = None if address.is_local else _shared_repository(specs)
    settings = specs[0].settings
    order = FactsOrder(
        engine=settings.engine,
        confinement=confinement_of(settings),
        architectures=tuple(sorted({spec.settings.architecture for spec in specs})),
        repository=None if repository is None else str(repository),
    )
    with (
        new_run(settings) as (_, run),
        connected(address, order, report, workers=jobs) as cluster,
    ):
        yield Fleet(
            cluster=cluster,
            workers=tuple(first_workers(cluster)),
            repository=repository,
            run=run,
            report=report,
            stop_on_failure=stop_on_failure,
        )


def _shared_repository(specs: Sequence[ImageSpec]) -> ImageName:
    """The first cache that all images are read from and stored in."""
    several = [
        [name for name in spec.settings.caches_to if name in spec.settings.caches_from] for spec in specs
    ]
    for name in several[0]:
        if all(name in names for names in several):
            return name
    raise UsageError(
        "workers on other machines exchange layers and artefacts through a registry, and none is named",
        hint="name one that all of them reach: --cache HOST/PATH, DIBO_CACHE, or cache: in the project file",
    )
