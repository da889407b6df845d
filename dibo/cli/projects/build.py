"""`dibo build` of an image of the project file: its artefacts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dibo.cli.output import show_build
from dibo.cli.projects.names import build_of_image
from dibo.errors import UsageError
from dibo.system.report import Report

if TYPE_CHECKING:
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

    def make(settings: Settings) -> None:
        paths = make_artefacts(replace(build, settings=settings), report)
        show_build(arguments, report, partial(artefacts, paths))

    if arguments.watch:
        from dibo.api.watching.watch import watch

        watch(build.settings, report, make, files=build.files)
    make(build.settings)
    return 0
