"""Options of `dibo bake` that write a pipeline instead of building."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from dibo.cli.options import path_of
from dibo.cli.output import show
from dibo.errors import UsageError
from dibo.settings.settings import Options
from dibo.system.report import Report

if TYPE_CHECKING:
    from dibo.api.baking.project import ChosenImages

_SERVICES: Final = ("gitlab", "github")


def add_pipeline_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--emit",
        metavar="SERVICE",
        choices=_SERVICES,
        help="write the pipeline that bakes these images, and build nothing: gitlab or github",
    )
    parser.add_argument(
        "--emit-to",
        metavar="FILE",
        help="where the pipeline is written (.gitlab/images.yml, .github/workflows/images.yml)",
    )
    parser.add_argument(
        "--check", action="store_true", help="with --emit: write nothing, fail if the file is out of date"
    )
    parser.add_argument(
        "--ci-dibo",
        metavar="WHAT",
        help="with --emit: where jobs get dibo from, an image for gitlab, what pip installs for github",
    )


def require_no_pipeline_options(arguments: argparse.Namespace) -> None:
    """Raises UsageError for options that need --emit."""
    for option, given in (
        ("--emit-to", arguments.emit_to),
        ("--check", arguments.check),
        ("--ci-dibo", arguments.ci_dibo),
    ):
        if given:
            raise UsageError(f"{option} works only with --emit")


def emit_pipeline(
    arguments: argparse.Namespace, options: Options, chosen: ChosenImages, report: Report
) -> int:
    """Write or check the file; the exit code. Raises UsageError for options that do not fit."""
    from dibo.api.baking.emit import EmitRequest, check_emitted, emit

    for option in ("on", "changed_since", "output", "junit", "dry_run"):
        if getattr(arguments, option) not in (None, False):
            raise UsageError(
                f"--emit writes a pipeline of all images: leave out --{option.replace('_', '-')}"
            )
    request = EmitRequest(
        service=arguments.emit,
        file=path_of(arguments.emit_to),
        names=tuple(arguments.images),
        cache=next(iter(options.caches), None),
        dibo=arguments.ci_dibo,
    )
    show(arguments, (check_emitted if arguments.check else emit)(chosen, report, request))
    return 0
