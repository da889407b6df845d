"""`dibo doctor`: what builds and conversions need on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_filesystem, add_machine_options, add_types, add_verbose
from dibo.cli.output import add_json, show
from dibo.cli.parser import complete_with
from dibo.cli.projects.names import add_search_project_option, search_settings
from dibo.errors import EngineError, UsageError
from dibo.system.report import Report

SUMMARY: Final = "check whether this machine has what builds and conversions need"
EPILOG: Final = ""
PURPOSES: Final = ("build", "ramdisk", "convert", "loop", "boot", "boot-server")


def add_options(parser: argparse.ArgumentParser) -> None:
    purposes = parser.add_argument(
        "purposes",
        metavar="PURPOSE",
        nargs="*",
        help="check only what this needs: build, ramdisk, convert, loop, boot, boot-server (all, for a build)",
    )
    complete_with(purposes, lambda _: PURPOSES)
    add_machine_options(parser)
    add_types(parser)
    add_filesystem(parser, "root file system (ext4)")
    parser.add_argument("--fix", action="store_true", help="repair what needs no root, and say what was done")
    add_search_project_option(parser)
    add_verbose(parser, "show each command that is run")
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.upkeep.doctor import examine, findings_answer, require
    from dibo.flavours.schema import nearest

    purposes = arguments.purposes
    for unknown in sorted(set(purposes) - set(PURPOSES)):
        message = f"{unknown!r} is no purpose{nearest(unknown, PURPOSES)}"
        raise UsageError(message, hint=f"dibo doctor takes {', '.join(PURPOSES)}")
    settings = search_settings(arguments, environment)
    examination = examine(settings, report, purposes=purposes, fix=arguments.fix)
    show(arguments, findings_answer(examination), fold=True)
    try:
        require(examination.findings, purposes)
    except EngineError as error:  # reported here: with --json, the findings are the one document
        report.error(error)
        return error.exit_code
    return 0
