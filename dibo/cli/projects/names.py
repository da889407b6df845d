"""Images of the project file as arguments of commands: the option --project, what a word means, and completion."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dibo.cli.options import flavours_to_complete, options_of, settings_of
from dibo.cli.parser import complete_with
from dibo.errors import UsageError

if TYPE_CHECKING:
    from dibo.api.projects.make import ImageBuild
    from dibo.projects.model import ProjectImage
    from dibo.settings.settings import Settings


def add_project_option(parser: argparse.ArgumentParser) -> None:
    """To a command that has its arguments already: where it takes flavours, an image may stand in their place."""
    parser.add_argument(
        "--project",
        metavar="FILE",
        help="project file with the image (dibo.yaml here or above in the repository); none for no file",
    )
    for argument in parser._actions:
        if argument.dest == "flavours":
            argument.help = "flavours, or one image of the project file"
            complete_with(argument, _names_to_complete)


def add_search_project_option(parser: argparse.ArgumentParser) -> None:
    """To a command that is for no image, but finds what images find."""
    parser.add_argument(
        "--project",
        metavar="FILE",
        help="project file whose directories are searched, too (dibo.yaml here or above in the repository); "
        "none for no file",
    )


def search_settings(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """The settings of such a command. Raises ProjectError, UsageError."""
    from dibo.api.projects.images import open_project
    from dibo.api.settings import current_settings

    project = open_project(arguments.project, environment)
    return current_settings(options_of(arguments), environment, project=project)


def _names_to_complete(arguments: argparse.Namespace) -> Sequence[str]:
    return (*image_names(arguments), *flavours_to_complete(arguments))


def image_names(arguments: argparse.Namespace) -> Sequence[str]:
    """Nothing where there is no project file, or one with an error: a shell that completes shows none."""
    from dibo.api.projects.images import open_project
    from dibo.errors import DiboError
    from dibo.projects.select import names_of

    try:
        project = open_project(getattr(arguments, "project", None), os.environ)
    except DiboError:
        return ()
    return () if project is None else names_of(project)


def image_of(
    arguments: argparse.Namespace, environment: Mapping[str, str], words: Sequence[str]
) -> ProjectImage | None:
    """The image of the project file that the words mean; None for flavours or a file. Raises ProjectError,
    UsageError."""
    from dibo.api.projects.images import image_meant

    image = image_meant(
        words,
        project_file=arguments.project,
        environment=environment,
        architecture=getattr(arguments, "architecture", None),
    )
    if image is None and len(words) > 1:
        _refuse_several(arguments, environment, words)
    return image


def _refuse_several(
    arguments: argparse.Namespace, environment: Mapping[str, str], words: Sequence[str]
) -> None:
    from dibo.api.flavours import flavour_names
    from dibo.api.projects.images import refuse_several

    flavours = flavour_names(settings_of(arguments, environment))
    refuse_several(words, flavours, project_file=arguments.project, environment=environment)


def image_of_file(
    arguments: argparse.Namespace, environment: Mapping[str, str], word: str | None
) -> ProjectImage | None:
    """The same for commands that take files: a file of that name counts more. Raises ProjectError, UsageError."""
    if word is None or (arguments.project is None and (os.path.lexists(word) or not _may_be_image(word))):
        return None
    return image_of(arguments, environment, (word,))


def _may_be_image(word: str) -> bool:
    """Whether a project file has to be read to know; a reference or a path is no name of an image."""
    from dibo.projects.keys import IMAGE_NAME
    from dibo.projects.select import MARK

    return word.startswith(MARK) or IMAGE_NAME.fullmatch(word) is not None


def settings_of_image(
    arguments: argparse.Namespace, environment: Mapping[str, str], image: ProjectImage | None
) -> Settings:
    """The settings of a command for an image; without one, for its flavours. Raises UsageError."""
    if image is None:
        return settings_of(arguments, environment)
    from dibo.api.settings import image_settings

    return image_settings(image, replace(options_of(arguments), flavours=()), environment)


def build_of_image(
    arguments: argparse.Namespace, environment: Mapping[str, str], image: ProjectImage
) -> ImageBuild:
    """What builds it, or built it. Raises UsageError."""
    from dibo.api.projects.make import image_build

    return image_build(image, replace(options_of(arguments), flavours=()), environment)


def layers_settings(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """The settings of a command that is about layers. Raises UsageError, and for an image that has none of its own."""
    image = image_of(arguments, environment, arguments.flavours)
    if image is None and not arguments.flavours:
        raise no_flavour()
    if image is not None and image.convert is not None:
        raise UsageError(
            f"{image.name} has no layers of flavours: it is converted from {image.convert}",
            hint=f"dibo build {image.name} makes its artefacts",
        )
    return settings_of_image(arguments, environment, image)


def no_flavour() -> UsageError:
    """For a command that got none, where there is no project file either."""
    return UsageError(
        "no flavour is named, and there is no project file",
        hint="`dibo flavours` lists flavours; `dibo init` writes a project file",
    )


def complete_images(argument: argparse.Action) -> None:
    """Have shells offer images of the project file, beside files."""
    complete_with(argument, image_names)


def artefact_named(arguments: argparse.Namespace, environment: Mapping[str, str], word: str) -> Path:
    """The file that a word names, or the artefact of an image of the project file. Raises ProjectError for one that is
    not built, UsageError."""
    image = image_of_file(arguments, environment, word)
    if image is None:
        return Path(word)
    from dibo.api.projects.make import made_artefact

    return made_artefact(build_of_image(arguments, environment, image), to_boot=False)


def contents_named(arguments: argparse.Namespace, environment: Mapping[str, str], word: str) -> str:
    """What a command reads that takes images of any form: of an image of the project file, an artefact that was made.
    Raises ProjectError for one that is not built, UsageError."""
    image = image_of_file(arguments, environment, word)
    if image is None:
        return word
    from dibo.api.projects.make import readable_artefact

    path = readable_artefact(build_of_image(arguments, environment, image))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
