"""`dibo build`: the layers, an OCI image."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_build_options, settings_of
from dibo.cli.output import add_json, show
from dibo.errors import UsageError
from dibo.system.report import Report

SUMMARY: Final = "build the layers as an OCI image"
EPILOG: Final = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_build_options(parser)
    add_json(parser)
    parser.add_argument("--tag", metavar="NAME", help="name the image, such as localhost/web")
    parser.add_argument("--push", metavar="NAME", help="push the image: HOST/PATH:TAG")
    parser.add_argument(
        "--include-local", action="store_true", help="also push layers with data of this user or machine"
    )


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.image import build, build_and_push, image_answer

    settings = settings_of(arguments, environment)
    if arguments.push is None:
        if arguments.include_local:
            raise UsageError("--include-local works only with --push")
        show(arguments, image_answer(build(settings, report, tag=arguments.tag)))
        return 0
    name = build_and_push(
        settings, report, tag=arguments.tag, push=arguments.push, include_local=arguments.include_local
    )
    show(arguments, image_answer(name))
    return 0
