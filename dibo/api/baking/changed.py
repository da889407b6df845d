"""Which images changed since a revision of a git repository, and by what: exactly, and explained.

Files that git says differ are a first answer: an image in none of whose files anything differs did not change. Else
what they say is compared: flavours as dibo reads them, so that a README or a comment counts as nothing; the entry of
the project file with all that it inherits and includes; a layout. The old versions come from git, and nothing is
checked out. What hooks on the host read elsewhere, and what servers have, is not looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dibo.api.baking.git import Repository
from dibo.api.baking.spec import ImageSpec
from dibo.build import build as spine
from dibo.build import stacks
from dibo.errors import DiboError
from dibo.flavours.loader import Catalogue, read_layout
from dibo.flavours.model import Flavour, FlavourFile
from dibo.projects.load import load_project
from dibo.projects.model import Project, ProjectImage
from dibo.settings.settings import Settings

_NOT_COMPARED: Final = frozenset(
    {"files", "ramdisk", "declarations", "origin", "copy", "summary", "hooks", "data"}
)
"""Fields of a flavour whose changes are told file by file, or that decide nothing."""
_YAML: Final = (":(glob)**/*.yaml", ":(glob)**/*.yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectAtWork:
    """A project with its images as they are baked: `specs` by the names of its images."""

    project: Project
    specs: Sequence[tuple[ProjectImage, ImageSpec]]


def changed_since(work: ProjectAtWork, revision: str, scratch: Path) -> dict[str, tuple[str, ...]]:
    """Why each image differs from that of `revision`, by name; images that do not are left out. `scratch` is an empty
    directory. Raises UsageError for what is no revision, or no repository; ToolMissing without git."""
    repository = Repository.around(work.project.directory)
    comparison = _Comparison(repository, repository.commit(revision), scratch, revision)
    old = comparison.old_project(work.project)
    reasons: dict[str, tuple[str, ...]] = {}
    for image, spec in work.specs:
        differences = (
            *comparison.entry(image, old, work.project),
            *comparison.flavours(spec.settings),
            *comparison.layout(image),
            *comparison.other_files(image),
        )
        if differences:
            reasons[image.name] = tuple(dict.fromkeys(differences))
    return reasons


class _Comparison:
    """Compares what is in a repository now with a commit; what several images have is compared once."""

    def __init__(self, repository: Repository, commit: str, scratch: Path, revision: str) -> None:
        self._repository, self._commit, self._scratch = repository, commit, scratch
        self._revision = revision
        self._changed = repository.changed(commit)
        self._flavours: dict[Path, tuple[str, ...]] = {}
        self._count = 0

    # The project file

    def old_project(self, project: Project) -> Project | str | None:
        """The project as it was; why it cannot be read; or None where nothing of it changed."""
        if not any(self._differs(file) for file in (project.file, *project.includes)):
            return None
        directory = self._directory()
        (directory / ".git").mkdir()  # what is included is in the same repository
        path = directory / self._repository.relative(project.file)
        if not self._repository.extract(self._commit, _YAML, directory) or not path.is_file():
            return f"{self._name(project.file)} is new"
        try:
            return load_project(path)
        except DiboError as error:
            return f"{self._name(project.file)} cannot be compared with that of {self._revision}: {error.message}"

    def entry(self, image: ProjectImage, old: Project | str | None, project: Project) -> Iterator[str]:
        """Why the entry of an image is another one."""
        if old is None:
            return
        if isinstance(old, str):
            yield old
            return
        before = next((known for known in old.images if known.name == image.name), None)
        if before is None:
            yield f"{self._name(image.position.file)}: images.{image.entry} is new"
            return
        old_top = old.file.parents[len(self._repository.relative(project.file).parts) - 1]
        for field in dataclasses.fields(ProjectImage):
            if not field.compare:
                continue
            then = _relative(getattr(before, field.name), old_top)
            now = _relative(getattr(image, field.name), self._repository.top)
            if then != now:
                yield f"{self._name(image.position.file)}: images.{image.entry}: {field.name} changed"

    # Flavours

    def flavours(self, settings: Settings) -> Iterator[str]:
        """Why flavours of the stack are others."""
        if not settings.flavours:
            return
        try:
            catalogue = spine.catalogue(settings)
            stack = stacks.make_any_stack(settings, catalogue)
        except DiboError as error:
            yield f"its flavours cannot be read: {error.message}"
            return
        for flavour in stack.flavours:
            if flavour.origin not in self._flavours:
                self._flavours[flavour.origin] = tuple(self._flavour(flavour))
            yield from self._flavours[flavour.origin]

    def _flavour(self, flavour: Flavour) -> Iterator[str]:
        origin = flavour.origin.resolve()
        name = self._name(origin)
        if self._name(flavour.origin) != name and self._differs(flavour.origin):
            yield f"{self._name(flavour.origin)} is another link"
            return
        if not self._differs(origin):
            return
        directory = self._directory()
        copy = directory / flavour.name
        copy.mkdir()
        if not self._repository.extract_tree(self._commit, origin, copy):
            yield f"{name} is new"
            return
        try:
            before = Catalogue([directory]).get(flavour.name)
        except DiboError as error:
            yield f"{name} cannot be compared with that of {self._revision}: {error.message}"
            return
        yield from _files_differ(name, before.files, flavour.files)
        yield from _files_differ(name, before.ramdisk, flavour.ramdisk)
        for field in dataclasses.fields(Flavour):
            if field.name not in _NOT_COMPARED and getattr(before, field.name) != getattr(
                flavour, field.name
            ):
                yield f"{name}/flavour.yaml: {field.name} changed"

    # Other files

    def layout(self, image: ProjectImage) -> Iterator[str]:
        """Why a layout that is a file is another one."""
        if not isinstance(image.layout, Path) or not self._differs(image.layout):
            return
        old = self._directory() / "layout.yaml"
        content = self._repository.content(self._commit, image.layout)
        if content is not None:
            old.write_bytes(content)
            with suppress(DiboError):
                if read_layout(old) == read_layout(image.layout):
                    return
        yield f"{self._name(image.layout)} changed"

    def other_files(self, image: ProjectImage) -> Iterator[str]:
        """Files and directories that the entry names: a base, an image to convert, a kit."""
        for text in (image.base, image.convert, image.kit):
            for path in _paths_in(text):
                if self._differs(path.absolute()):
                    yield f"{self._name(path.absolute())} changed"

    def _differs(self, path: Path) -> bool:
        """Whether the file, one below the directory, or a repository around it, is in this repository and differs."""
        relative = self._repository.relative_or_none(path)
        return relative is not None and any(
            file.is_relative_to(relative) or relative.is_relative_to(file) for file in self._changed
        )

    def _name(self, path: Path) -> str:
        relative = self._repository.relative_or_none(path)
        return str(path if relative is None else relative)

    def _directory(self) -> Path:
        self._count += 1
        directory = self._scratch / f"old-{self._count}"
        directory.mkdir()
        return directory


def _files_differ(name: str, before: Sequence[FlavourFile], after: Sequence[FlavourFile]) -> Iterator[str]:
    old, new = ({file.path: file for file in files} for files in (before, after))
    for path in sorted(old.keys() | new.keys()):
        if path not in new:
            yield f"{name}/{path} is gone"
        elif path not in old:
            yield f"{name}/{path} is new"
        elif old[path] != new[path]:
            yield f"{name}/{path} changed"


def _relative(value: Any, top: Path) -> object:
    """The value, with paths relative to `top`, and without what does not count in a comparison."""
    if isinstance(value, Path):
        return str(value.relative_to(top)) if value.is_relative_to(top) else str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _relative(getattr(value, field.name), top)
            for field in dataclasses.fields(value)
            if field.compare
        }
    if isinstance(value, tuple | list):
        return [_relative(item, top) for item in value]
    if isinstance(value, str):
        return value.replace(f"{top}/", "")
    return value


def _paths_in(reference: str | None) -> Iterator[Path]:
    """The path in a reference that has one: `oci:DIR:TAG`, `./FILE`."""
    if reference is None or "://" in reference:
        return
    text = (
        reference.partition(":")[2]
        if reference.startswith(("oci:", "oci-archive:", "docker-archive:"))
        else reference
    )
    for candidate in (text, text.rpartition(":")[0]):
        if candidate and Path(candidate).exists():
            yield Path(candidate)
            return
