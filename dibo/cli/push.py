"""`dibo push`: a disk, or a ramdisk with its kernel, into a registry."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dibo.cli.options import add_sign_option, settings_of
from dibo.cli.output import add_json, show
from dibo.system.report import Report

SUMMARY: Final = "upload a disk, or a ramdisk with its kernel, to a registry"
EPILOG: Final = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help="a raw disk, a qcow2, a ramdisk, or an OCI layout in a tar"
    )
    parser.add_argument("reference", metavar="REFERENCE", help="destination: HOST[:PORT]/PATH[:TAG]")
    add_sign_option(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.push import push

    show(
        arguments,
        push(settings_of(arguments, environment), report, Path(arguments.file), arguments.reference),
    )
    return 0
