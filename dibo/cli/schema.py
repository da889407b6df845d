"""`dibo schema`: the JSON schema of a file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.system.report import Report, answer

SUMMARY: Final = "print a JSON schema, for editors"
EPILOG: Final = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        choices=["flavour", "layout", "project", "manifest", "policy", "json"],
        help="flavour.yaml, layout.yaml, dibo.yaml, the manifest of an image, a policy of signatures, output of --json",
    )


def run(arguments: argparse.Namespace, _environment: Mapping[str, str], _report: Report) -> int:
    from dibo.api.schema import schema

    answer(schema(arguments.file))
    return 0
