"""`dibo cache`: layers in a registry, and in the engine's store."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import (
    add_flavours_path,
    add_host_hooks,
    add_machine_options,
    add_secret_option,
    add_verbose,
    add_verify_key_options,
    flavours_to_complete,
    options_of,
    settings_of,
    whole_number,
)
from dibo.cli.output import add_json, show
from dibo.cli.parser import complete_with
from dibo.errors import UsageError
from dibo.system.report import Report

SUMMARY: Final = "list, prune or verify the layers in a registry, or prune those on this machine"
EPILOG: Final = ""
_ACTIONS: Final = {
    "list": "list the layers with their sizes, ages and last use",
    "prune": "remove old layers, except those of the stacks to keep",
    "verify": "read every layer, and check every digest, history and signature",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    parsers = {name: actions.add_parser(name, help=text, description=text) for name, text in _ACTIONS.items()}
    for name, below in parsers.items():
        nargs, note = ("?", "; none with --local") if name == "prune" else (None, "")
        below.add_argument("repository", metavar="REF", nargs=nargs, help=f"the repository, HOST/PATH{note}")
        add_json(below)
    for name in ("prune", "verify"):
        add_verbose(parsers[name], "show each command, and each layer that is read")
    add_verify_key_options(parsers["verify"])
    _add_prune_options(parsers["prune"])


def _add_prune_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--local",
        action="store_true",
        help="prune the engine's store on this machine: layers of other epochs, failed states, images without a name",
    )
    parser.add_argument(
        "--max-size",
        metavar="GB",
        help="with --local: also prune the least recently used layers until they take at most GB",
    )
    parser.add_argument(
        "--older-than", metavar="DAYS", type=whole_number(), help="prune layers that were not used for DAYS"
    )
    kept = parser.add_argument(
        "--keep-stack",
        metavar="FLAVOURS",
        action="append",
        default=[],
        help="keep the current layers of this stack: names separated by commas; may be repeated",
    )
    complete_with(kept, flavours_to_complete)
    answers = parser.add_mutually_exclusive_group()
    answers.add_argument(
        "--dry-run", action="store_true", help="only list what prune would remove (the default)"
    )
    answers.add_argument("--yes", action="store_true", help="remove the layers")
    add_machine_options(parser)
    add_host_hooks(parser)
    add_secret_option(parser)
    parser.add_argument("--epoch", metavar="NAME", help="epoch of the stacks to keep (this month)")
    parser.add_argument(
        "--no-base", action="store_false", dest="with_base", help="the stacks to keep do not include `base`"
    )
    add_flavours_path(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api import cache

    match arguments.action:
        case "list":
            show(arguments, cache.list_cache(arguments.repository))
        case "verify":
            show(arguments, cache.verify(settings_of(arguments, environment), report, arguments.repository))
        case _ if arguments.local:
            _prune_local(arguments, environment, report)
        case _:
            if arguments.repository is None or arguments.max_size is not None:
                raise UsageError(
                    "expected a repository or --local; --max-size goes with --local",
                    hint="dibo cache prune --older-than 30 HOST/PATH, or dibo cache prune --local",
                )
            wish = cache.Pruning(
                repository=arguments.repository,
                older_than=arguments.older_than,
                keep_stacks=tuple(arguments.keep_stack),
                yes=arguments.yes,
            )
            for result in cache.prune(options_of(arguments), environment, report, wish):
                show(arguments, result)
    return 0


def _prune_local(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> None:
    from dibo.api import cache

    if arguments.repository is not None:
        raise UsageError(
            "expected a repository or --local, got both",
            hint="leave one of them out: each is pruned on its own",
        )
    wish = cache.LocalPruning(
        older_than=arguments.older_than,
        max_size=arguments.max_size,
        keep_stacks=tuple(arguments.keep_stack),
        yes=arguments.yes,
    )
    for result in cache.prune_local(options_of(arguments), environment, report, wish):
        show(arguments, result)
