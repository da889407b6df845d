"""A cluster of Dask, and what its workers have: found out before anything is built."""

from __future__ import annotations

import contextlib
import logging
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from dibo import __version__
from dibo.api.fleet.orders import FactsOrder, FleetOrder, WorkerFacts
from dibo.bake.placement import FleetWorker
from dibo.build.context import Runner
from dibo.errors import EngineError, ToolMissing, Unreachable, UsageError
from dibo.images.reference import on_loopback
from dibo.system import process
from dibo.system.report import Report
from dibo.system.waits import pause

LOCAL: Final = "dask"
"""`--on dask`: workers on this machine."""
_SCHEMES: Final = {"dask": "tcp", "tcp": "tcp", "tls": "tls", "ws": "ws", "wss": "wss", "ucx": "ucx"}
_CONNECT_SECONDS: Final = 15
_WORKERS_SECONDS: Final = 60
_FACTS_SECONDS: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAddress:
    """Where a bake goes."""

    address: str | None
    """Of a scheduler, as Dask writes it; None: a cluster on this machine, for the time of the bake."""

    @property
    def is_local(self) -> bool:
        return self.address is None


def parse_cluster(text: str) -> ClusterAddress:
    """`dask`, `dask://HOST:PORT`, or an address as Dask writes it: `tls://HOST:PORT`. Raises UsageError."""
    if text == LOCAL:
        return ClusterAddress(address=None)
    scheme, separator, rest = text.partition("://")
    try:
        port = urlsplit(f"//{rest}").port
    except ValueError:
        port = None
    if not separator or scheme not in _SCHEMES or port is None:
        raise UsageError(
            f"--on: expected dask, dask://HOST:PORT or tls://HOST:PORT, got {text!r}",
            hint="HOST:PORT is what `dask scheduler` prints; dask alone starts workers on this machine",
        )
    return ClusterAddress(address=f"{_SCHEMES[scheme]}://{rest}")


@dataclass(slots=True, kw_only=True)
class Cluster:
    """A connection to a scheduler."""

    client: Any
    address: ClusterAddress
    report: Report
    facts_order: FactsOrder
    refused: dict[str, str] = field(default_factory=dict)
    """Why workers are not used, by address."""
    names: dict[str, str] = field(default_factory=dict)
    """Of workers that can be used, by address."""
    last_seen: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the scheduler last said of its workers, by address."""

    def addresses(self) -> dict[str, Mapping[str, Any]]:
        """What the scheduler says of its workers; while it cannot be asked, what it last said.

        `Client.scheduler_info` would not do: it returns what Dask itself asks for now and then, too, and that may have
        come last, with no workers in it.
        """
        with contextlib.suppress(OSError):
            identity = self.client.sync(self._identity)
            if identity is not None:
                self.last_seen = dict(identity["workers"])
        return self.last_seen

    async def _identity(self) -> Any:
        scheduler = self.client.scheduler  # None while the client is closed
        return None if scheduler is None else await scheduler.identity(n_workers=-1)

    def examined(self, addresses: Sequence[str]) -> list[FleetWorker]:
        """Those of the workers that can be used, after a look at what they have."""
        information = self.addresses()
        present = [address for address in addresses if address in information]
        if not present:
            return []
        self.refused.update(self._mismatches(present))
        same = [address for address in present if address not in self.refused]
        return [
            worker
            for address, facts in self._facts(same).items()
            if (worker := self._worker(address, facts, information[address])) is not None
        ]

    def _mismatches(self, addresses: Sequence[str]) -> dict[str, str]:
        """Python and packages of workers are asked for by Dask itself, before dibo is imported there."""
        versions = self.client.get_versions(packages=["dibo"])
        return {
            address: reason
            for address in addresses
            if (reason := version_problem(versions["workers"].get(address), versions["client"]))
        }

    def _facts(self, addresses: Sequence[str]) -> dict[str, WorkerFacts]:
        from dibo.api.fleet.on_worker import facts

        if not addresses:
            return {}
        answers = self.client.run(facts, self.facts_order, workers=list(addresses), on_error="return")
        facts_of = {}
        for address, answer in answers.items():
            if isinstance(answer, WorkerFacts):
                facts_of[address] = answer
            else:
                self.refused[address] = f"cannot say what it has: {answer!r}"
        return facts_of

    def _worker(self, address: str, facts: WorkerFacts, details: Mapping[str, Any]) -> FleetWorker | None:
        if facts.runner != Runner().digest:
            self.refused[address] = f"has other files of dibo {facts.version} than this machine"
        elif facts.reaches:
            self.refused[address] = f"does not reach {self.facts_order.repository}: {facts.reaches}"
        else:
            self.refused.pop(address, None)
            self.names[address] = str(details["name"])
            if facts.builds:
                self.report.warn(f"the worker {details['name']} makes artefacts only: {facts.builds}")
            return FleetWorker(
                name=address,
                architectures=facts.architectures,
                memory=int(details.get("memory_limit") or 0) or _UNLIMITED,
                slots=int(details["nthreads"]),
                builds=not facts.builds,
                boots=facts.boots,
            )
        return None

    def submit(self, order: FleetOrder, key: str, *, worker: str, topic: str) -> Any:
        """Have the worker carry out an order; the future of its outcome."""
        from dibo.api.fleet.on_worker import perform

        return self.client.submit(
            perform, order, topic, key=key, workers=[worker], allow_other_workers=False, retries=0, pure=False
        )


_UNLIMITED: Final = 1 << 62


def version_problem(worker: Mapping[str, Any] | None, client: Mapping[str, Any]) -> str:
    """Why a worker cannot take tasks of this client, as Dask's `get_versions` describes both; empty if it can."""
    if worker is None:
        return "does not say which versions it has"
    packages = worker.get("packages", {})
    python = str(dict(worker.get("host", {})).get("python", packages.get("python", "")))
    if python.split(".")[:2] != platform.python_version().split(".")[:2]:
        return f"has Python {python.rpartition('.final')[0] or python}, expected {platform.python_version()}"
    if not packages.get("dibo"):
        return "has no dibo: install dibo[dask] in the Python of the worker"
    if packages["dibo"] != __version__:
        return f"has dibo {packages['dibo']}, expected {__version__}"
    own = client.get("packages", {}).get("distributed")
    if packages.get("distributed") != own:
        return f"has distributed {packages.get('distributed')}, expected {own}"
    return ""


@contextlib.contextmanager
def connected(
    address: ClusterAddress, order: FactsOrder, report: Report, *, workers: int
) -> Iterator[Cluster]:
    """A cluster, for a while. Of workers on this machine there are so many. Raises ToolMissing without Dask,
    Unreachable for a scheduler that does not respond, EngineError where no worker can be used."""
    client_class, local_class = _dask()
    with contextlib.ExitStack() as stack, report.task("cluster", minor=True):
        stack.enter_context(process.sharing())
        target: Any = address.address
        if address.address is None:
            target = stack.enter_context(_local(local_class, workers))
        try:
            client = client_class(target, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            raise _unreachable(address, error) from error
        stack.callback(client.close, timeout=_CONNECT_SECONDS)
        cluster = Cluster(client=client, address=address, report=report, facts_order=order)
        _warn_of_open_network(address, report)
        yield cluster


@contextlib.contextmanager
def _local(local_class: Callable[..., Any], workers: int) -> Iterator[Any]:
    """A cluster of this machine. Raises EngineError."""
    import dask

    with (
        tempfile.TemporaryDirectory(prefix="dibo-dask-") as directory,
        dask.config.set({"temporary-directory": directory}),
    ):
        try:
            cluster = local_class(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
        except (OSError, TimeoutError, RuntimeError) as error:
            raise EngineError(f"no workers start on this machine: {error}") from error
        with cluster:
            yield cluster


def _dask() -> tuple[Callable[..., Any], Callable[..., Any]]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ToolMissing(
            f"--on needs Dask.distributed, which is not installed: {error}",
            hint="pip install 'dibo[dask]', here and for the workers",
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what happens is in the report
    return Client, LocalCluster


def _unreachable(address: ClusterAddress, error: Exception) -> Unreachable:
    reason = " ".join(str(error).split()) or type(error).__name__
    return Unreachable(
        f"the scheduler {address.address} does not respond: {reason}",
        hint="start one with `dask scheduler`; for tls:// name certificates in Dask's configuration"
        " (DASK_DISTRIBUTED__COMM__TLS__CA_FILE and its like)",
    )


def _warn_of_open_network(address: ClusterAddress, report: Report) -> None:
    text = address.address or ""
    if text.startswith("tcp://") and not on_loopback(text.removeprefix("tcp://")):
        report.warn(
            f"{text} is neither encrypted nor authenticated: every program that reaches it can use its workers;"
            " use tls://, or a network of its own"
        )


def first_workers(cluster: Cluster, *, seconds: float = _WORKERS_SECONDS) -> list[FleetWorker]:
    """The workers at the beginning; waits for the first. Raises EngineError where none comes, or none can be used."""
    deadline = time.monotonic() + seconds
    while not (present := cluster.addresses()):
        if time.monotonic() > deadline:
            raise EngineError(
                f"the scheduler {cluster.address.address} has no workers after {seconds:g} s",
                hint="start some: dask worker HOST:PORT --nthreads 1",
            )
        pause(0.2)
    workers = cluster.examined(tuple(present))
    for address, reason in cluster.refused.items():
        cluster.report.warn(f"the worker {present[address]['name']} is not used: it {reason}")
    if not workers:
        listed = "\n".join(
            f"{present[address]['name']} {reason}" for address, reason in cluster.refused.items()
        )
        raise EngineError(
            f"none of the {len(present)} workers of {cluster.address.address or 'this machine'} can be used",
            hint=listed,
        )
    return workers
