"""`dibo init`: a project file that builds, or one more image in a file that exists."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dibo.api.documents import CommandAnswer, new_document
from dibo.api.projects.images import require_project
from dibo.api.settings import image_settings
from dibo.build.build import catalogue
from dibo.errors import DiboError, OutputError, ProjectError, UnknownFlavour
from dibo.projects.find import PROJECT_FILE
from dibo.projects.load import load_project
from dibo.projects.model import ProjectImage
from dibo.projects.new_file import NewImage, name_for, new_project, with_image
from dibo.settings.settings import Options

FLAVOURS: Final = ("vm",)
BASE: Final = "debian"
DESTINATION: Final = "images"
_OWN_FLAVOURS: Final = "flavours"


@dataclass(frozen=True, slots=True, kw_only=True)
class InitRequest:
    """What `dibo init` writes. `image` has a name that may be empty: then it is that of the directory."""

    image: NewImage
    directory: Path
    gitignore: bool = False
    """Whether .gitignore gets a line for the artefacts."""


def init(request: InitRequest, environment: Mapping[str, str]) -> CommandAnswer:
    """Write a new file. Nothing is overwritten. Raises ProjectError for a file that exists, UnknownFlavour,
    OutputError."""
    directory = request.directory
    path = directory / PROJECT_FILE
    if os.path.lexists(path):
        raise ProjectError(
            f"{path} exists, and is not overwritten", hint="dibo init --add IMAGE adds an image to it"
        )
    name = request.image.name or name_for(directory.absolute().name)
    image = replace(request.image, name=name, flavours=request.image.flavours or FLAVOURS)
    text = new_project(image, own_flavours=(directory / _OWN_FLAVOURS).is_dir(), destination=DESTINATION)
    try:
        above = _existing(directory)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _write_checked(path, text, _Check(image=image, environment=environment), exists=False)
        except DiboError:
            _remove_empty(directory, above)
            raise
        files = [path]
        if request.gitignore and _add_line(directory / ".gitignore", f"/{DESTINATION}/"):
            files.append(directory / ".gitignore")
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or path}: {error.strerror}") from error
    return _answer(path, name, files)


def add_image(image: NewImage, *, project_file: str | None, environment: Mapping[str, str]) -> CommandAnswer:
    """Add an image to the project file; comments stay. One without flavours gets the usual ones where the file has no
    default for them. Raises ProjectError, UnknownFlavour, OutputError."""
    path = require_project(project_file, environment).file
    try:
        text = path.read_text()
        try:
            added = with_image(text, image, origin=str(path))
            _write_checked(path, added, _Check(image=image, environment=environment), exists=True)
        except ProjectError:
            if image.flavours:
                raise
            complete = replace(image, flavours=FLAVOURS)
            added = with_image(text, complete, origin=str(path))
            _write_checked(path, added, _Check(image=complete, environment=environment), exists=True)
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or path}: {error.strerror}") from error
    return _answer(path, image.name, [path])


def _answer(path: Path, name: str, files: list[Path]) -> CommandAnswer:
    named = "" if path.parent == Path.cwd() or path.parent == Path() else f" --project {path}"
    return CommandAnswer(
        text=f"wrote {' and '.join(map(str, files))}; next:\n"
        f"  dibo build{named} {name}    # the artefacts of {name}\n"
        f"  dibo boot{named} {name}     # in a virtual machine",
        document=new_document("init", project=str(path), image=name, files=[str(file) for file in files]),
    )


def _existing(directory: Path) -> Path:
    """The nearest directory that is there."""
    return next(place for place in (directory, *directory.absolute().parents) if place.exists())


def _remove_empty(directory: Path, above: Path) -> None:
    """Take directories away that were made below `above`."""
    for place in (directory.absolute(), *directory.absolute().parents):
        if place == above.absolute():
            break
        with contextlib.suppress(OSError):
            place.rmdir()


def _write_checked(path: Path, text: str, check: _Check, *, exists: bool) -> None:
    """Write a project file as a whole, once it is known that it can be read. Raises ProjectError, UnknownFlavour,
    OSError."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        os.close(descriptor)
        part.write_text(text, encoding="utf-8")
        check.check(part, path)
        if exists:
            part.chmod(path.stat().st_mode & 0o777)
            part.replace(path.resolve())
        else:
            umask = os.umask(0)
            os.umask(umask)
            part.chmod(0o666 & ~umask)
            os.link(part, path)  # refuses a file that was made meanwhile
    except FileExistsError as error:
        raise ProjectError(f"{path} exists, and is not overwritten") from error
    finally:
        part.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """What a new file must be."""

    image: NewImage
    environment: Mapping[str, str]

    def check(self, part: Path, path: Path) -> None:
        """Read `part`, which is to become `path`. Raises ProjectError, UsageError, and UnknownFlavour for a flavour of
        the new image that is nowhere."""
        try:
            project = load_project(part)
        except ProjectError as error:
            raise ProjectError(error.message.replace(str(part), str(path)), hint=error.hint) from error
        for image in project.images:
            if self.image.name in (image.name, image.entry):
                self._check_flavours(image, path)

    def _check_flavours(self, image: ProjectImage, path: Path) -> None:
        flavours = catalogue(image_settings(image, Options(), self.environment))
        for name in self.image.flavours:
            try:
                flavours.entry(name)
            except UnknownFlavour as error:
                raise UnknownFlavour(
                    error.message,
                    hint="`dibo flavours` lists what there is; flavours of your own are in "
                    f"{path.parent / _OWN_FLAVOURS}, or where DIBO_FLAVOURS_PATH says",
                ) from error


def _add_line(path: Path, line: str) -> bool:
    """Whether the file did not have it."""
    text = path.read_text() if path.exists() else ""
    if line in text.splitlines():
        return False
    with path.open("a") as stream:
        stream.write(f"{'' if not text or text.endswith(chr(10)) else chr(10)}{line}\n")
    return True
