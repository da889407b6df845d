"""`dibo build`: the layers, an OCI image."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from dibo.cli.options import add_build_options, add_watch, path_of
from dibo.cli.output import add_json, check_watch, show, show_build
from dibo.cli.parser import complete_with
from dibo.cli.profile import add_profile
from dibo.cli.projects.build import build_image
from dibo.cli.projects.names import add_project_option, image_of, no_flavour, settings_of_image
from dibo.errors import UsageError
from dibo.settings.settings import PROFILES, Settings
from dibo.system.report import Report

if TYPE_CHECKING:
    from dibo.projects.model import ProjectImage

SUMMARY: Final = "build the layers as an OCI image, or the artefacts of an image of the project file"
EPILOG: Final = """\
NAME is an image of the project file, dibo.yaml, if it stands alone and is one; @NAME is always one; without a
name, it is the only image of the file. For such an image, the artefacts are made that the file names, and nothing
else is unless --tag or --push asks for layers.

examples:
  dibo build --base debian vm mysql    # layers of flavours, as an OCI image
  dibo build web                       # disks and other artefacts of the image web of dibo.yaml"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_build_options(parser, nargs="*")
    add_project_option(parser)
    add_watch(parser)
    add_profile(parser)
    add_json(parser)
    kit = parser.add_argument(
        "--kit",
        metavar="PROFILE",
        help="build a kit for `dibo convert --kit` instead: a kernel and an init for machines of clouds, or of metal",
    )
    complete_with(kit, lambda _: PROFILES)
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="write the kit to this OCI layout, or add it there; an image of the project file to NAME.TYPE",
    )
    parser.add_argument("--tag", metavar="NAME", help="name the image, such as localhost/web")
    parser.add_argument(
        "--push",
        metavar="NAME",
        help="push the image: HOST/PATH:TAG; with -a amd64,arm64, an index of images",
    )
    parser.add_argument(
        "--join", action="store_true", help="keep what --push NAME has for other architectures, in an index"
    )
    parser.add_argument(
        "--include-local", action="store_true", help="also push layers with data of this user or machine"
    )


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    check_watch(arguments)
    image = image_of(arguments, environment, arguments.flavours) if arguments.kit is None else None
    if image is None and not (arguments.flavours or arguments.kit):
        raise no_flavour()
    if image is not None and arguments.tag is None and arguments.push is None:
        return build_image(arguments, environment, report, image)
    several = _settings_of_each(arguments, environment, image)
    if arguments.kit is not None:
        if arguments.watch:
            raise UsageError("--watch does not build kits", hint="leave out --kit, or --watch")
        return _run_kit(arguments, several, report)
    if arguments.watch:
        from dibo.api.watching.watch import watch

        def build_each(settings: Settings) -> None:
            _build(arguments, [replace(one, refresh=settings.refresh) for one in several], report)

        watch(several[0], report, build_each)
    _build(arguments, several, report)
    return 0


def _build(arguments: argparse.Namespace, several: Sequence[Settings], report: Report) -> None:
    from dibo.api.image import build, build_and_push, build_and_push_index, image_answer

    if arguments.output is not None:
        raise UsageError("-o works only with --kit", hint="--tag and --push say where an image goes")
    for option, given in (("--include-local", arguments.include_local), ("--join", arguments.join)):
        if given and arguments.push is None:
            raise UsageError(f"{option} works only with --push")
    if arguments.push is None and len(several) == 1:
        name = build(several[0], report, tag=arguments.tag)
        show_build(arguments, report, partial(image_answer, name))
        return
    is_index = arguments.join or len(several) > 1
    if arguments.push is None or (is_index and arguments.tag is not None):
        raise UsageError(
            "the engine keeps an image of one architecture under a name",
            hint="give -a one architecture, or leave out --tag and push an index: --push HOST/PATH:TAG",
        )
    to, local = arguments.push, arguments.include_local
    if is_index:
        name = build_and_push_index(several, report, push=to, include_local=local, join=arguments.join)
    else:
        name = build_and_push(several[0], report, tag=arguments.tag, push=to, include_local=local)
    show_build(arguments, report, partial(image_answer, name))


def _settings_of_each(
    arguments: argparse.Namespace, environment: Mapping[str, str], image: ProjectImage | None
) -> tuple[Settings, ...]:
    """One for each architecture that -a names, commas between. Raises UsageError for one named twice."""
    if arguments.architecture is None:
        return (settings_of_image(arguments, environment, image),)
    several = []
    for name in arguments.architecture.split(","):
        one = argparse.Namespace(**{**vars(arguments), "architecture": name.strip()})
        several.append(settings_of_image(one, environment, image))
    if len({settings.platform for settings in several}) != len(several):
        raise UsageError(
            f"-a {arguments.architecture} names an architecture twice", hint="name each once: -a amd64,arm64"
        )
    return tuple(several)


def _run_kit(arguments: argparse.Namespace, several: Sequence[Settings], report: Report) -> int:
    """Kits for all architectures go to the same place."""
    from dibo.api.image import KitBuild, build_kit
    from dibo.cache.push_image import target

    if arguments.kit not in PROFILES:
        raise UsageError(f"{arguments.kit!r} is no profile of kits", hint=f"use one of {', '.join(PROFILES)}")
    if arguments.tag is not None or arguments.include_local or arguments.join:
        raise UsageError(
            "--kit takes neither --tag nor --include-local nor --join",
            hint="-o or --push say where a kit goes; those for other architectures stay there",
        )
    build = KitBuild(
        profile=arguments.kit,
        flavours=tuple(arguments.flavours),
        output=path_of(arguments.output),
        push=target(arguments.push) if arguments.push is not None else None,
    )
    answers = [build_kit(settings, report, build) for settings in several]
    show(arguments, answers[-1])
    return 0
