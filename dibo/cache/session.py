"""Where caches meet a build: what they hold is brought before it, what it makes is stored while it goes on."""

from __future__ import annotations

import calendar
import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from dibo.build.bases.image import RegistryImage
from dibo.build.build import Job, OnLayer, report_layer
from dibo.build.engine import Engine
from dibo.build.layer_origins import Taken
from dibo.cache.entry import CREATED, SECONDS
from dibo.cache.input_files import RegistryInputs
from dibo.cache.input_sets import sets_of
from dibo.cache.lookup import CachedImage, CacheRepository, Caches, image_at
from dibo.cache.publish import PendingLayer, Publisher
from dibo.cache.resolutions import RegistryResolutions
from dibo.cache.upload import BlobOrigin, UploadOptions
from dibo.errors import DiboError, EngineError, OutputError, ToolMissing
from dibo.images.byte_count import ByteCount, total_size
from dibo.images.image import Image
from dibo.images.manifest import checked
from dibo.images.registry.api import read_manifest
from dibo.plan.base import Base
from dibo.plan.input_files import InputFile
from dibo.plan.labels import INGREDIENTS_LABEL
from dibo.plan.plan import Plan, with_held
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.system.task import PULLED, Task
from dibo.system.workspace import Run
from dibo.trust.policy import Trust
from dibo.units import human_size


def caches_of(settings: Settings, report: Report, trust: Trust) -> Caches:
    """The caches that were named: those to read from in the order of asking, then those only to write to."""
    names = dict.fromkeys((*settings.caches_from, *settings.caches_to))
    return Caches(
        [
            CacheRepository(
                name=name,
                architecture=settings.architecture,
                report=report,
                trust=trust,
                reads=name in settings.caches_from and not settings.refresh,
                writes=name in settings.caches_to,
            )
            for name in names
        ]
    )


def consult(job: Job, caches: Caches, held: Mapping[str, float]) -> Job:
    """The job, planned again with what the caches hold."""
    inputs = RegistryInputs(caches.remotes)
    job.base.read_inputs_from(inputs)
    job = replace(job, fetched=replace(job.fetched, store=inputs))
    caches.expect({key: pending.titles[1:] for key, pending in items(job.plan).items()})
    caches.look(job.plan.keys)
    return _planned_again(job, caches, held)


def _planned_again(job: Job, caches: Caches, held: Mapping[str, float]) -> Job:
    stored = {} if job.settings.refresh else held
    return replace(job, plan=with_held(job.plan, lambda key: key in stored or caches.find(key) is not None))


def refused(plan: Plan, caches: Caches) -> dict[str, str]:
    """Why entries of caches are not used, by key, for people."""
    reasons = {key: caches.refused(key) for key in plan.keys}
    return {key: reason for key, reason in reasons.items() if reason}


def places(plan: Plan, caches: Caches, held: Mapping[str, float]) -> dict[str, str]:
    """Which registry has a layer that is not in the engine's store, for people."""
    holders = {key: _holder(caches, key) for key in plan.keys if key not in held}
    return {key: str(holder.name) for key, holder in holders.items() if holder is not None}


def _holder(caches: Caches, key: str) -> CacheRepository | None:
    """The first registry that is read and has the layer."""
    return next((remote for remote in caches.remotes if remote.reads and key in remote.digests), None)


def only_here(plan: Plan, caches: Caches, held: Mapping[str, float]) -> tuple[str, ...]:
    """Keys of layers that are in the engine's store and in no registry that is read. None if a registry cannot be
    read: what it has is unknown."""
    reading = [remote for remote in caches.remotes if remote.reads]
    if not reading or any(remote.off for remote in reading):
        return ()
    return tuple(key for key in plan.keys if key in held and _holder(caches, key) is None)


def notes(plan: Plan, caches: Caches, held: Mapping[str, float]) -> dict[str, str]:
    """Where each layer is, by key, for people: here is the engine's store."""
    reading = [remote for remote in caches.remotes if remote.reads]
    missing = only_here(plan, caches, held)
    text = {key: f"in {registry}" for key, registry in places(plan, caches, held).items()}
    for key in held.keys() & set(plan.keys) if reading else ():
        holder = _holder(caches, key)
        if holder is not None:
            text[key] = f"here and in {holder.name}"
        elif key in missing:
            text[key] = f"here, not in {' or '.join(str(remote.name) for remote in reading)}"
        else:
            text[key] = "here"
    return text


@contextlib.contextmanager
def exchange(
    job: Job, caches: Caches, engine: Engine, held: dict[str, float], *, run: Run, report: Report
) -> Iterator[tuple[Job, OnLayer]]:
    """The job, with the layer on which it goes on in the engine's store; and what to tell the key of each layer that is
    made, for it to be stored in the caches, at the latest when this ends."""
    settings = job.settings
    store = engine.store(architecture=settings.architecture)
    options = UploadOptions(
        directory=run.subdirectory("upload"),
        compression=settings.layer_compression,
        origins=origins(job.base, caches),
    )
    sets = sets_of(job.plan) if settings.cache_files else {}
    with Publisher(
        caches.remotes,
        store,
        options,
        refresh=settings.refresh,
        report=report,
        find_input=partial(_find_input, job),
    ) as publisher:
        job = bring(job, caches, held, engine=engine, report=report)
        available = [key for key in job.plan.keys if any(remote.usable(key) for remote in caches.remotes)]
        if available and not settings.refresh:
            publisher.used(available[-1])
        pending = items(job.plan)

        def on_layer(key: str) -> None:
            if key in pending:
                publisher.add(_timed(pending[key], job))
            if key in sets:
                publisher.add_inputs(sets[key])

        for key in job.plan.keys:
            if key in held and not settings.refresh:
                on_layer(key)

        yield job, on_layer
    RegistryResolutions(remotes=caches.remotes).save(job.plan.resolution.kept)


def _find_input(job: Job, file: InputFile) -> Path | None:
    """Where an input file of the plan is on this machine."""
    for package in job.plan.packages:
        if package.sha256 == file.sha256:
            return job.base.find_package(package)
    for planned in job.plan.steps:
        for _, fetched in planned.step.fetched:
            for entry in fetched:
                if entry.sha256 == file.sha256:
                    return job.fetched.find(entry)
    return None


def _timed(item: PendingLayer, job: Job) -> PendingLayer:
    """With the times of its layers, as far as they are known now."""
    return replace(item, seconds=job.times.annotation((*item.below, item.key)))


def bring(job: Job, caches: Caches, held: dict[str, float], *, engine: Engine, report: Report) -> Job:
    """Have the layer on which the build goes on in the engine's store. Bad ones are not used: the job is planned again
    without them."""
    while job.plan.base_held and job.plan.start not in held:
        key = job.plan.start
        location = caches.find(key)
        if location is not None:
            remote, cached = location
            try:
                store = engine.store(architecture=job.settings.architecture)
                with report.task(f"{cached.title or key[:12]} from {remote.name}") as task:
                    store.take(_counted(_without_ingredients(cached.image), job.plan, held, task), key=key)
                    task.note(f"{human_size(task.done)} pulled")
                for pulled in job.plan.keys[: job.plan.resume + 1]:
                    if pulled not in held:
                        name = str(remote.name)
                        took = task if pulled == key else None  # all of them together
                        report_layer(job.plan, pulled, report, origin=PULLED, registry=name, task=took)
                taken = Taken(repository=str(remote.name), signed_by=cached.signed_by)
                job.origins.save_taken(engine, key, taken)
                keys_taken = job.plan.keys[: job.plan.resume + 1]
                job.times.save_annotation(keys_taken, cached.annotation(SECONDS))
                held[key] = created(cached)
            except (
                EngineError,
                ToolMissing,
                OutputError,
                OSError,
            ) as error:  # another entry would fare no better
                reason = error.message if isinstance(error, DiboError) else str(error)
                report.warn(f"layers from caches cannot be kept here, so they are built: {reason}")
                for other_remote in caches.remotes:
                    other_remote.reads = False
            except DiboError as error:
                remote.forget(key, error)
        job = _planned_again(job, caches, held)
    return job


def _counted(image: Image, plan: Plan, held: Mapping[str, float], task: Task) -> Image:
    """The image, whose layers tell the task how far they are read. Layers that the engine has are not read."""
    below = next((place for place in range(plan.resume, -1, -1) if plan.keys[place] in held), None)
    missing = image.layers if below is None else image.layers[len(image.layers) - (plan.resume - below) :]
    count = ByteCount(task.progress, total_size([layer.size for layer in missing]))
    return replace(image, layers=tuple(map(count.layer, image.layers)))


def _without_ingredients(image: Image) -> Image:
    """The image without the label that has no bound: buildah takes configs of at most 4 MiB."""
    run = dict(image.config.get("config") or {})
    run["Labels"] = {k: v for k, v in (run.get("Labels") or {}).items() if k != INGREDIENTS_LABEL}
    return replace(image, config={**image.config, "config": run})


def created(cached: CachedImage) -> float:
    """When an entry was made, in seconds since 1970; 0 when it does not say."""
    with contextlib.suppress(ValueError):
        return calendar.timegm(time.strptime(cached.annotation(CREATED), "%Y-%m-%dT%H:%M:%SZ"))
    return 0.0


def items(plan: Plan) -> dict[str, PendingLayer]:
    """What may be stored of a plan, by key: all layers up to the first that is local."""
    titles, below = [f"base {plan.base_name}"], [plan.base_key]
    pending = {
        plan.base_key: PendingLayer(
            key=plan.base_key, ingredients=plan.base_ingredients, titles=tuple(titles), below=()
        )
    }
    for planned in plan.steps:
        if planned.step.local:
            break
        titles.append(planned.step.title)
        pending[planned.key] = PendingLayer(
            key=planned.key, ingredients=planned.ingredients, titles=tuple(titles), below=tuple(below)
        )
        below.append(planned.key)
    return pending


def origins(base: Base, caches: Caches, *, also: str = "") -> list[BlobOrigin]:
    """Images in the registries of caches, or in `also`, whose blobs may be taken over: a base that is one."""
    writes = {also, *(remote.name.host for remote in caches.remotes if remote.writes)} - {""}
    if not isinstance(base, RegistryImage) or not writes:
        return []
    try:
        name = base.located()
        if name.host not in writes:
            return []
        digest, manifest = checked(read_manifest(name), description=str(name), expected=name.digest)
        return [(name, image_at(name, digest, manifest, description=str(name)))]
    except DiboError:
        return []
