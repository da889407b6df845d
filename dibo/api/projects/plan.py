"""`dibo plan` without a name: all images of the project file, and what building each would do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dibo.api.documents import CommandAnswer, Document, new_document
from dibo.api.planning import build_plan
from dibo.api.settings import image_settings
from dibo.api.shared_sessions import SharedSessions, shared_sessions
from dibo.api.values import BuildPlan
from dibo.errors import DiboError, SomeFailed
from dibo.projects.model import Project, ProjectImage
from dibo.settings.settings import Options, Settings
from dibo.system.report import Report
from dibo.units import counted


def plan_images(
    project: Project, options: Options, environment: Mapping[str, str], report: Report
) -> CommandAnswer:
    """A line for each image, in the order of the file. Raises SomeFailed for those that cannot be planned."""
    images, errors = [], []
    with ExitStack() as stack:
        plans = _Plans(report, stack)
        for image in project.images:
            try:
                images.append(_planned(image, image_settings(image, options, environment), plans))
            except DiboError as error:
                errors.append((image.name, error))
    if errors:
        raise SomeFailed.of(errors, len(project.images), failure="cannot be planned")
    rows = [
        (image["name"], image["architecture"], ",".join(image["types"]), _work(image)) for image in images
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    text = "\n".join(
        "  ".join((*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]))
        for row in rows
    )
    return CommandAnswer(
        text=text or f"{project.file} has no images",
        document=new_document("plans", project=str(project.file), images=images),
    )


class _Plans:
    """Makes the plans of images, each with what the store holds, which is asked once."""

    def __init__(self, report: Report, stack: ExitStack) -> None:
        self._report, self._stack = report, stack
        self._shared: dict[Path, SharedSessions] = {}
        """By cache directory."""

    def plan(self, settings: Settings) -> BuildPlan:
        shared = self._shared.get(settings.cache)
        if shared is None:
            shared = self._stack.enter_context(shared_sessions(settings, self._report))
            self._shared[settings.cache] = shared
        session = replace(shared.session(settings), settings=settings)
        return build_plan(session, shared.job(session, shared.stack(settings)))


def _planned(image: ProjectImage, settings: Settings, plans: _Plans) -> Document:
    types = ("ramdisk",) if image.ramdisk else settings.types
    document: Document = {
        "name": image.name,
        "architecture": settings.platform,
        "types": list(types),
        "flavours": list(settings.flavours),
        "converts": image.convert,
        "layers": 0,
        "missing": 0,
    }
    if image.convert is None:
        layers = plans.plan(settings).layers
        document["layers"] = len(layers)
        document["missing"] = sum(not layer.held and layer.cache is None for layer in layers)
    return document


def _work(image: Document) -> str:
    if image["converts"] is not None:
        return f"converted from {image['converts']}"
    layers = counted(image["layers"], "layer")
    return f"{layers}, {image['missing']} to build" if image["missing"] else f"{layers}, all built"
