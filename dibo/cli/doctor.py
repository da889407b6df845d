"""`dibo doctor`: what builds and conversions need on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_machine_options, add_verbose, settings_of
from dibo.cli.output import add_json, show
from dibo.errors import EngineError
from dibo.system.report import Report

SUMMARY: Final = "check whether this machine has what builds and conversions need"
EPILOG: Final = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_machine_options(parser)
    add_verbose(parser, "show each command that is run")
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.doctor import examine, findings_answer, require

    findings = examine(settings_of(arguments, environment), report)
    show(arguments, findings_answer(findings))
    try:
        require(findings)
    except EngineError as error:  # reported here: with --json, the findings are the one document
        report.error(error)
        return error.exit_code
    return 0
