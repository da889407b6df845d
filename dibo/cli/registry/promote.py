"""`dibo promote`: an image from one repository to another, with all that refers to it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_sign_option, add_verify_key_options, settings_of
from dibo.cli.output import add_json, show
from dibo.system.report import Report

SUMMARY: Final = "copy an image between registries, with all that refers to it"
EPILOG: Final = """\
Copies by digest: an image, or an index with all its images, a disk or a ramdisk, and what `dibo tree` lists below
them. With a key or a policy, FROM and what refers to it must be signed; this is checked before anything is copied. What
TO has is not sent again. With --sign-key, the copies are signed for TO; signatures of FROM come along.

example:
  dibo promote --policy policy.yaml hub.example/tests/web:1 hub.example/web"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="FROM", help="HOST[:PORT]/PATH[:TAG] or …@DIGEST")
    parser.add_argument("target", metavar="TO", help="HOST[:PORT]/PATH[:TAG] (the tag of FROM)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be copied")
    parser.add_argument(
        "--skip-unsigned",
        action="store_true",
        help="leave behind referrers that are not accepted, instead of refusing to copy",
    )
    add_verify_key_options(parser)
    add_sign_option(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.registry.promote import PromoteOptions, promote

    options = PromoteOptions(dry_run=arguments.dry_run, skip_unsigned=arguments.skip_unsigned)
    settings = settings_of(arguments, environment)
    show(arguments, promote(settings, report, arguments.source, arguments.target, options=options))
    return 0
