"""`dibo report`: what is in an image and where its space goes, as a page."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import (
    add_architecture,
    add_cache_directory,
    add_read_cache_options,
    add_verbose,
    path_of,
    settings_of,
)
from dibo.cli.output import add_json, show
from dibo.cli.projects.names import add_project_option, complete_images, contents_named
from dibo.system.report import Report

SUMMARY: Final = "write a page about an image: contents, space, origins, times, what starts"
EPILOG: Final = """\
IMAGE is a disk image, a container image as `dibo convert` takes it, a tar, a directory, a ramdisk, a manifest of
dibo, or an image of the project file that was built. Nothing of it is run. The page needs no network and no other
file. With --json, no page is written without -o.

examples:
  dibo report web.qcow2                                     # web.report.html
  dibo report -o site/web.html registry.example/images/web:1"""


def add_options(parser: argparse.ArgumentParser) -> None:
    complete_images(parser.add_argument("image", metavar="IMAGE", help="image to report on"))
    add_project_option(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", dest="page", help="file to write the page to (NAME.report.html)"
    )
    add_architecture(parser, "architecture, of an image for several (that of this machine)")
    add_read_cache_options(
        parser,
        "look for the layers of a disk in this repository, HOST/PATH, too; may be repeated",
        "the same as --cache",
    )
    add_cache_directory(parser)
    add_verbose(parser, "show each command that is run")
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.contents.report import ReportRequest, report_image

    page, image = path_of(arguments.page), contents_named(arguments, environment, arguments.image)
    request = ReportRequest(image=image, page=page, as_document=arguments.json)
    show(arguments, report_image(settings_of(arguments, environment), report, request))
    return 0
