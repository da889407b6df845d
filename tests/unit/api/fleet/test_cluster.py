"""Where a bake goes, and which workers of a cluster it can use."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from dibo import __version__
from dibo.api.fleet import cluster
from dibo.api.fleet.cluster import Cluster, ClusterAddress, connected, parse_cluster, version_problem
from dibo.api.fleet.orders import FactsOrder
from dibo.build.sandbox import Confinement
from dibo.errors import Unreachable, UsageError
from dibo.system.report import Report

CLIENT = {"packages": {"distributed": "2026.8.0"}}


def test_addresses() -> None:
    assert parse_cluster("dask").is_local
    assert parse_cluster("dask://build:8786") == ClusterAddress(address="tcp://build:8786")
    assert parse_cluster("tls://build:8786") == ClusterAddress(address="tls://build:8786")


@pytest.mark.parametrize("text", ["", "build:8786", "dask://build", "ssh://build:22", "dask://build:port"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="--on: expected dask"):
        parse_cluster(text)


def worker(*, python: str = platform.python_version(), **packages: str | None) -> dict[str, object]:
    versions = {"dibo": __version__, "distributed": "2026.8.0", **packages}
    return {"host": {"python": f"{python}.final.0"}, "packages": versions}


def test_a_worker_like_this_machine_can_be_used() -> None:
    assert version_problem(worker(), CLIENT) == ""


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        (worker(python="3.9.1"), "has Python 3.9.1, expected"),
        (worker(dibo=None), "has no dibo: install dibo"),
        (worker(dibo="0.0.1"), f"has dibo 0.0.1, expected {__version__}"),
        (worker(distributed="2020.1"), "has distributed 2020.1, expected 2026.8.0"),
        (None, "does not say which versions it has"),
    ],
)
def test_a_worker_with_other_versions_cannot(versions: dict[str, object] | None, problem: str) -> None:
    assert problem in version_problem(versions, CLIENT)


class Scheduler:
    """Of Dask, as its clients see it."""

    def __init__(self) -> None:
        self.responds = True

    async def identity(self, n_workers: int) -> dict[str, Any]:
        if not self.responds:
            raise OSError("the connection is closed")
        return {"workers": {"tcp://a:1": {"name": "a"}} if n_workers == -1 else {}}


class Client:
    """That of Dask, which asks for no workers now and then, and returns what it got last."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()

    def sync(self, function: Callable[[], Awaitable[Any]]) -> Any:
        async def call() -> Any:
            return await function()

        return asyncio.run(call())

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": {}}


def order() -> FactsOrder:
    confinement = Confinement(isolation="bwrap", network="host")
    return FactsOrder(engine="auto", confinement=confinement, architectures=(), repository=None)


def test_no_worker_is_missed_that_the_scheduler_has() -> None:
    client = Client()
    one = Cluster(
        client=client, address=parse_cluster("dask"), report=Report(quiet=True), facts_order=order()
    )
    assert one.addresses() == {"tcp://a:1": {"name": "a"}}
    client.scheduler.responds = False
    assert one.addresses() == {"tcp://a:1": {"name": "a"}}


def test_a_scheduler_that_does_not_respond(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(Unreachable, match=r"the scheduler .* does not respond"),
        connected(parse_cluster("dask://127.0.0.1:1"), order(), Report(quiet=True), workers=1),
    ):
        pass
