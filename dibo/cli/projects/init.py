"""`dibo init`: a project file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dibo.cli.options import flavours_to_complete, project_flavours_to_complete
from dibo.cli.output import add_json, show
from dibo.cli.parser import complete_with
from dibo.errors import UsageError
from dibo.projects.keys import IMAGE_NAME, NAME_TEXT
from dibo.system.report import Report

if TYPE_CHECKING:
    from dibo.projects.new_file import NewImage

SUMMARY: Final = "write a project file, dibo.yaml, that builds; or add an image to one"
EPILOG: Final = """\
A file that exists is never overwritten; --add keeps all that is in it, comments too.

examples:
  dibo init --flavour vm --flavour mysql images    # images/dibo.yaml
  dibo init --add db --flavour mysql               # one more image in dibo.yaml"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", nargs="?", metavar="DIRECTORY", help="where to write it (.)")
    parser.add_argument("--name", metavar="NAME", help="name of the first image (that of the directory)")
    parser.add_argument(
        "--add", metavar="NAME", help="add an image of this name to the project file of the repository"
    )
    flavour = parser.add_argument(
        "--flavour",
        metavar="NAME",
        dest="flavour_names",
        action="append",
        default=[],
        help="flavour of the image (vm); may be repeated",
    )
    complete_with(flavour, _flavours_to_complete)
    parser.add_argument("--base", metavar="BASE", help="root to start from (debian; with --add, the default)")
    parser.add_argument("--release", metavar="NAME", help="release of the base (the newest)")
    parser.add_argument(
        "-t", "--type", metavar="TYPES", dest="types", help="artefacts, separated by commas (qcow2)"
    )
    parser.add_argument("--image-size", metavar="GB", help="size of the disk, fractions allowed (2)")
    parser.add_argument("--gitignore", action="store_true", help="add a line for the artefacts to .gitignore")
    parser.add_argument(
        "--project", metavar="FILE", help="with --add: this file (dibo.yaml here or above in the repository)"
    )
    add_json(parser)


def _flavours_to_complete(arguments: argparse.Namespace) -> list[str]:
    return (flavours_to_complete if arguments.add is None else project_flavours_to_complete)(arguments)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], _report: Report) -> int:
    from dibo.api.projects.init import InitRequest, add_image, init

    if arguments.add is None:
        if arguments.project is not None:
            raise UsageError("--project works only with --add", hint="dibo init DIRECTORY")
        directory = Path(arguments.directory or ".")
        request = InitRequest(
            image=_image(arguments, arguments.name or ""), directory=directory, gitignore=arguments.gitignore
        )
        show(arguments, init(request, environment))
        return 0
    for option in ("directory", "name", "gitignore"):
        if getattr(arguments, option):
            name = "DIRECTORY" if option == "directory" else f"--{option}"
            raise UsageError(f"{name} cannot be combined with --add", hint="--project names another file")
    image = _image(arguments, arguments.add)
    show(arguments, add_image(image, project_file=arguments.project, environment=environment))
    return 0


def _image(arguments: argparse.Namespace, name: str) -> NewImage:
    """Raises UsageError."""
    from dibo.projects.new_file import NewImage
    from dibo.settings.values import artefact_types
    from dibo.units import parse_gib

    if name and IMAGE_NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} cannot be the name of an image", hint=f"a name has {NAME_TEXT}")
    if arguments.image_size is not None:
        parse_gib(arguments.image_size, name="--image-size")
    return NewImage(
        name=name,
        flavours=tuple(arguments.flavour_names),
        base=arguments.base,
        release=arguments.release,
        types=() if arguments.types is None else artefact_types(arguments.types),
        size=arguments.image_size,
    )
