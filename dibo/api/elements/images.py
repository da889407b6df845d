"""`diskimage-builder FILE...`: the images of its lists, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dibo.api.projects.make import image_build, make_artefacts
from dibo.errors import DiboError, SomeFailed
from dibo.projects.load import load_dib_lists
from dibo.settings.settings import Options
from dibo.system.report import Report


def commands_text(files: Sequence[Path]) -> str:
    """The command of each image, with its variables. Raises ProjectError."""
    lists = load_dib_lists(files, directory=Path.cwd(), environment={})
    return "\n".join(map(str, lists.commands))


def build_images(
    files: Sequence[Path], environment: Mapping[str, str], report: Report, *, stop_on_failure: bool
) -> tuple[Path, ...]:
    """Build all images, in the order of their first mention, also after one failed, unless `stop_on_failure`; the
    artefacts. Raises ProjectError before anything is built, and what the build of an image raises; SomeFailed if
    several images were to be built."""
    lists = load_dib_lists(files, directory=Path.cwd(), environment=environment)
    images = lists.images()
    builds = [
        image_build(image, Options(packages=command.packages), environment)
        for command, image in zip(lists.commands, images, strict=True)
    ]
    paths: list[Path] = []
    errors: list[tuple[str, DiboError]] = []
    for command, build in zip(lists.commands, builds, strict=True):
        report.say(str(command))
        try:
            paths += make_artefacts(build, report)
        except DiboError as error:
            if len(builds) == 1:
                raise
            errors.append((build.image.name, error))
            if stop_on_failure:
                break
            report.error(error)
    if errors:
        raise SomeFailed.of(errors, len(builds), failure="could not be built")
    return tuple(paths)
