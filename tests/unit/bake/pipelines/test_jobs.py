"""The jobs of a graph: one for what the same images share, in the order of the layers."""

from __future__ import annotations

from dibo.bake.pipelines.jobs import jobs_of
from tests.unit.bake.pipelines.graphs import STACKS, graph_of


def test_layers_between_two_branches_are_one_job() -> None:
    jobs = jobs_of(graph_of())
    assert [(job.name, job.images, job.below) for job in jobs.layers] == [
        ("layers-vm", ("web", "db", "plain"), None),
        ("layers-web-server", ("web",), "layers-vm"),
        ("layers-mysql", ("db",), "layers-vm"),
    ]
    assert {job.image: job.layers for job in jobs.images} == {
        "web": "layers-web-server",
        "db": "layers-mysql",
        "plain": "layers-vm",
    }
    assert {job.image: jobs.shared(job) for job in jobs.images} == dict.fromkeys(STACKS, "layers-vm")


def test_each_architecture_has_layers_of_its_own() -> None:
    stacks = {"web-amd64": STACKS["web"], "web-arm64": STACKS["web"]}
    jobs = jobs_of(graph_of(stacks, architectures={"web-arm64": "arm64"}))
    assert [job.name for job in jobs.layers] == ["layers-web-server-amd64", "layers-web-server-arm64"]
    assert jobs.architectures == ("amd64", "arm64")


def test_names_are_given_once() -> None:
    stacks = {
        "a": ("base debian:trixie", "x install.d: 10-a"),
        "b": ("base debian:trixie", "x install.d: 20-b"),
    }
    jobs = jobs_of(graph_of(stacks))
    assert [job.name for job in jobs.layers] == ["layers-base-debian-trixie", "layers-x", "layers-x-2"]


def test_layers_that_no_cache_may_have_are_built_with_the_artefact() -> None:
    jobs = jobs_of(graph_of(local=("mysql install.d: 50-mysql", "mysql install.d: 60-tune")))
    assert [job.name for job in jobs.layers] == ["layers-vm", "layers-web-server"]
    assert {job.image: (job.layers, job.builds) for job in jobs.images} == {
        "web": ("layers-web-server", False),
        "db": ("layers-vm", True),
        "plain": ("layers-vm", False),
    }
