"""What commands print: text for people, with --json one document for programs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dibo.system.report import answer as print_answer

if TYPE_CHECKING:
    from dibo.api.documents import CommandAnswer


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the answer, or the error, as JSON")


def show(arguments: argparse.Namespace, answer: CommandAnswer) -> None:
    """Print an answer to standard output."""
    print_answer(answer.json if arguments.json else answer.text)
