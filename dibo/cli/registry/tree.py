"""`dibo tree`: what refers to an image in a registry."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_verify_key_options, settings_of
from dibo.cli.output import add_json, show
from dibo.system.report import Report

SUMMARY: Final = "list what refers to an image in a registry"
EPILOG: Final = """\
Shows the image, or each image of an index, and below it what refers to it: disks, ramdisks, bills of materials,
provenance, attestations and signatures, of any origin. With a key or a policy, the image must be signed.

example:
  dibo tree registry.example/images/web:1"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="REFERENCE", help="HOST[:PORT]/PATH[:TAG] or …@DIGEST")
    add_verify_key_options(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], _report: Report) -> int:
    from dibo.api.registry.tree import tree

    show(arguments, tree(settings_of(arguments, environment), arguments.reference))
    return 0
