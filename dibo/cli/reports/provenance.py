"""`dibo provenance`: where an artefact comes from, as a statement."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dibo.cli.options import add_sign_option, path_of, settings_of
from dibo.cli.projects.names import add_project_option, artefact_named, complete_images
from dibo.system.report import Report, answer

SUMMARY: Final = "write the provenance of an image: in-toto, SLSA"
EPILOG: Final = """\
Of an image that dibo made, with its manifest beside it. The statement says what it was made of: root, layers,
flavours and their files, base. With --sign-key it is signed, as a Sigstore bundle. `--provenance` of the commands
that build writes the same.

example:
  dibo provenance --sign-key team.key -o web.provenance.json web.qcow2"""


def add_options(parser: argparse.ArgumentParser) -> None:
    image = parser.add_argument(
        "image",
        metavar="IMAGE",
        help="an image with a manifest beside it, or the manifest; or an image of the project file",
    )
    complete_images(image)
    parser.add_argument("-o", "--output", metavar="FILE", help="write it to this file (standard output)")
    add_project_option(parser)
    add_sign_option(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.provenance import provenance

    path: Path = artefact_named(arguments, environment, arguments.image)
    settings = settings_of(arguments, environment)
    answer(provenance(settings, report, path, output=path_of(arguments.output)).rstrip("\n"))
    return 0
