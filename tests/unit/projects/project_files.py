"""Project files for tests."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from dibo.errors import ProjectError
from dibo.projects.load import load_project
from dibo.projects.model import Project, ProjectImage


def write(directory: Path, text: str, name: str = "dibo.yaml") -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text))
    return path


def project(directory: Path, text: str) -> Project:
    return load_project(write(directory, text))


def images(directory: Path, text: str) -> dict[str, ProjectImage]:
    return {image.name: image for image in project(directory, text).images}


def refused(directory: Path, text: str) -> ProjectError:
    """The error of a file."""
    with pytest.raises(ProjectError) as caught:
        project(directory, text)
    return caught.value
