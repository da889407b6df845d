"""`dibo bake --emit`: the pipeline of a CI service that bakes the images of a project, as a file in its repository."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dibo.api.baking.git import Repository
from dibo.api.baking.planning import planned_bake
from dibo.api.baking.project import ChosenImages
from dibo.api.baking.spec import ImageSpec
from dibo.api.documents import CommandAnswer, new_document
from dibo.bake.graph import Graph
from dibo.bake.pipelines.github import github_workflow
from dibo.bake.pipelines.gitlab import gitlab_pipeline
from dibo.bake.pipelines.jobs import jobs_of
from dibo.bake.pipelines.pipeline import FIRST_LINE, Pipeline
from dibo.errors import DiboError, Differs, OutputError, SomeFailed, UsageError
from dibo.plan.lock import LOCK_FILE
from dibo.projects.model import Project
from dibo.system import disk_space
from dibo.system.report import Report

_PROJECT: Final = "dibo.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineService:
    """How a service has its pipelines."""

    file: str
    """Where the file is in a repository, unless another place is named."""
    write: Callable[[Pipeline], str]


SERVICES: Final = {
    "gitlab": PipelineService(file=".gitlab/images.yml", write=gitlab_pipeline),
    "github": PipelineService(file=".github/workflows/images.yml", write=github_workflow),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitRequest:
    """Which pipeline, and what its jobs run with."""

    service: str
    file: Path | None = None
    """None for the service's own place in the repository."""
    names: tuple[str, ...] = ()
    """Images, as they were named; none for all."""
    cache: str | None = None
    """The repository for layers; None for that of the project file, or else the service's own registry."""
    dibo: str | None = None
    """Where jobs get dibo from."""


def emit(chosen: ChosenImages, report: Report, request: EmitRequest) -> CommandAnswer:
    """Write the file. Raises UsageError, OutputError, also for a file that dibo did not write, and what planning
    raises."""
    path, text = _pipeline(chosen, report, request)
    _require_own(path)
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        part = Path(name)
        os.close(descriptor)
        part.write_text(text)
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        if part is not None:
            part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {disk_space.reason(error, path)}") from error
    return _answer(path, request)


def _require_own(path: Path) -> None:
    """Raises OutputError for a file that another hand wrote."""
    try:
        with path.open("rb") as stream:
            beginning = stream.read(len(FIRST_LINE))
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(
            f"cannot read {path}: {error.strerror}", hint="--emit-to names another file"
        ) from error
    if beginning and beginning != FIRST_LINE.encode():
        raise OutputError(
            f"{path} exists, and dibo did not write it", hint="remove it, or name another file with --emit-to"
        )


def check_emitted(chosen: ChosenImages, report: Report, request: EmitRequest) -> CommandAnswer:
    """Raises Differs where the file is not what would be written."""
    path, text = _pipeline(chosen, report, request)
    try:
        present = path.read_text()
    except OSError as error:
        raise Differs(f"cannot read {path}: {error.strerror}", hint=_again(chosen, request)) from error
    if present != text:
        raise Differs(f"{path} is out of date", hint=_again(chosen, request))
    return _answer(path, request)


def _answer(path: Path, request: EmitRequest) -> CommandAnswer:
    document = new_document("pipeline", path=str(path), service=request.service)
    return CommandAnswer(text=str(path), document=document)


def _pipeline(chosen: ChosenImages, report: Report, request: EmitRequest) -> tuple[Path, str]:
    """The file, and its text."""
    service, top = SERVICES[request.service], _top(chosen.project)
    graph = _graph(chosen.specs, report)
    outputs = {spec.name: _below(_output(spec).absolute(), top, spec.name) for spec in chosen.specs}
    artefacts = tuple(replace(artefact, destination=outputs[artefact.image]) for artefact in graph.artefacts)
    images = [image for image in chosen.project.images if image.name in {spec.name for spec in chosen.specs}]
    caches = [name for image in images for name in (*image.caches, *image.caches_to)]
    pipeline = Pipeline(
        jobs=jobs_of(replace(graph, artefacts=artefacts)),
        again=_again(chosen, request),
        options=_project_option(chosen.project, top),
        cache=request.cache or next(iter(caches), None),
        dibo=request.dibo,
        secrets={
            spec.name: tuple(source.variable for source in spec.settings.secrets if source.variable)
            for spec in chosen.specs
        },
        has_epoch=any(image.epoch is not None for image in images),
        has_lock=(top / LOCK_FILE).exists(),
    )
    return request.file or top / service.file, service.write(pipeline)


def _graph(specs: Sequence[ImageSpec], report: Report) -> Graph:
    """The graph of images of which nothing is built: what this machine and its caches have is not in the file, and
    directories of outputs need not be there."""
    if not specs:
        raise UsageError("there is no image to make a pipeline for")
    with tempfile.TemporaryDirectory(prefix="dibo-") as scratch:
        alone = [_alone(spec, Path(scratch)) for spec in specs]
        with planned_bake(alone, report, only_registries=True) as planned:
            if planned.errors:
                raise SomeFailed.of(tuple(planned.errors.items()), len(specs), failure="cannot be planned")
            return planned.graph


def _alone(spec: ImageSpec, directory: Path) -> ImageSpec:
    settings = replace(
        spec.settings, caches_from=(), caches_to=(), sign_key=None, output=directory / spec.name
    )
    ramdisk = spec.ramdisk
    if ramdisk is not None:
        ramdisk = replace(ramdisk, output=directory / ramdisk.output.name)
    return replace(spec, settings=settings, ramdisk=ramdisk)


def _output(spec: ImageSpec) -> Path:
    """Where artefacts go, without the type."""
    return spec.settings.output if spec.ramdisk is None else spec.ramdisk.output


def _top(project: Project) -> Path:
    """The repository, in which CI runs its jobs."""
    with suppress(DiboError):
        return Repository.around(project.directory).top
    return project.directory


def _below(path: Path, top: Path, subject: str) -> str:
    for known in (path, path.resolve()):
        if known.is_relative_to(top.resolve()):
            return str(known.relative_to(top.resolve()))
    raise UsageError(
        f"{subject} is written to {path}, which is not below {top}: CI keeps only files of the checkout",
        hint="name a destination below it in the project file",
    )


def _project_option(project: Project, top: Path) -> tuple[str, ...]:
    file = _below(project.file.absolute(), top, "the project file")
    return () if file == _PROJECT else ("--project", file)


def _again(chosen: ChosenImages, request: EmitRequest) -> str:
    """The command line that writes the file, in the repository."""
    top = _top(chosen.project)
    words = ["dibo", "bake", *_project_option(chosen.project, top), *request.names, "--emit", request.service]
    if request.file is not None:
        words += ["--emit-to", _below(request.file.absolute(), top, "the pipeline")]
    words += ["--cache", request.cache] if request.cache else []
    words += ["--ci-dibo", request.dibo] if request.dibo else []
    return shlex.join(words)
