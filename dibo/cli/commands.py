"""Every command, and the parsers of the five programs. A new command is one module here, and one line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final, Protocol

from dibo import __version__
from dibo.cli import (
    boot_server,
    build,
    cache,
    completion,
    convert,
    create,
    flavours,
    get_kernel,
    key,
    plan,
    ramdisk,
    schema,
    shell,
    verify,
    why,
)
from dibo.cli.elements import diskimage_builder, elements
from dibo.cli.machines import boot, ssh
from dibo.cli.parser import Parser
from dibo.cli.projects import bake, init, lock
from dibo.cli.registry import promote, push, tree
from dibo.cli.reports import diff, inspect, provenance, report, sbom
from dibo.cli.upkeep import clean, doctor
from dibo.system.report import Report


class Command(Protocol):
    """What a module of a command has."""

    @property
    def SUMMARY(self) -> str:
        """One line of help, without a full stop."""

    @property
    def EPILOG(self) -> str:
        """What the help ends with; may be empty."""

    def add_options(self, parser: argparse.ArgumentParser, /) -> None:
        """Declare its arguments."""

    def run(self, arguments: argparse.Namespace, environment: Mapping[str, str], report: Report, /) -> int:
        """Carry it out; the exit code. Raises what dibo.errors has."""


COMMANDS: Final[Mapping[str, Command]] = {
    "init": init,
    "plan": plan,
    "build": build,
    "bake": bake,
    "convert": convert,
    "push": push,
    "tree": tree,
    "promote": promote,
    "verify": verify,
    "why": why,
    "lock": lock,
    "inspect": inspect,
    "diff": diff,
    "report": report,
    "sbom": sbom,
    "provenance": provenance,
    "cache": cache,
    "clean": clean,
    "key": key,
    "flavours": flavours,
    "elements": elements,
    "shell": shell,
    "boot": boot,
    "ssh": ssh,
    "boot-server": boot_server,
    "doctor": doctor,
    "schema": schema,
    "completion": completion,
}
"""Of `dibo`, in the order of its help."""

PROGRAMS: Final[Mapping[str, Command]] = {
    "disk-image-create": create,
    "ramdisk-image-create": ramdisk,
    "disk-image-get-kernel": get_kernel,
    "diskimage-builder": diskimage_builder,
}
"""Commands that are programs of their own."""


_DESCRIPTION: Final = "Build disk images and ramdisks from flavours, as layers of a container build."
_EPILOG: Final = """\
example:
  disk-image-create -o db --base debian vm mysql  # db.qcow2, a bootable disk
  dibo plan --base debian vm mysql                # the layers that it has

`COMMAND -h` and man(1) explain each: man dibo-plan. The documentation begins with docs/README.md of the source."""


def parser_of(program: str) -> Parser:
    """The parser of `dibo`, or of one of PROGRAMS. What it parses has the command as `command`."""
    return _dibo_parser() if program == "dibo" else _program_parser(program, PROGRAMS[program])


def _dibo_parser() -> Parser:
    width = max(map(len, PROGRAMS)) + 2
    programs = "\n".join(f"  {name:{width}}{_sentence(program)}" for name, program in PROGRAMS.items())
    parser = Parser(prog="dibo", description=f"{_DESCRIPTION}\n\nprograms:\n{programs}", epilog=_EPILOG)
    parser.programs = tuple(PROGRAMS)
    parser.add_argument("--version", action="version", version=f"dibo {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        below = commands.add_parser(
            name, help=command.SUMMARY, description=command.SUMMARY, epilog=command.EPILOG
        )
        below.set_defaults(command=command)
        command.add_options(below)
    return parser


def _sentence(command: Command) -> str:
    """The summary of a program in the form of those of commands."""
    return command.SUMMARY[:1].lower() + command.SUMMARY[1:]


def _program_parser(name: str, command: Command) -> Parser:
    parser = Parser(prog=name, description=f"{command.SUMMARY}.", epilog=command.EPILOG)
    parser.set_defaults(command=command)
    parser.add_argument("--version", action="version", version=f"{name} {__version__}")
    command.add_options(parser)
    return parser
