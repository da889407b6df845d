"""`dibo ssh`: a shell in a machine that runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_cache_directory, settings_of
from dibo.cli.output import add_json, show
from dibo.cli.parser import complete_with
from dibo.system.report import Report

SUMMARY: Final = "open a shell in a machine that `dibo boot` started"
EPILOG: Final = """\
example:
  dibo ssh web uptime"""


def add_options(parser: argparse.ArgumentParser) -> None:
    name = parser.add_argument(
        "machine_name",
        nargs="?",
        metavar="NAME",
        help="which machine; without a name, the only one that runs",
    )
    complete_with(name, _names)
    parser.add_argument(
        "arguments", nargs="*", metavar="COMMAND", help="a command and its arguments, in place of a shell"
    )
    parser.add_argument("--list", action="store_true", help="list the machines that run")
    add_cache_directory(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], _report: Report) -> int:
    from dibo.api.machines.ssh import list_machines, ssh

    settings = settings_of(arguments, environment)
    if arguments.list or arguments.json:
        show(arguments, list_machines(settings))
        return 0
    return ssh(settings, arguments.machine_name, arguments.arguments)


def _names(arguments: argparse.Namespace) -> list[str]:
    import os

    from dibo.machines.running_table import running_machines

    return [entry.name for entry in running_machines(settings_of(arguments, os.environ).cache)]
