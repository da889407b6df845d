"""`dibo elements`: elements of diskimage-builder, and whether they run unchanged."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dibo.cli.output import add_json, show
from dibo.cli.parser import complete_with
from dibo.system.report import Report

SUMMARY: Final = "list elements of diskimage-builder, or check whether they run unchanged"
EPILOG: Final = ""
_ACTIONS: Final = {
    "list": "list the elements of ELEMENTS_PATH",
    "show": "show the details of some: where they are, what they need, their scripts",
    "check": "check whether elements run unchanged, and say what to do where they do not",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    parsers = {name: actions.add_parser(name, help=text, description=text) for name, text in _ACTIONS.items()}
    elements = parsers["show"].add_argument(
        "elements", metavar="ELEMENT", nargs="+", help="names of elements"
    )
    complete_with(elements, _names)
    parsers["check"].add_argument(
        "paths", metavar="PATH", nargs="+", help="an element, or a directory of elements; both may be mixed"
    )
    for below in parsers.values():
        add_json(below)


def _names(_: argparse.Namespace) -> list[str]:
    import os

    from dibo.api.elements.search import elements_path, find_elements

    return list(find_elements(elements_path(os.environ)))


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    if arguments.action == "check":
        from dibo.api.elements.check import check

        answer, error = check([Path(path) for path in arguments.paths], environment)
        show(arguments, answer, fold=True)
        if error is None:
            return 0
        report.error(error)  # reported here: with --json, the verdicts are the one document
        return error.exit_code
    from dibo.api.elements.search import list_elements, show_elements

    if arguments.action == "list":
        show(arguments, list_elements(environment))
    else:
        show(arguments, show_elements(arguments.elements, environment))
    return 0
