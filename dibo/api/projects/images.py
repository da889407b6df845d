"""Which image of the project file a word of a command line means.

@web        an image of the project file, else an error
web         alone, and an image of the project file: that image, though there be a flavour of this name
web mysql   flavours, as without a project file
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dibo.api.settings import this_architecture
from dibo.errors import ProjectError, UsageError
from dibo.projects.find import NO_PROJECT, PROJECT_FILE, find_project
from dibo.projects.model import Project, ProjectImage
from dibo.projects.select import MARK, names_of, select_one


def open_project(named: str | None, environment: Mapping[str, str]) -> Project | None:
    """The project file that is `named`, or that is found; None if there is none. Raises ProjectError."""
    path = find_project(named, environment, Path.cwd())
    if path is None:
        return None
    from dibo.projects.load import load_project

    return load_project(path)


def require_project(named: str | None, environment: Mapping[str, str]) -> Project:
    """Raises ProjectError where there is none."""
    project = open_project(named, environment)
    if project is None:
        raise ProjectError(
            f"there is no project file {PROJECT_FILE}, here or above in this repository",
            hint="`dibo init` writes one; --project FILE names one",
        )
    return project


def image_meant(
    words: Sequence[str],
    *,
    project_file: str | None,
    environment: Mapping[str, str],
    architecture: str | None = None,
) -> ProjectImage | None:
    """The image that the words of a command mean; None if they mean flavours or a file. Of several images that differ
    by their architecture it is that for `architecture`, else for ARCH, else for this machine. Raises ProjectError,
    UsageError."""
    is_named = project_file not in (None, NO_PROJECT)
    marked = next((word for word in words if word.startswith(MARK)), words[0] if is_named and words else None)
    if marked is not None and len(words) > 1:
        raise UsageError(
            f"{marked} is an image of the project file, and stands alone",
            hint="`dibo bake` takes several images; flavours are added in the project file",
        )
    if not words:
        if is_named:
            raise UsageError("--project needs the name of an image")
        return None
    if len(words) > 1:
        return None
    project = (
        open_project(project_file, environment)
        if marked is None
        else require_project(project_file, environment)
    )
    if project is None or (marked is None and words[0] not in names_of(project)):
        return None
    asked = architecture or environment.get("ARCH") or this_architecture()
    return select_one(project, words[0], asked)
