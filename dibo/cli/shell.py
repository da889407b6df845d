"""`dibo shell`: a shell in a layer, or in the state that a failed hook left."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_build_options, settings_of
from dibo.cli.projects.names import add_project_option, layers_settings
from dibo.system.report import Report

SUMMARY: Final = "open a shell in a layer, or in the state that a failed hook left"
EPILOG: Final = "Without a name and --at, it opens the image of a project file that has one."


def add_options(parser: argparse.ArgumentParser) -> None:
    add_build_options(parser, nargs="*")
    add_project_option(parser)
    parser.add_argument(
        "--at",
        metavar="NAME",
        help="open this layer: a key, or failed-KEY from an error message, or a unique prefix",
    )
    parser.add_argument("--run", metavar="COMMAND", help="run COMMAND instead of an interactive shell")


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.shell import shell

    without_image = arguments.at is not None and not arguments.flavours
    settings = (settings_of if without_image else layers_settings)(arguments, environment)
    return shell(settings, report, at=arguments.at, command=arguments.run)
