"""`dibo clean`: what dibo keeps on this machine, freed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_cache_directory, add_engine_choice, add_verbose, settings_of, whole_number
from dibo.cli.output import add_json, show
from dibo.cli.projects.names import add_project_option
from dibo.errors import UsageError
from dibo.system.report import Report

SUMMARY: Final = "free what dibo keeps on this machine and has no further use for"
EPILOG: Final = """\
Without options: what killed processes left, keys and logs of no use, failed states and images without a name;
after a week without use, layers of other epochs and downloads that a newer one replaced. What a build that runs
uses, artefacts, and images that you named stay.

`dibo cache prune --local` looks at layers alone, and can keep those of stacks; `dibo cache prune HOST/PATH` removes
layers from a registry, which this command never does.

examples:
  dibo clean --dry-run
  dibo clean --older-than 30 --keep-size 10
  dibo clean --all
  dibo clean --outputs --dry-run     # what the images of dibo.yaml wrote"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--all", action="store_true", dest="everything", help="free all that is not in use, kits included"
    )
    parser.add_argument(
        "--older-than",
        metavar="DAYS",
        type=whole_number(),
        help="also free layers, downloads and logs that were not used for DAYS",
    )
    parser.add_argument(
        "--keep-size",
        metavar="GB",
        help="also free the least recently used layers and downloads until they take at most GB",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would be freed, with sizes; remove nothing"
    )
    parser.add_argument(
        "--outputs",
        action="store_true",
        help="remove the artefacts that images of the project file wrote, instead; what was changed since stays",
    )
    add_project_option(parser)
    add_engine_choice(
        parser, "look only at the store of this engine: buildah, docker (all that are installed)"
    )
    parser.add_argument("--epoch", metavar="NAME", help="epoch whose layers stay (this month)")
    add_cache_directory(parser)
    add_verbose(parser, "show each command that is run")
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.upkeep.clean import CleanRequest, clean

    if arguments.outputs:
        return _clean_outputs(arguments, environment, report)
    if arguments.project is not None:
        raise UsageError("--project works only with --outputs")
    request = CleanRequest(
        everything=arguments.everything,
        older_than=arguments.older_than,
        keep_size=arguments.keep_size,
        dry_run=arguments.dry_run,
    )
    result = clean(settings_of(arguments, environment), report, request)
    show(arguments, result.answer)
    return result.exit_code


def _clean_outputs(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.projects.clean import clean_outputs

    for option in ("everything", "older_than", "keep_size", "engine", "epoch", "cache_dir"):
        if getattr(arguments, option) not in (None, False):
            name = "all" if option == "everything" else option.replace("_", "-")
            raise UsageError(f"--{name} cannot be combined with --outputs", hint="run dibo clean twice")
    result = clean_outputs(arguments.project, environment, report, dry_run=arguments.dry_run)
    show(arguments, result.answer)
    return result.exit_code
