"""`dibo push`: a disk, or a ramdisk with its kernel, into a registry."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_sign_option, settings_of
from dibo.cli.output import add_json, show
from dibo.cli.projects.names import add_project_option, artefact_named, complete_images, image_of_file
from dibo.errors import UsageError
from dibo.system.report import Report

SUMMARY: Final = "upload a disk, or a ramdisk with its kernel, to a registry"
EPILOG: Final = """\
Bills (FILE's name with .cdx.json or .spdx.json) and provenance (.provenance.json) beside FILE are sent as well, and
refer to it. With --attach, all of them refer to the image that FILE was made of.

examples:
  dibo push web.qcow2 registry.example/disks/web:1
  dibo push --attach web.qcow2 registry.example/images/web:1"""


def add_options(parser: argparse.ArgumentParser) -> None:
    file = parser.add_argument(
        "file",
        metavar="FILE",
        help="a raw disk, a qcow2, a ramdisk, or an OCI layout in a tar; or an image of the project file",
    )
    complete_images(file)
    parser.add_argument(
        "reference",
        nargs="?",
        metavar="REFERENCE",
        help="destination: HOST[:PORT]/PATH[:TAG] (that of the project file)",
    )
    parser.add_argument(
        "--attach",
        action="store_true",
        help="REFERENCE is the image that FILE was made of: FILE refers to it, and gets no tag",
    )
    parser.add_argument(
        "--alone", action="store_true", help="send no bills and no provenance that are beside FILE"
    )
    add_project_option(parser)
    add_sign_option(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.registry.push import PushOptions, push

    image = image_of_file(arguments, environment, arguments.file)
    reference = arguments.reference or (image.destination.registry if image is not None else None)
    if reference is None:
        raise UsageError(
            "the following arguments are required: REFERENCE",
            hint="usage: dibo push [OPTION ...] FILE [REFERENCE]\n"
            "only an image of a project file with destination: docker://HOST/PATH:TAG does without",
        )
    path = artefact_named(arguments, environment, arguments.file)
    options = PushOptions(attach=arguments.attach, alone=arguments.alone)
    show(arguments, push(settings_of(arguments, environment), report, path, reference, options=options))
    return 0
