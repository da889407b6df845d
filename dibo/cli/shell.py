"""`dibo shell`: a shell in a layer, or in the state that a failed hook left."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_build_options
from dibo.cli.projects.names import add_project_option, layers_settings
from dibo.system.report import Report

SUMMARY: Final = "open a shell in a layer, or in the state that a failed hook left"
EPILOG: Final = ""


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

    return shell(layers_settings(arguments, environment), report, at=arguments.at, command=arguments.run)
