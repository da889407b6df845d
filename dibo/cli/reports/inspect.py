"""`dibo inspect`: what is in an image."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import (
    add_architecture,
    add_cache_directory,
    add_verbose,
    add_verify_key_options,
    settings_of,
)
from dibo.cli.output import add_json, show
from dibo.cli.projects.names import add_project_option, complete_images, contents_named
from dibo.system.report import Report

SUMMARY: Final = "list what is in an image: system, packages, units, users, kernels, layers"
EPILOG: Final = """\
IMAGE is a disk image, a container image as `dibo convert` takes it, a tar, a directory, a ramdisk, a manifest of
dibo, or an image of the project file that was built. Nothing of it is run. With --json, all of each package, unit,
user and layer.

examples:
  dibo inspect web.qcow2
  dibo inspect --json registry.example/images/web:1 | jq -r '.packages[].name'"""


def add_options(parser: argparse.ArgumentParser) -> None:
    complete_images(parser.add_argument("image", metavar="IMAGE", help="image to look into"))
    add_project_option(parser)
    parser.add_argument("--files", action="store_true", help="also list each file")
    add_architecture(parser, "architecture, of an image for several (that of this machine)")
    add_cache_directory(parser)
    add_verify_key_options(parser)
    add_verbose(parser, "show each command that is run")
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.contents.inspect import inspect

    settings, image = (
        settings_of(arguments, environment),
        contents_named(arguments, environment, arguments.image),
    )
    show(arguments, inspect(settings, report, image, files=arguments.files))
    return 0
