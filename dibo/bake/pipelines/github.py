"""A workflow of GitHub Actions.

One job for each chain of layers that several images share; all images that go on from the same one are a matrix, whose
jobs build the layers that only one image has, and its artefacts. Keywords: GitHub's workflow syntax.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from dibo.bake.pipelines.jobs import ImageJob
from dibo.bake.pipelines.pipeline import Pipeline, Words, written

REQUIREMENT: Final = "git+https://git.example/dibo"
_RUNNERS: Final = {"arm64": "ubuntu-24.04-arm"}
_RUNNER: Final = "ubuntu-24.04"
_MOST_IN_MATRIX: Final = 256
"""Jobs of a matrix, at most."""
_IN_LOWER_CASE: Final = 'echo "DIBO_CACHE=ghcr.io/${GITHUB_REPOSITORY,,}/cache" >> "$GITHUB_ENV"'
"""ghcr.io takes lower case only, and names of repositories may have capitals."""
_INSTALL: Final = """\
sudo apt-get update
sudo apt-get install --yes buildah uidmap bubblewrap mmdebstrap debian-archive-keyring
sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0
grep "^$USER:" /etc/subuid /etc/subgid
python3 -m venv ~/dibo-venv
~/dibo-venv/bin/pip install "{requirement}"
echo ~/dibo-venv/bin >> "$GITHUB_PATH"
"""
_LOGIN: Final = 'printf %s "$TOKEN" | buildah login --username "$GITHUB_ACTOR" --password-stdin {registry}'
_REGISTRY: Final = "ghcr.io"


def github_workflow(pipeline: Pipeline) -> str:
    """The text of the file."""
    jobs = pipeline.jobs
    shared = [job for job in jobs.layers if len(job.images) > 1]
    document: dict[str, Any] = {
        "name": "images",
        "on": Words(["push", "workflow_dispatch"]),
        "permissions": {"contents": "read", "packages": "write"},
        **({"env": {"DIBO_CACHE": pipeline.cache}} if pipeline.cache else {}),
        "jobs": {
            job.name: {
                **({"needs": job.below} if job.below else {}),
                "runs-on": _RUNNERS.get(job.architecture, _RUNNER),
                "steps": [
                    *_prepare(pipeline),
                    _bake(pipeline.bake_layers(job), pipeline.variables_of_layers(job)),
                ],
            }
            for job in shared
        },
    }
    for name, images in _matrices(pipeline):
        document["jobs"][name] = _matrix(pipeline, images)
    return written(pipeline, document)


def _matrices(pipeline: Pipeline) -> list[tuple[str, Sequence[ImageJob]]]:
    """The images in groups that wait for the same job, each with a name."""

    def group(image: ImageJob) -> tuple[str, str]:
        return pipeline.jobs.shared(image) or "", image.architecture

    taken = {job.name for job in pipeline.jobs.layers}
    matrices: list[tuple[str, Sequence[ImageJob]]] = []
    for (below, architecture), members in groupby(sorted(pipeline.jobs.images, key=group), key=group):
        images = list(members)
        subject = below.removeprefix("layers-") or architecture
        for start in range(0, len(images), _MOST_IN_MATRIX):
            name = f"images-{subject}" + (f"-{start // _MOST_IN_MATRIX + 1}" if start else "")
            while name in taken:
                name += "-more"
            taken.add(name)
            matrices.append((name, images[start : start + _MOST_IN_MATRIX]))
    return matrices


def _matrix(pipeline: Pipeline, images: Sequence[ImageJob]) -> dict[str, Any]:
    below = pipeline.jobs.shared(images[0])
    names = [image.image for image in images]
    command = pipeline.bake_image(images[0]).removesuffix(f" {images[0].image}")
    return {
        **({"needs": below} if below else {}),
        "strategy": {
            "fail-fast": False,
            "matrix": {"include": [{"image": image.image, "files": image.files} for image in images]},
        },
        "runs-on": _RUNNERS.get(images[0].architecture, _RUNNER),
        "steps": [
            *_prepare(pipeline),
            _bake(f'{command} "$IMAGE"', pipeline.variables_of(names), IMAGE="${{ matrix.image }}"),
            {
                "uses": "actions/upload-artifact@v4",
                "with": {"name": "${{ matrix.image }}", "path": "${{ matrix.files }}"},
            },
        ],
    }


def _prepare(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Steps before dibo runs."""
    registry = (pipeline.cache or _REGISTRY).partition("/")[0]
    cache = [] if pipeline.cache else [{"name": "Name the cache", "run": _IN_LOWER_CASE}]
    return [
        {"uses": "actions/checkout@v4"},
        {
            "name": "Install what builds need",
            "run": _INSTALL.format(requirement=pipeline.dibo or REQUIREMENT),
        },
        *cache,
        {
            "name": "Log in",
            "env": {"TOKEN": "${{ secrets.GITHUB_TOKEN }}"},
            "run": _LOGIN.format(registry=registry),
        },
    ]


def _bake(command: str, secrets: Sequence[str], **environment: str) -> dict[str, Any]:
    variables = {**environment, **{name: f"${{{{ secrets.{name} }}}}" for name in secrets}}
    return {"name": "Bake", **({"env": variables} if variables else {}), "run": command}
