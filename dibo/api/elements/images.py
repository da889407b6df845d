"""`diskimage-builder FILE...`: the images of its lists, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dibo.api.projects.make import image_build, make_artefacts
from dibo.elements.stack import without_users_variables
from dibo.errors import DiboError, SomeFailed
from dibo.projects.dib_command import DibCommand
from dibo.projects.load import load_dib_lists
from dibo.settings.dib_options import QUIET
from dibo.settings.settings import Options
from dibo.settings.variables import VARIABLES
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
    cleared = without_users_variables(environment, kept=VARIABLES)
    builds = [
        image_build(image, Options(), cleared if command.clear else environment)
        for command, image in zip(lists.commands, images, strict=True)
    ]
    paths: list[Path] = []
    errors: list[tuple[str, DiboError]] = []
    for command, build in zip(lists.commands, builds, strict=True):
        report.say(str(command))
        try:
            with _logging(command, environment, report):
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


@contextmanager
def _logging(command: DibCommand, environment: Mapping[str, str], report: Report) -> Iterator[None]:
    """Write what is said to the image's log file, where it has one. Raises OutputError."""
    if command.logfile:
        report.log_to(Path(command.logfile), quiet=environment.get(QUIET) != "0")
    try:
        yield
    except DiboError as error:
        report.log_error(error)
        raise
    finally:
        report.end_log()
