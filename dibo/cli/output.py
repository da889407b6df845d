"""What commands print: text for people, with --json one document for programs."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from dibo.cli.parser import folded
from dibo.errors import UsageError
from dibo.system.report import Report
from dibo.system.report import answer as print_answer

if TYPE_CHECKING:
    from dibo.api.documents import CommandAnswer
    from dibo.system.report import History


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="print the answer, or the error, as JSON; on stderr, events"
    )


def show(arguments: argparse.Namespace, answer: CommandAnswer, *, fold: bool = False) -> None:
    """Print an answer to standard output. With `fold`, long lines of a table are folded on a terminal; a pipe gets a
    line each."""
    text = answer.json if arguments.json else answer.text
    if fold and not arguments.json and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        text = "\n".join(line for long in text.splitlines() for line in folded(long, width))
    print_answer(text)


def show_build(
    arguments: argparse.Namespace, report: Report, make_answer: Callable[[History], CommandAnswer]
) -> None:
    """Print what was built, after a summary of how."""
    from dibo.system.summary import summary_text

    answer = make_answer(report.history)
    if not arguments.json:
        summary = summary_text(report.history, columns=report.columns)
        if summary:
            report.say(f"\n{summary}\n")
    show(arguments, answer)


def check_watch(arguments: argparse.Namespace) -> None:
    """Raises UsageError."""
    if arguments.watch and arguments.json:
        raise UsageError(
            "--json prints one document, and --watch builds more than once", hint="leave one out"
        )


def new_report(*, as_json: bool, verbose: bool = False, quiet: bool = False) -> Report:
    """Where progress, warnings and errors go."""
    if not as_json:
        return Report(verbose=verbose, quiet=quiet)
    from dibo.api.documents import JsonEvents

    return Report(sink=JsonEvents(sys.stderr, verbose=verbose, quiet=quiet))
