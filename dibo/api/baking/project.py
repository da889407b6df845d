"""`dibo bake` as a command: images of the project file, what is chosen of them, and why."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dibo.api.baking.spec import ImageSpec
from dibo.api.baking.specs import into_directory, spec_of
from dibo.api.projects.images import require_project
from dibo.errors import ProjectError
from dibo.projects.model import Project
from dibo.projects.select import select
from dibo.settings.settings import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class BakeChoice:
    """Which images are baked."""

    project: str | None
    """The project file, as it was named; None for the one that is found."""
    names: tuple[str, ...] = ()
    """Of images; none for all."""
    changed_since: str | None = None
    """A revision of git: only images that changed since."""
    directory: Path | None = None
    """Where artefacts go; None for what the project file says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenImages:
    """Images, as they are baked."""

    project: Project
    specs: tuple[ImageSpec, ...]
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Why they are chosen, by name, where not all are."""
    unchanged: Sequence[str] = ()
    """Images that did not change."""


def chosen_images(choice: BakeChoice, options: Options, environment: Mapping[str, str]) -> ChosenImages:
    """Read the project file, and choose. Raises ProjectError, UsageError, and what `changed_since` raises."""
    project = require_project(choice.project, environment)
    images = select(project, choice.names)
    if not images:
        raise ProjectError(f"{project.file} has no images", hint="`dibo init --add NAME` adds one")
    if choice.directory is not None:
        images = tuple(into_directory(image, choice.directory) for image in images)
    pairs = [(image, spec_of(image, options, environment)) for image in images]
    if choice.changed_since is None:
        return ChosenImages(project=project, specs=tuple(spec for _, spec in pairs))
    from dibo.api.baking.changed import ProjectAtWork, changed_since

    with tempfile.TemporaryDirectory(prefix="dibo-") as scratch:
        work = ProjectAtWork(project=project, specs=pairs)
        reasons = changed_since(work, choice.changed_since, Path(scratch))
    return ChosenImages(
        project=project,
        specs=tuple(spec for _, spec in pairs if spec.name in reasons),
        reasons=reasons,
        unchanged=tuple(spec.name for _, spec in pairs if spec.name not in reasons),
    )
