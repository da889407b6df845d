"""`dibo doctor`: what builds and conversions need on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_machine_options, add_verbose, settings_of
from dibo.system.report import Report, answer

SUMMARY: Final = "check whether this machine has what builds and conversions need"
EPILOG: Final = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_machine_options(parser)
    add_verbose(parser, "show each command that is run")


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.doctor import examine, require

    findings = examine(settings_of(arguments, environment), report)
    for finding in findings:
        answer(str(finding))
    require(findings)
    return 0
