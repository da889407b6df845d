"""A project file with all that it includes, read within bounds and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from dibo.errors import ProjectError
from dibo.flavours.located_yaml import YamlKind, load_located
from dibo.projects import dib, keys
from dibo.projects.dib import DibImage
from dibo.projects.dib_command import DibCommand, command_of
from dibo.projects.entry import ProjectEntry, ProjectFile, exists, real_path
from dibo.projects.find import repository_of
from dibo.projects.layers import Inheritance, Layer, Layers, defaults_of, keys_of, named_entries
from dibo.projects.matrix import check_matrix, combinations
from dibo.projects.model import Project, ProjectImage
from dibo.projects.parse import EntryIdentity, check_keys, parse_image

_LARGEST: Final = 4 << 20
"""Bytes of a file. A line of an image is some tens of bytes."""
_MOST_FILES: Final = 1000
_DEEPEST: Final = 64
"""Files that include each other."""
_SAME_REPOSITORY: Final = "include files of the same repository, by relative paths"


def load_project(path: Path, environment: Mapping[str, str] | None = None) -> Project:
    """The project in a file, dibo.yaml or the images.yaml of diskimage-builder, where names are those of elements if
    ELEMENTS_PATH is set, in `environment` or by the file. Raises ProjectError."""
    file = ProjectFile(path=path.absolute(), top=repository_of(path.absolute()))
    reader = _Reader(elements=_is_of_elements(environment or {}))
    reader.read(file, included_by=(), defaults=())
    return Project(
        file=file.path,
        images=reader.images(file.path.parent),
        includes=tuple(path for path in reader.files if path != file.path),
    )


def load_dib_lists(paths: Sequence[Path], *, directory: Path, environment: Mapping[str, str]) -> DibLists:
    """The images of files of diskimage-builder, which are one list; artefacts go to `directory`. Names are those of
    elements where ELEMENTS_PATH is set. Raises ProjectError."""
    reader = _Reader(elements=_is_of_elements(environment))
    roots = []
    for path in paths:
        file = ProjectFile(path=path.absolute(), top=repository_of(path.absolute()))
        root = _root(file)
        if root.kind is not YamlKind.LIST:
            root.fail_kind("a list of images")
        roots.append(root)
    commands = tuple(command_of(image) for image in dib.merged_images(roots))

    def images() -> tuple[ProjectImage, ...]:
        for root in roots:
            reader.add_list(root)
        return reader.images(directory)

    return DibLists(commands=commands, images=images)


def _is_of_elements(environment: Mapping[str, str]) -> Callable[[DibImage], bool]:
    is_set = bool(environment.get(dib.ELEMENTS_PATH))
    return lambda image: is_set or image.has_elements_path


@dataclass(frozen=True, slots=True, kw_only=True)
class DibLists:
    """Several files of diskimage-builder."""

    commands: tuple[DibCommand, ...]
    """How it would build each image."""
    images: Callable[[], tuple[ProjectImage, ...]]
    """The same images here, in the same order. Raises ProjectError for what has no counterpart."""


class _Reader:
    def __init__(self, *, elements: Callable[[DibImage], bool] = lambda _: False) -> None:
        self._elements = elements
        self.files: dict[Path, Path] = {}
        """Without symbolic links, by their names."""
        self._inheritance = Inheritance()
        self._lists: list[tuple[ProjectEntry, tuple[Layer, ...]]] = []
        """Of diskimage-builder, which are one list."""

    def read(self, file: ProjectFile, *, included_by: tuple[Path, ...], defaults: tuple[Layer, ...]) -> None:
        """A file, with what it includes. Raises ProjectError."""
        self.files[file.path] = real = real_path(file.path)
        if len(self.files) > _MOST_FILES:
            raise ProjectError(f"{file.path}: more than {_MOST_FILES} files are included")
        root = _root(file)
        if root.kind is YamlKind.LIST:
            self.add_list(root, defaults)
            return
        known = (*keys.PROJECT_KEYS, *(key for key in root.value.mapping or {} if key.startswith("x-")))
        given = {} if root.kind is YamlKind.NULL else root.mapping(known)
        defaults = (*defaults, defaults_of(given.get("defaults")))
        templates, images = named_entries(given.get("templates")), named_entries(given.get("images"))
        _check(defaults[-1])
        for entries, known in ((templates, keys.TEMPLATE_KEYS), (images, keys.IMAGE_KEYS)):
            for entry in entries.values():
                _check(keys_of(entry, known))
        self._inheritance.add(templates, images, defaults)
        if "include" in given:
            for entry in given["include"].items("a list of files"):
                self._include(entry, included_by=(*included_by, real), defaults=defaults)

    def add_list(self, root: ProjectEntry, defaults: tuple[Layer, ...] = ()) -> None:
        """Of diskimage-builder."""
        self._lists.append((root, defaults))

    def _include(
        self, entry: ProjectEntry, *, included_by: tuple[Path, ...], defaults: tuple[Layer, ...]
    ) -> None:
        text = entry.text(expected="a file")
        path = entry.resolved(text, hint=_SAME_REPOSITORY)
        real = real_path(path)
        if Path(text).is_absolute() or text.startswith("~"):
            entry.fail(f"{text} is not in {entry.file.top}", hint=_SAME_REPOSITORY)
        if real in included_by:
            names = " → ".join(map(str, (*included_by, real)))
            entry.fail(f"{text} includes itself: {names}")
        if real in self.files.values():
            entry.fail(f"{text} is included twice", hint="its images are there already")
        if len(included_by) > _DEEPEST:
            entry.fail(f"more than {_DEEPEST} files include each other")
        if not _is_file(real):
            entry.fail(f"{path} is not a file" if exists(real) else f"there is no file {path}")
        self.read(ProjectFile(path=path, top=entry.file.top), included_by=included_by, defaults=defaults)

    def images(self, directory: Path) -> tuple[ProjectImage, ...]:
        """All of them. Raises ProjectError."""
        if self._lists:
            entries = dib.images_of([entry for entry, _ in self._lists], elements=self._elements)
            self._inheritance.add({}, entries, self._lists[0][1])
        self._inheritance.check_templates()
        images: dict[str, ProjectImage] = {}
        for name, (entry, _) in self._inheritance.images.items():
            for image in _images_of(entry, self._inheritance.layers(name), name, directory):
                earlier = images.get(image.name)
                if earlier is not None:
                    entry.fail(
                        f"two images are called {image.name}: {earlier.position} has the other one",
                        hint="name: '{image}-{AXIS}' tells the images of a matrix apart",
                    )
                images[image.name] = image
            if len(images) > keys.MOST_IMAGES:
                entry.fail(f"more than {keys.MOST_IMAGES} images")
        _refuse_ambiguous(images, self._inheritance)
        _refuse_shared_references(images)
        return tuple(images.values())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def _check(layer: Layer) -> None:
    """Every value, whether or not an image uses it. Raises ProjectError."""
    check_keys(layer)
    for variant in check_matrix(layer):
        check_keys(variant)


def _images_of(entry: ProjectEntry, layers: Layers, name: str, directory: Path) -> list[ProjectImage]:
    return [
        parse_image(
            layers.with_top(combination.layers),
            EntryIdentity(
                entry=name,
                position=entry.position,
                directory=directory,
                axes=combination.axes,
                default_name=combination.name(name),
            ),
        )
        for combination in combinations(layers)
    ]


def _refuse_ambiguous(images: dict[str, ProjectImage], inheritance: Inheritance) -> None:
    """A name means one image, or all of one entry. Raises ProjectError."""
    for image in images.values():
        if image.name != image.entry and image.name in inheritance.images:
            namesake, _ = inheritance.images[image.name]
            raise ProjectError(
                f"{image.position}: images.{image.entry}: an image is called {image.name},"
                f" as the entry at {namesake.position}",
                hint="name: gives it another name",
            )


def _refuse_shared_references(images: dict[str, ProjectImage]) -> None:
    """Raises ProjectError where two images would be stored at the same reference of a registry."""
    references: dict[str, ProjectImage] = {}
    for image in images.values():
        reference = image.destination.registry
        if reference is None:
            continue
        earlier = references.setdefault(reference, image)
        if earlier is not image:
            raise ProjectError(
                f"{image.position}: images.{image.entry}: {earlier.name} and {image.name} have the same destination"
                f" {reference}",
                hint="destination: docker://HOST/PATH/{name} tells them apart",
            )


def _root(file: ProjectFile) -> ProjectEntry:
    """Raises ProjectError."""
    try:
        with file.path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ProjectError(f"{file.path} is larger than {_LARGEST >> 20} MiB")
        return ProjectEntry(file=file, path="", value=load_located(content))
    except OSError as error:
        raise ProjectError(
            f"cannot read the project file {file.path}: {error.strerror}", hint="`dibo init` writes one"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProjectError(_yaml_problem(file.path, error)) from error


def _yaml_problem(path: Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"{path} is not YAML: {error}"
    context = getattr(error, "context", None)
    words = ": ".join(text for text in (context, getattr(error, "problem", None)) if text)
    return f"{path}:{mark.line + 1}: {words}"
