"""The files for GitLab and GitHub: valid by the published schemas, the same each time, with the jobs of a graph."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
import yaml

from dibo.bake.pipelines.github import github_workflow
from dibo.bake.pipelines.gitlab import gitlab_pipeline
from dibo.bake.pipelines.jobs import jobs_of
from dibo.bake.pipelines.pipeline import Pipeline
from tests.unit.bake.pipelines.graphs import STACKS, graph_of

pytestmark = pytest.mark.slow

Write = Callable[[Pipeline], str]
SCHEMAS: dict[Write, str] = {gitlab_pipeline: "gitlab-ci", github_workflow: "github-workflows"}
BOTH = pytest.mark.parametrize("write", SCHEMAS, ids=lambda write: write.__name__)
PIPELINE = Pipeline(jobs=jobs_of(graph_of()), again="dibo bake --emit gitlab")


def document(write: Write, pipeline: Pipeline = PIPELINE) -> dict[str, Any]:
    return dict(yaml.safe_load(write(pipeline)))


def require_valid(write: Write, text: str) -> None:
    """By the schema that check-jsonschema has a copy of."""
    vendor = importlib.resources.files("check_jsonschema.builtin_schemas.vendor")
    schema = json.loads((vendor / f"{SCHEMAS[write]}.json").read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(yaml.safe_load(text))


@BOTH
@pytest.mark.parametrize(
    "pipeline",
    [
        PIPELINE,
        replace(PIPELINE, cache="registry.example/cache", has_epoch=True, options=("-f", "images/dibo.yaml")),
        replace(
            PIPELINE,
            jobs=jobs_of(graph_of(architectures={"db": "arm64"}, local=("mysql install.d: 60-tune",))),
            secrets={"db": ("DB_PASSWORD",)},
        ),
        replace(
            PIPELINE, jobs=jobs_of(graph_of({f"i{n}": (*STACKS["web"], f"own-{n} x") for n in range(300)}))
        ),
    ],
    ids=["plain", "options", "architectures", "many"],
)
def test_files_are_valid(write: Write, pipeline: Pipeline) -> None:
    require_valid(write, write(pipeline))


@BOTH
def test_a_wrong_file_is_not(write: Write) -> None:
    text = (
        write(PIPELINE)
        .replace("needs:", "neds:")
        .replace("runs-on:", "runs_on:")
        .replace("script:", "scrit:")
    )
    with pytest.raises(jsonschema.ValidationError):
        require_valid(write, text)


@BOTH
def test_the_same_jobs_give_the_same_file_and_it_says_how_to_write_it_again(write: Write) -> None:
    text = write(PIPELINE)
    assert text == write(replace(PIPELINE, jobs=jobs_of(graph_of())))
    assert "#     dibo bake --emit gitlab\n" in text
    assert "&id" not in text


def test_a_job_of_gitlab_begins_when_what_it_needs_is_done() -> None:
    jobs = document(gitlab_pipeline)
    needs = {name: job["needs"] for name, job in jobs.items() if isinstance(job, dict) and "script" in job}
    assert needs == {
        "lock": [],
        "layers-vm": ["lock"],
        "layers-web": ["lock", "layers-vm"],
        "layers-db": ["lock", "layers-vm"],
        "image-web": ["lock", "layers-web"],
        "image-db": ["lock", "layers-db"],
        "image-plain": ["lock", "layers-vm"],
    }
    assert jobs["layers-vm"]["script"] == ["dibo bake --locked --layers web db plain"]
    assert jobs["image-db"]["script"] == ["dibo bake --locked db"]
    assert jobs["image-db"]["artifacts"]["paths"] == ["out/db.*"]


def test_only_layers_are_built_where_gitlab_allows_user_namespaces() -> None:
    pipeline = replace(
        PIPELINE, jobs=jobs_of(graph_of(local=("mysql install.d: 50-mysql", "mysql install.d: 60-tune")))
    )
    jobs = document(gitlab_pipeline, pipeline)
    assert jobs[".layers"]["tags"] == ["user-namespaces"]
    assert {name for name, job in jobs.items() if isinstance(job, dict) and job.get("extends")} == {
        "layers-vm",
        "layers-web",
        "image-db",
    }


def test_one_job_of_gitlab_decides_what_all_are_made_of() -> None:
    text = gitlab_pipeline(replace(PIPELINE, options=("--project", "images/dibo.yaml")))
    jobs = yaml.safe_load(text)
    assert jobs["stages"] == ["lock", "layers", "images"]
    assert jobs["lock"]["script"] == ["dibo lock --project images/dibo.yaml"]
    assert jobs["lock"]["artifacts"]["paths"] == ["dibo.lock"]
    assert "EPOCH" not in text


@BOTH
def test_a_lock_of_the_repository_counts(write: Write) -> None:
    text = write(replace(PIPELINE, has_lock=True))
    assert "dibo lock" not in text
    assert text.count("dibo bake") - 1 == text.count("dibo bake --locked")


@BOTH
def test_a_project_with_an_epoch_has_no_lock(write: Write) -> None:
    assert "lock" not in write(replace(PIPELINE, has_epoch=True))


def test_images_that_go_on_from_the_same_layers_are_a_matrix_of_github() -> None:
    jobs = document(github_workflow)["jobs"]
    assert list(jobs) == ["layers-vm", "images-vm"]
    assert jobs["images-vm"]["needs"] == "layers-vm"
    matrix = jobs["images-vm"]["strategy"]["matrix"]["include"]
    assert [entry["image"] for entry in matrix] == ["web", "db", "plain"]
    assert jobs["layers-vm"]["steps"][-1]["run"] == "dibo bake --layers web db plain"
    assert jobs["images-vm"]["steps"][-2] == {
        "name": "Bake",
        "env": {"IMAGE": "${{ matrix.image }}"},
        "run": 'dibo bake "$IMAGE"',
    }


def test_a_matrix_has_at_most_256_jobs() -> None:
    stacks = {f"i{n}": (*STACKS["web"], f"own-{n} x") for n in range(300)}
    jobs = document(github_workflow, replace(PIPELINE, jobs=jobs_of(graph_of(stacks))))["jobs"]
    sizes = [len(job["strategy"]["matrix"]["include"]) for job in jobs.values() if "strategy" in job]
    assert sizes == [256, 44]


def test_secrets_are_in_jobs_that_can_need_them_alone() -> None:
    text = github_workflow(replace(PIPELINE, secrets={"db": ("DB_PASSWORD",), "web": ("TOKEN",)}))
    jobs = yaml.safe_load(text)["jobs"]
    assert "env" not in jobs["layers-vm"]["steps"][-1]
    assert jobs["images-vm"]["steps"][-2]["env"] == {
        "IMAGE": "${{ matrix.image }}",
        "DB_PASSWORD": "${{ secrets.DB_PASSWORD }}",
        "TOKEN": "${{ secrets.TOKEN }}",
    }
    shared = replace(PIPELINE, secrets=dict.fromkeys(STACKS, ("TOKEN",)))
    assert yaml.safe_load(github_workflow(shared))["jobs"]["layers-vm"]["steps"][-1]["env"] == {
        "TOKEN": "${{ secrets.TOKEN }}"
    }
