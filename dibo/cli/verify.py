"""`dibo verify`: an image built again from its manifest, and compared."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import (
    add_base_source,
    add_cache_directory,
    add_cache_options,
    add_converters_path,
    add_engine,
    add_flavours_path,
    add_host_hooks,
    add_secret_option,
    add_verbose,
    options_of,
)
from dibo.cli.output import add_json, show
from dibo.cli.projects.names import add_project_option, artefact_named, complete_images
from dibo.errors import Differs
from dibo.system.report import Report, answer

SUMMARY: Final = "rebuild an image from its manifest, and compare"
EPILOG: Final = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    image = parser.add_argument(
        "image",
        metavar="IMAGE",
        help="a manifest, or an image with a manifest beside it; or an image of the project file that was built",
    )
    complete_images(image)
    add_project_option(parser)
    parser.add_argument(
        "--cached", action="store_true", help="use stored layers instead of rebuilding every layer"
    )
    parser.add_argument(
        "--no-build",
        action="store_true",
        help="build nothing: compare files, provenance, flavours and keys with the manifest",
    )
    parser.add_argument(
        "--base", metavar="FILE", help="the base or image, if the manifest names a file of its builder"
    )
    add_base_source(parser)
    add_engine(parser)
    add_host_hooks(parser)
    add_cache_directory(parser)
    add_cache_options(parser)
    add_secret_option(parser)
    add_flavours_path(parser)
    add_converters_path(parser)
    add_verbose(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.verify import verify

    try:
        result = verify(
            options_of(arguments),
            environment,
            report,
            path=artefact_named(arguments, environment, arguments.image),
            cached=arguments.cached,
            build=not arguments.no_build,
        )
    except Differs as error:
        if not arguments.json:
            answer("\n".join(error.details))
        raise
    show(arguments, result)
    return 0
