"""A child pipeline of GitLab CI.

Layers are built on runners that allow user namespaces, one job for each chain; artefacts are made on any runner, from
the layers in the registry. What all of them are made of is decided once, by the first job, in a lock. `needs` makes a
job start when the one below it is done. Keywords: GitLab's CI/CD YAML syntax reference.
"""

from __future__ import annotations

from typing import Any, Final

from dibo.bake.pipelines.jobs import ImageJob
from dibo.bake.pipelines.pipeline import Pipeline, Words, written
from dibo.plan.lock import LOCK_FILE

CACHE: Final = "$CI_REGISTRY_IMAGE/cache"
IMAGE: Final = "$CI_REGISTRY_IMAGE/ci-dibo:1"
_LOGIN: Final = (
    """printf '{"auths":{"%s":{"auth":"%s"}}}' "$CI_REGISTRY" """
    """"$(printf '%s:%s' "$CI_REGISTRY_USER" "$CI_REGISTRY_PASSWORD" | base64 -w 0)" > "$REGISTRY_AUTH_FILE\""""
)
_LOCK_JOB: Final = "lock"
_BUILDING: Final = {
    "DIBO_ISOLATION": "chroot",
    "XDG_DATA_HOME": "$CI_PROJECT_DIR/.layers",
    "IMG_PATH": "$CI_PROJECT_DIR/.dibo",
}


def gitlab_pipeline(pipeline: Pipeline) -> str:
    """The text of the file."""
    jobs = pipeline.jobs
    first = [] if pipeline.has_epoch or pipeline.has_lock else [_LOCK_JOB]
    document: dict[str, Any] = {
        "stages": Words([*first, "layers", "images"]),
        "default": {
            "image": pipeline.dibo or IMAGE,
            "before_script": [_LOGIN],
        },
        "variables": {
            "DIBO_CACHE": pipeline.cache or CACHE,
            "REGISTRY_AUTH_FILE": "/tmp/auth.json",  # noqa: S108 (of the job's own container)
            "FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR": "true",
        },
    }
    if first:
        document[_LOCK_JOB] = {
            "stage": _LOCK_JOB,
            "needs": Words([]),
            "script": [pipeline.write_lock()],
            "artifacts": {"paths": Words([LOCK_FILE])},
        }
    several = len(jobs.architectures) > 1
    for architecture in jobs.architectures:
        document[_template(architecture, several=several)] = {
            "stage": "layers",
            "tags": Words(["user-namespaces", *([architecture] if several else [])]),
            "variables": _BUILDING,
        }
    for job in jobs.layers:
        document[job.name] = {
            "extends": _template(job.architecture, several=several),
            "needs": Words([*first, *([job.below] if job.below else [])]),
            "script": [pipeline.bake_layers(job, is_locked=bool(first))],
        }
    for image in jobs.images:
        document[f"image-{image.image}"] = _image(pipeline, image, first, several=several)
    return written(pipeline, document)


def _template(architecture: str, *, several: bool) -> str:
    """What jobs that build have in common."""
    return f".layers-{architecture}" if several else ".layers"


def _image(pipeline: Pipeline, image: ImageJob, first: list[str], *, several: bool) -> dict[str, Any]:
    building = {"extends": _template(image.architecture, several=several)} if image.builds else {}
    return {
        **building,
        "stage": "images",
        "needs": Words([*first, *([image.layers] if image.layers else [])]),
        "script": [pipeline.bake_image(image, is_locked=bool(first))],
        "artifacts": {"paths": Words([image.files])},
    }
