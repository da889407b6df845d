"""Where the project file is: `--project`, DIBO_PROJECT, or dibo.yaml in the working directory or above it, up to the
top of the repository. Outside a repository only the working directory counts: what is above may be anybody's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from dibo.errors import ProjectError, UsageError
from dibo.projects.entry import exists
from dibo.system.resources import expanded

PROJECT_FILE: Final = "dibo.yaml"
VARIABLE: Final = "DIBO_PROJECT"
NO_PROJECT: Final = "none"
_REPOSITORY: Final = (".git", ".hg", ".jj")


def find_project(named: str | None, environment: Mapping[str, str], directory: Path) -> Path | None:
    """The project file, or None if there is none: `named` by an option, by the environment, or found from the working
    `directory`; `none` stands for no file. Raises ProjectError for one that is named and is not there, for one
    above that belongs to another user, and for what is no file."""
    name = named if named is not None else environment.get(VARIABLE, "")
    if name == NO_PROJECT:
        return None
    if name:
        return _named(name, directory, origin="--project" if named is not None else VARIABLE)
    for place in _places(directory):
        path = place / PROJECT_FILE
        if path.is_file():
            _require_own(path, directory)
            return path
        if os.path.lexists(path):
            raise ProjectError(
                f"the project file {path} is not a file", hint=f"--project {NO_PROJECT} does without one"
            )
    return None


def _named(name: str, directory: Path, *, origin: str) -> Path:
    """Raises ProjectError."""
    path = directory / name
    try:
        path = directory / expanded(name)
        path = path / PROJECT_FILE if path.is_dir() else path
        is_there = path.is_file()
    except UsageError as error:
        raise ProjectError(f"{origin}: {error.message}", hint=error.hint) from error
    except OSError:  # a name that is too long
        is_there = False
    if not is_there and exists(path):
        raise ProjectError(
            f"{origin}: {path} is not a regular file",
            hint="write it to a file: its relative paths begin there",
        )
    if not is_there:
        raise ProjectError(f"{origin}: there is no file {path}", hint="`dibo init` writes one")
    return path


def repository_of(file: Path) -> Path:
    """The top of the repository that a file is in; where there is none, the directory of the file."""
    for directory in file.parents:
        if _is_top(directory):
            return directory
    return file.parent


def _places(directory: Path) -> Iterator[Path]:
    """Where a project file may be, the nearest first."""
    above = (directory, *directory.parents)
    top = next((number for number, place in enumerate(above) if _is_top(place)), 0)
    return iter(above[: top + 1])


def _is_top(directory: Path) -> bool:
    return any((directory / name).exists() for name in _REPOSITORY)


def _require_own(path: Path, directory: Path) -> None:
    """As git does for repositories: flavours run programs on this machine, so a file that another user put above the
    working directory must not choose them. Raises ProjectError."""
    owner = path.stat().st_uid
    if owner not in (0, os.geteuid(), directory.stat().st_uid):
        raise ProjectError(
            f"the project file {path} belongs to another user",
            hint=f"--project {path} uses it all the same, --project {NO_PROJECT} does without one",
        )
