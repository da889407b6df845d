"""`diskimage-builder`: the images that its lists of images describe, built here."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from dibo.cli.options import add_verbose
from dibo.cli.output import add_json, show_build
from dibo.errors import UsageError
from dibo.system.report import Report, answer

SUMMARY: Final = "Build the images of diskimage-builder's lists, without root"
EPILOG: Final = """\
example:
  diskimage-builder --dry-run images.yaml  # the command of each image"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="lists of images (images.yaml); several are one list"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the command of each image, build none")
    parser.add_argument(
        "--stop-on-failure", action="store_true", help="build no further image once one failed"
    )
    add_verbose(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.documents import artefacts
    from dibo.api.elements.images import build_images, commands_text

    files = [Path(name) for name in arguments.files]
    if arguments.dry_run:
        if arguments.json:
            raise UsageError("--dry-run prints commands, not JSON", hint="leave one out")
        answer(commands_text(files))
        return 0
    paths = build_images(files, environment, report, stop_on_failure=arguments.stop_on_failure)
    show_build(arguments, report, partial(artefacts, paths))
    return 0
