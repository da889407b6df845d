"""`dibo flavours`: the flavours of the search path."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_flavours_path, options_of, project_flavours_to_complete
from dibo.cli.output import add_json, show
from dibo.cli.parser import complete_with
from dibo.cli.projects.names import add_search_project_option, search_settings
from dibo.system.report import Report

SUMMARY: Final = "list flavours, or show the details of some"
EPILOG: Final = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_flavours_path(parser)
    add_search_project_option(parser)
    add_json(parser)
    names = parser.add_argument("flavours", nargs="*", metavar="FLAVOUR")
    complete_with(names, project_flavours_to_complete)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.flavours import describe_flavours, list_flavours

    settings = search_settings(arguments, environment)
    names = options_of(arguments).flavours
    if names:
        show(arguments, describe_flavours(settings, names), fold=True)
        return 0
    listed, error = list_flavours(settings, report)
    show(arguments, listed, fold=True)
    if error is None:
        return 0
    report.error(error)  # reported here: with --json, the list is the one document
    return error.exit_code
