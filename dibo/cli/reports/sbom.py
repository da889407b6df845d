"""`dibo sbom`: the bill of materials of an image."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import (
    add_architecture,
    add_cache_directory,
    add_verbose,
    add_verify_key_options,
    path_of,
    settings_of,
)
from dibo.cli.projects.names import add_project_option, complete_images, contents_named
from dibo.system.report import Report, answer

SUMMARY: Final = "write the bill of materials of an image: CycloneDX or SPDX"
EPILOG: Final = """\
IMAGE is what `dibo inspect` takes. Packages have their licenses, as far as they declare them in a machine-readable
way, and the layer and step that brought them; files that belong to no package are listed with their sha256. The
same image gives the same bytes.

examples:
  dibo sbom -o web.cdx.json web.qcow2
  dibo sbom --format spdx --no-files registry.example/images/web:1"""


def add_options(parser: argparse.ArgumentParser) -> None:
    complete_images(parser.add_argument("image", metavar="IMAGE", help="image to list"))
    add_project_option(parser)
    parser.add_argument(
        "--format",
        metavar="NAME",
        choices=("cyclonedx", "spdx"),
        default="cyclonedx",
        help="format: cyclonedx (CycloneDX 1.6) or spdx (SPDX 2.3), both as JSON (cyclonedx)",
    )
    parser.add_argument("--no-files", action="store_true", help="leave out files that belong to no package")
    parser.add_argument("-o", "--output", metavar="FILE", help="write it to this file (standard output)")
    add_architecture(parser, "architecture, of an image for several (that of this machine)")
    add_cache_directory(parser)
    add_verify_key_options(parser)
    add_verbose(parser, "show each command that is run")


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.contents.sbom import sbom

    settings = settings_of(arguments, environment)
    text = sbom(
        settings,
        report,
        contents_named(arguments, environment, arguments.image),
        bill_format=arguments.format,
        files=not arguments.no_files,
        output=path_of(arguments.output),
    )
    answer(text.rstrip("\n"))
    return 0
