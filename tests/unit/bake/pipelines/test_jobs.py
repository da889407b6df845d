"""The jobs of a graph: one for what the same images share, in the order of the layers."""

from __future__ import annotations

from dibo.bake.pipelines.jobs import jobs_of
from tests.unit.bake.pipelines.graphs import STACKS, graph_of


def test_layers_between_two_branches_are_one_job() -> None:
    jobs = jobs_of(graph_of())
    assert [(job.name, job.images, job.below) for job in jobs.layers] == [
        ("layers-vm", ("web", "db", "plain"), None),
        ("layers-web", ("web",), "layers-vm"),
        ("layers-db", ("db",), "layers-vm"),
    ]
    assert {job.image: job.layers for job in jobs.images} == {
        "web": "layers-web",
        "db": "layers-db",
        "plain": "layers-vm",
    }
    assert {job.image: jobs.shared(job) for job in jobs.images} == dict.fromkeys(STACKS, "layers-vm")


def test_each_architecture_has_layers_of_its_own() -> None:
    stacks = {"web": STACKS["web"], "arm-web": STACKS["web"]}
    jobs = jobs_of(graph_of(stacks, architectures={"arm-web": "arm64"}))
    assert [job.name for job in jobs.layers] == ["layers-web-amd64", "layers-arm-web-arm64"]
    assert jobs.architectures == ("amd64", "arm64")


def test_names_are_given_once() -> None:
    base = "base debian:trixie"
    both = (base, "x install.d: 10-a")
    stacks = {"x": (*both, "finalise"), "b": (*both, "x install.d: 20-b"), "c": (base, "finalise")}
    names = ["layers-base-debian-trixie", "layers-x", "layers-x-2", "layers-b", "layers-c"]
    assert sorted(job.name for job in jobs_of(graph_of(stacks)).layers) == sorted(names)


def test_layers_that_no_cache_may_have_are_built_with_the_artefact() -> None:
    jobs = jobs_of(graph_of(local=("mysql install.d: 50-mysql", "mysql install.d: 60-tune")))
    assert [job.name for job in jobs.layers] == ["layers-vm", "layers-web"]
    assert {job.image: (job.layers, job.builds) for job in jobs.images} == {
        "web": ("layers-web", False),
        "db": ("layers-vm", True),
        "plain": ("layers-vm", False),
    }
