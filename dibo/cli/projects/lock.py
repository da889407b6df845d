"""`dibo lock`: what images are made of at this moment, in dibo.lock."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dibo.cli.options import add_stack_options, options_of
from dibo.cli.output import add_json, show
from dibo.cli.projects.names import add_project_option, layers_settings, no_flavour
from dibo.system.report import Report

SUMMARY: Final = "write dibo.lock: the packages and bases that builds with --locked use"
EPILOG: Final = "Without a name, it is about all images of the project file."


def add_options(parser: argparse.ArgumentParser) -> None:
    add_stack_options(parser, nargs="*")
    add_project_option(parser)
    parser.add_argument("--diff", action="store_true", help="write nothing, and say what moved since")
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.projects.images import open_project
    from dibo.api.projects.lock import lock
    from dibo.api.settings import image_settings
    from dibo.plan.lock import LOCK_FILE

    project = open_project(arguments.project, environment)
    if arguments.flavours:
        images = [layers_settings(arguments, environment)]
    elif project is not None:
        built = [image for image in project.images if image.convert is None]
        images = [image_settings(image, options_of(arguments), environment) for image in built]
    else:
        raise no_flavour()
    show(arguments, lock(images, report, path=Path(LOCK_FILE), diff=arguments.diff))
    return 0
