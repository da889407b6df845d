"""Images by the names that users write: that of an image, or of an entry with a matrix, which stands for all of its
images."""

from __future__ import annotations

from collections.abc import Sequence

from dibo.errors import ProjectError
from dibo.flavours.schema import nearest
from dibo.images.platforms import split_architecture
from dibo.projects.model import Project, ProjectImage
from dibo.units import counted

MARK = "@"
"""What a name begins with that must be an image of the project file: `@web`."""
_MOST_NAMES = 20


def names_of(project: Project) -> tuple[str, ...]:
    """All names of images and of entries, in the order of the file."""
    names: dict[str, None] = {}
    for entry, images in project.groups.items():
        names[entry] = None
        names.update((image.name, None) for image in images)
    return tuple(names)


def listed_names(project: Project) -> str:
    """The first of them, for a message."""
    names = names_of(project)
    return ", ".join((*names[:_MOST_NAMES], *(("…",) if len(names) > _MOST_NAMES else ())))


def select(project: Project, names: Sequence[str]) -> tuple[ProjectImage, ...]:
    """The images that `names` mean, each once, in the order of the file; all of them for no name. Raises
    ProjectError."""
    if not names:
        return project.images
    chosen = {image.name for name in names for image in _named(project, name.removeprefix(MARK))}
    return tuple(image for image in project.images if image.name in chosen)


def select_one(project: Project, name: str, architecture: str) -> ProjectImage:
    """The one image that a name means. Of several for different architectures it is that for `architecture`. Raises
    ProjectError."""
    images = _named(project, name.removeprefix(MARK))
    if len(images) > 1:
        asked = split_architecture(architecture)[0]
        fitting = [image for image in images if split_architecture(image.architecture or "")[0] == asked]
        images = tuple(fitting) if len(fitting) == 1 else images
    if len(images) == 1:
        return images[0]
    listed = ", ".join(image.name for image in images[:_MOST_NAMES])
    more = "" if len(images) <= _MOST_NAMES else ", …"
    raise ProjectError(
        f"{name.removeprefix(MARK)} is {counted(len(images), 'image')}: {listed}{more}",
        hint="name one of them; `dibo bake` takes several",
    )


def _named(project: Project, name: str) -> tuple[ProjectImage, ...]:
    images = tuple(image for image in project.images if name in (image.name, image.entry))
    if not images:
        known = names_of(project)
        raise ProjectError(
            f"{project.file} has no image {name!r}{nearest(name, known)}",
            hint=f"it has {listed_names(project)}" if known else "it has no images",
        )
    return images
