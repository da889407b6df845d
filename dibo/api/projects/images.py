"""Which image of the project file a word of a command line means.

@web        an image of the project file, else an error
web         alone, and an image of the project file: that image, though there be a flavour of this name
web mysql   flavours, as without a project file
no word     the image of a project file that has one
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from dibo.api.settings import this_architecture
from dibo.errors import ProjectError, UsageError
from dibo.projects.find import NO_PROJECT, PROJECT_FILE, find_project
from dibo.projects.model import Project, ProjectImage
from dibo.projects.select import MARK, listed_names, names_of, select_one
from dibo.units import counted


def open_project(named: str | None, environment: Mapping[str, str]) -> Project | None:
    """The project file that is `named`, or that is found; None if there is none. Raises ProjectError."""
    path = find_project(named, environment, Path.cwd())
    if path is None:
        return None
    from dibo.projects.load import load_project

    return load_project(path, environment)


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
    """The image that the words of a command mean; None if they mean flavours or a file, or if there are no words and no
    project file. Of several images that differ by their architecture it is that for `architecture`, else for ARCH,
    else for this machine. Raises ProjectError, UsageError."""
    asked = architecture or environment.get("ARCH") or this_architecture()
    if not words:
        return _only_image(open_project(project_file, environment), asked)
    is_named = project_file not in (None, NO_PROJECT)
    marked = next((word for word in words if word.startswith(MARK)), words[0] if is_named and words else None)
    if marked is not None and len(words) > 1:
        raise UsageError(
            f"{marked} is an image of the project file, and stands alone",
            hint=f"`{bake_command(words)}` builds several images; flavours are added in the project file",
        )
    if len(words) > 1:
        return None
    project = (
        open_project(project_file, environment)
        if marked is None
        else require_project(project_file, environment)
    )
    if project is None or (marked is None and words[0] not in names_of(project)):
        return None
    return select_one(project, words[0], asked)


def bake_command(words: Sequence[str]) -> str:
    return shlex.join(("dibo", "bake", *words))


def _only_image(project: Project | None, architecture: str) -> ProjectImage | None:
    """Raises ProjectError where a project file has several images, or none."""
    if project is None:
        return None
    entries = tuple(project.groups)
    if len(entries) == 1:
        return select_one(project, entries[0], architecture)
    listed = listed_names(project)
    raise ProjectError(
        f"{project.file} has {counted(len(entries), 'image')}: {listed}"
        if entries
        else f"{project.file} has no images",
        hint="name one of them; `dibo bake` builds all" if entries else "`dibo init --add NAME` adds one",
    )


def refuse_several(
    words: Sequence[str],
    flavours: Collection[str],
    *,
    project_file: str | None,
    environment: Mapping[str, str],
) -> None:
    """Say so where words that stand for `flavours` are images of the project file instead. Raises UsageError."""
    unknown = [word for word in words if word not in flavours]
    if len(words) == 1 or not unknown:
        return
    try:
        project = open_project(project_file, environment)
    except ProjectError:
        return
    names = () if project is None else names_of(project)
    images = [word for word in unknown if word in names]
    if not images:
        return
    if all(word in names for word in words):
        hint = f"name one of them; `{bake_command(words)}` builds several"
    else:
        hint = "flavours are added in the project file"
    raise UsageError(f"{images[0]} is an image of the project file, and stands alone", hint=hint)
