"""`dibo why`: which layers are missing, and why."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_stack_options
from dibo.cli.output import add_json, show
from dibo.cli.projects.names import add_project_option, layers_settings
from dibo.system.report import Report

SUMMARY: Final = "explain which layers are missing, and what differs from stored layers"
EPILOG: Final = "Without a name, it is about the image of a project file that has one."


def add_options(parser: argparse.ArgumentParser) -> None:
    add_stack_options(parser, nargs="*")
    add_project_option(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.why import why

    show(arguments, why(layers_settings(arguments, environment), report))
    return 0
