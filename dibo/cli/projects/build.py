"""`dibo build` of an image of the project file: its artefacts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dibo.cli.output import show_build
from dibo.cli.projects.names import build_of_image, image_of
from dibo.errors import ProjectError, UsageError
from dibo.system.report import Report

if TYPE_CHECKING:
    from dibo.api.projects.make import ImageBuild
    from dibo.api.watching.watch import WatchedBuild
    from dibo.projects.model import ProjectImage
    from dibo.settings.settings import Settings


def build_image(
    arguments: argparse.Namespace, environment: Mapping[str, str], report: Report, image: ProjectImage
) -> int:
    """Make what the project file says, with --watch again after each change. Raises what builds raise."""
    from dibo.api.documents import artefacts
    from dibo.api.projects.make import make_artefacts

    for option in ("join", "include_local"):
        if getattr(arguments, option):
            raise UsageError(f"--{option.replace('_', '-')} works only with --push")
    named = argparse.Namespace(**{**vars(arguments), "name": arguments.output})
    build = build_of_image(named, environment, image)

    def make(build: ImageBuild, settings: Settings) -> None:
        paths = make_artefacts(replace(build, settings=settings), report)
        show_build(arguments, report, partial(artefacts, paths))

    if arguments.watch:
        from dibo.api.watching.watch import follow

        follow(lambda: watched_build(named, environment, make), report)
    make(build, build.settings)
    return 0


def watched_build(
    arguments: argparse.Namespace,
    environment: Mapping[str, str],
    make: Callable[[ImageBuild, Settings], None],
) -> WatchedBuild:
    """What the project file says now. Raises ProjectError, UsageError."""
    from dibo.api.projects.images import require_project
    from dibo.api.watching.watch import WatchedBuild

    project = require_project(arguments.project, environment)
    image = image_of(arguments, environment, arguments.flavours)
    if image is None:
        raise ProjectError(f"{project.file} has no image {arguments.flavours[0]!r} any more")
    build = build_of_image(arguments, environment, image)
    files = (project.file, *project.includes, *build.files)
    return WatchedBuild(settings=build.settings, build=partial(make, build), files=files)
