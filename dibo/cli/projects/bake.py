"""`dibo bake`: all images of a project file, together."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dibo.cli.options import (
    add_base_source,
    add_cache_directory,
    add_cache_options,
    add_converters_path,
    add_engine,
    add_epoch_options,
    add_flavours_path,
    add_host_hooks,
    add_secret_option,
    add_verbose,
    options_of,
    path_of,
    whole_number,
)
from dibo.cli.output import add_json, show
from dibo.cli.profile import add_profile
from dibo.cli.projects.cluster_options import add_cluster_options, cluster_of
from dibo.cli.projects.names import complete_images
from dibo.cli.projects.pipeline_options import (
    add_pipeline_options,
    emit_pipeline,
    require_no_pipeline_options,
)
from dibo.system.report import Report

if TYPE_CHECKING:
    from dibo.api.baking.bake import BakeOptions
    from dibo.api.baking.project import BakeChoice, ChosenImages

SUMMARY: Final = "build all images of a project file together, each shared layer once"
EPILOG: Final = """\
A failure ends what depends on it: other images are built all the same, and the exit code is 66. An image has changed
if one of its flavours has, its layout, or its entry in the project file; --dry-run says by what.

examples:
  dibo bake                                # all images of dibo.yaml
  dibo bake web db -j 4                    # two of them, four tasks at a time
  dibo bake --changed-since origin/main --junit bake.xml   # for CI
  dibo bake --dry-run                      # what would be built, and what is shared
  dibo bake --on dask://build-cluster:8786 # on the workers of a cluster
  dibo bake --emit gitlab                  # the pipeline that bakes them in GitLab CI"""


def add_options(parser: argparse.ArgumentParser) -> None:
    images = parser.add_argument(
        "images", metavar="IMAGE", nargs="*", help="images of the project file (all)"
    )
    complete_images(images)
    parser.add_argument(
        "--project",
        metavar="FILE",
        help="project file with the images (dibo.yaml here or above in the repository)",
    )
    parser.add_argument(
        "--changed-since", metavar="REV", help="only images that changed since this revision of git"
    )
    parser.add_argument(
        "-j",
        "--jobs",
        metavar="N",
        type=whole_number(least=1),
        help="do N tasks at a time (as many as there are processors, and memory for)",
    )
    parser.add_argument(
        "--max-memory", metavar="GB", help="memory for tasks, fractions allowed (what is free)"
    )
    failure = parser.add_mutually_exclusive_group()
    failure.add_argument(
        "-k",
        "--keep-going",
        action="store_false",
        default=False,
        dest="stop_on_failure",
        help="after a failure, build what does not depend on it (the default)",
    )
    failure.add_argument("--stop-on-failure", action="store_true", help="after a failure, begin nothing more")
    parser.add_argument(
        "--dry-run", action="store_true", help="only print the layers, and what is made of them"
    )
    parser.add_argument("--junit", metavar="FILE", help="write a report in JUnit's XML to FILE")
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="directory for artefacts (that of the project file)"
    )
    add_cluster_options(parser)
    add_pipeline_options(parser)
    _add_build_options(parser)
    add_verbose(parser)
    add_profile(parser)
    add_json(parser)


def _add_build_options(parser: argparse.ArgumentParser) -> None:
    """What holds for all images, whatever the project file says."""
    add_engine(parser)
    add_host_hooks(parser)
    add_epoch_options(parser)
    add_base_source(parser)
    add_secret_option(parser)
    add_flavours_path(parser)
    add_converters_path(parser)
    add_cache_directory(parser)
    add_cache_options(parser)
    parser.add_argument("--refresh", action="store_true", help="rebuild every layer")


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.baking import bake
    from dibo.api.baking.project import chosen_images

    options = replace(options_of(arguments), name=None, flavours=())
    chosen = chosen_images(_choice(arguments), options, environment)
    if arguments.emit is not None:
        return emit_pipeline(arguments, options, chosen, report)
    require_no_pipeline_options(arguments)
    _tell(chosen, report)
    bake_options = _options(arguments)
    if arguments.junit is not None:
        bake.check_junit(Path(arguments.junit))
    if arguments.dry_run:
        show(arguments, bake.dry_run(chosen.specs, report, chosen.reasons))
        return 0
    baked = bake.bake(chosen.specs, report, bake_options)
    if arguments.junit is not None:
        bake.write_junit(baked, Path(arguments.junit))
    if not arguments.json and baked.images:
        report.say(f"\n{bake.summary(baked, columns=report.columns)}\n")
    show(arguments, bake.bake_answer(baked))
    error = bake.failure_of(baked)
    if error is None:
        return 0
    report.error(error)
    return error.exit_code


def _choice(arguments: argparse.Namespace) -> BakeChoice:
    from dibo.api.baking.project import BakeChoice

    return BakeChoice(
        project=arguments.project,
        names=tuple(arguments.images),
        changed_since=arguments.changed_since,
        directory=path_of(arguments.output),
    )


def _options(arguments: argparse.Namespace) -> BakeOptions:
    from dibo.api.baking.bake import BakeOptions

    return BakeOptions(
        jobs=arguments.jobs,
        memory=_memory(arguments.max_memory),
        stop_on_failure=arguments.stop_on_failure,
        verbose=arguments.verbose,
        on=cluster_of(arguments),
        only_layers=arguments.layers,
    )


def _memory(text: str | None) -> int | None:
    """Bytes of --max-memory. Raises UsageError."""
    from dibo.units import parse_gib

    return None if text is None else parse_gib(text, name="--max-memory")


def _tell(chosen: ChosenImages, report: Report) -> None:
    """Which images are left out."""
    if chosen.unchanged:
        report.say(f"not changed: {', '.join(chosen.unchanged)}")
    for name, reasons in chosen.reasons.items():
        report.say(
            f"{name} changed: {reasons[0]}" + (f", and {len(reasons) - 1} more" if reasons[1:] else "")
        )
