"""What a manifest says of a build: its base, its flavours and elements, its layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from dibo.artefacts.manifest import Document, new_document, shaping, without_login
from dibo.build.build import Job
from dibo.elements.model import Element
from dibo.elements.stack import MixedStack
from dibo.flavours.model import Flavour, FlavourFile
from dibo.flavours.secret_names import SPEAKS_OF_SECRET
from dibo.flavours.stack import Stack
from dibo.plan import keys
from dibo.plan.lock import lock_document
from dibo.plan.plan import Plan
from dibo.system import resources


def of_build(job: Job, *, command: str, options: Mapping[str, str]) -> Document:
    """What is known of a built image before it is read. `options` are variables for converters."""
    settings, plan = job.settings, job.plan
    asked = set(settings.flavours)
    titles = [plan.base_name, *(planned.step.title for planned in plan.steps)]
    layer_keys = [plan.base_key, *(planned.key for planned in plan.steps)]
    local = [False, *(planned.step.local for planned in plan.steps)]
    origins = ["", *(planned.step.flavour for planned in plan.steps)]
    return {
        **new_document(command, architecture=settings.architecture, time=settings.source_date_epoch),
        "epoch": settings.epoch,
        **_lock(plan),
        "base": {
            "name": plan.base_name,
            "wanted": _wanted(settings.base),
            "release": settings.release,
            "mirror": without_login(settings.mirror) if settings.mirror else None,
            "ingredients": json.loads(plan.base_ingredients)["base"],
        },
        "flavours": [
            {
                **_part(flavour, _files_of(flavour), "flavours", asked),
                **({} if flavour.local else _outside(flavour, settings.architecture)),
            }
            for flavour in job.stack.flavours
        ],
        **_elements(job.stack, asked),
        "environment": told(job.stack, settings.environment.get),
        "options": shaping(options),
        "layers": [
            {"title": title, "key": key, "local": is_local, **({"flavour": flavour} if flavour else {})}
            for title, key, is_local, flavour in zip(titles, layer_keys, local, origins, strict=True)
        ],
    }


def _part(
    part: Flavour | Element, files: Iterable[FlavourFile], own: str, asked: Collection[str]
) -> Document:
    """What is said of a flavour and of an element alike. `own` is the directory of those that come with dibo."""
    comes_with_dibo = part.origin.resolve().is_relative_to(resources.shared(own).resolve())
    return {
        "name": part.name,
        "digest": _files_digest(files),
        "from": "dibo" if comes_with_dibo else "elsewhere",
        "asked": part.name in asked,
    }


def _elements(stack: Stack, asked: Collection[str]) -> Document:
    """The elements of diskimage-builder, if there are any."""
    if not isinstance(stack, MixedStack):
        return {}
    elements = [
        {
            **_part(element, element.files, "containerfiles", asked),
            "files": _digests(element.files),
        }
        for element in stack.elements
    ]
    return {"elements": elements}


def _lock(plan: Plan) -> Document:
    """The packages that were chosen before the build, if any were."""
    answers = plan.resolution.answers
    return {"lock": lock_document(answers, epoch=plan.epoch)} if answers else {}


def of_prepared(about: Mapping[str, Any], job: Job) -> Document:
    """`about` an image on which boot files were made, by the steps of `job` on its layers."""
    built = of_build(job, command="dibo convert", options={})
    return {**about, "flavours": built["flavours"], "layers": [*about["layers"], *built["layers"][1:]]}


def flavour_digest(flavour: Flavour) -> str:
    """Of every file of a flavour that can change an image: path, kind, mode, bytes."""
    return _files_digest(_files_of(flavour))


def flavour_files(flavour: Flavour) -> dict[str, str]:
    """The sha256 of each of these files by its path; of a symbolic link, that of its target."""
    return _digests(_files_of(flavour))


def _outside(flavour: Flavour, architecture: str) -> Document:
    """The files of a flavour, and those that were fetched for it."""
    fetched = [
        {"name": file.name, "sha256": file.sha256, "urls": list(file.urls)}
        for file in flavour.fetched_for(architecture)
    ]
    return {"files": flavour_files(flavour), **({"fetched": fetched} if fetched else {})}


def _files_of(flavour: Flavour) -> list[FlavourFile]:
    return sorted((*flavour.files, *flavour.ramdisk, *flavour.declarations))


def _files_digest(files: Iterable[FlavourFile]) -> str:
    rows = [[file.path, file.kind.value, file.executable, file.digest] for file in sorted(files)]
    return f"sha256:{keys.key_of({'files': rows})}"


def _digests(files: Iterable[FlavourFile]) -> dict[str, str]:
    return {file.path: f"sha256:{file.digest}" for file in files}


def _wanted(base: str) -> str | None:
    """A base as it was asked for; None for what only its maker has: a file, a directory."""
    if base.startswith(("http://", "https://")):
        return without_login(base)
    is_local = base.startswith(("oci:", "containerfile:", "/", ".", "~")) or Path(base).is_file()
    return None if is_local else base


def told(stack: Stack, chosen: Callable[[str], str | None]) -> dict[str, str | None]:
    """The variables that flavours declare; None for values that may be secrets. `chosen` has the user's."""
    values: dict[str, str | None] = dict(sorted(stack.environment(chosen).items()))
    for flavour in stack.flavours:
        for name, default in flavour.environment:
            if values[name] not in (None, "", default) and (flavour.local or SPEAKS_OF_SECRET.search(name)):
                values[name] = None
    return values
