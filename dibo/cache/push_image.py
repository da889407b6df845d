"""A finished image under a name of the user's: `dibo build --push`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dibo.build.build import Job
from dibo.build.engine import Store
from dibo.cache import entry
from dibo.cache.lookup import Caches
from dibo.cache.push_index import PushedImage
from dibo.cache.session import origins
from dibo.cache.upload import Uploader, UploadOptions
from dibo.errors import LayoutError, LocalLayers, UsageError
from dibo.images.manifest import digest_of
from dibo.images.platforms import Platform
from dibo.images.reference import ImageName, names_a_host, parse_image_name
from dibo.layout.merge import complete, document
from dibo.plan.labels import LAYOUT_LABEL
from dibo.system.report import Report
from dibo.system.workspace import Run
from dibo.trust.policy import trust_of
from dibo.units import human_size


def target(text: str) -> ImageName:
    """Where to push to: a registry, a path, and a tag (`latest` when none is named). Raises UsageError."""
    if not names_a_host(text.removeprefix("docker://")) or "@" in text:
        raise UsageError(
            f"{text!r} does not say where to push to",
            hint="write HOST[:PORT]/PATH:TAG, such as registry.example/images/web:1",
        )
    return parse_image_name(text)


def refuse_local(job: Job) -> None:
    """Raises LocalLayers for an image with layers that hold data of this user or machine."""
    local = [planned.step.title for planned in job.plan.steps if planned.step.local]
    if local:
        raise LocalLayers(
            f"the image has data of this user or machine: the layer {local[0]!r}, and all above it",
            hint="leave that flavour out, or say that you mean it: --include-local",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSource:
    """Where the layers of the image to push are."""

    caches: Caches
    store: Store | None
    """The engine's store if the image is there; None if a cache has all of it."""


def push(
    job: Job, name: ImageName, *, source: PushSource, include_local: bool, run: Run, report: Report
) -> PushedImage:
    """Push the image that ends with the job's last layer, under its digest where `name` has no tag. What a cache in the
    same registry has is taken over from there. Raises RegistryError, Unreachable, LocalLayers for secrets in what would
    be sent."""
    key = job.plan.image_key
    cached = source.caches.find(key)
    blob_origins = origins(job.base, source.caches, also=name.host)
    if cached is not None:
        blob_origins.append((cached[0].name, cached[1].image))
    options = UploadOptions(
        directory=run.subdirectory("push"),
        compression=job.settings.layer_compression,
        origins=blob_origins,
        refuse_secrets=not include_local,
    )
    sender = Uploader(ImageName(host=name.host, repository=name.repository), options, report=report)
    if source.store is not None:
        image = source.store.image(key)
    else:
        assert cached is not None
        image = cached[1].image
    with report.task(f"push {name}") as task:
        titles = (f"base {job.plan.base_name}", *(planned.step.title for planned in job.plan.steps))
        below = len(image.layers) - len(job.plan.steps)
        for place, layer in enumerate(image.layers):
            if source.store is not None:
                sender.bring(layer, title=titles[max(0, place - below + 1)], base=place < below)
            else:
                sender.copy(layer)
        documents = entry.compose(
            _with_layout(image.config, job),
            entry.Provenance(key=key, ingredients=job.plan.steps[-1].ingredients, titles=titles),
            layers=sender.stored(image),
        )
        digest = digest_of(documents.manifest)
        trust_of(job.settings).sign_manifest(name, documents.manifest)
        sender.put(documents, name if name.tag else name.at(digest))
        task.note(f"{human_size(sender.sent)} sent")
    return PushedImage(digest=digest, size=len(documents.manifest), platform=_platform(image.config))


def _platform(config: Mapping[str, Any]) -> Platform:
    words = {key: str(config.get(key) or "") for key in ("os", "architecture", "variant")}
    return Platform(os=words["os"] or "linux", architecture=words["architecture"], variant=words["variant"])


def _with_layout(config: Mapping[str, Any], job: Job) -> Mapping[str, Any]:
    """The config, with the disk layout of the stack, which `dibo convert` uses for this image. Without a complete
    layout in the stack, the config stays as it is."""
    run = dict(config.get("config") or {})
    labels = dict(run.get("Labels") or {})
    labels.pop(LAYOUT_LABEL, None)
    statement = job.recipe.stack.disk
    if statement is not None:
        with contextlib.suppress(LayoutError):
            labels[LAYOUT_LABEL] = json.dumps(document(complete(statement)), separators=(",", ":"))
    return {**config, "config": {**run, "Labels": labels}}
