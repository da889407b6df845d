"""From images of a project file to images of a bake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dibo.api.baking.spec import ImageSpec, ImageTest
from dibo.api.projects.make import ImageBuild, artefact_paths, image_build
from dibo.api.projects.requests import boot_request, boot_steps, convert_request
from dibo.errors import ProjectError
from dibo.projects.model import ProjectImage, ProjectTest
from dibo.settings.settings import Options


def spec_of(image: ProjectImage, options: Options, environment: Mapping[str, str]) -> ImageSpec:
    """An image of a project file, as options and environment have it. Raises UsageError, ProjectError."""
    environment = {name: value for name, value in environment.items() if name != "IMAGE_NAME"}
    build = image_build(image, options, environment)
    settings = build.settings
    return ImageSpec(
        name=image.name,
        settings=settings,
        layout=image.layout,
        ramdisk=build.ramdisk,
        conversion=convert_request(image, settings.environment) if image.convert is not None else None,
        tests=tuple(_test_of(build, test) for test in image.tests),
        registry=image.destination.registry,
    )


def specs_of(
    images: Sequence[ProjectImage], options: Options, environment: Mapping[str, str]
) -> tuple[ImageSpec, ...]:
    return tuple(spec_of(image, options, environment) for image in images)


def into_directory(image: ProjectImage, directory: Path) -> ProjectImage:
    """The image, with its artefacts in another directory."""
    return replace(image, destination=replace(image.destination, directory=directory))


def _test_of(build: ImageBuild, test: ProjectTest) -> ImageTest:
    """A test boots the first artefact that a machine can boot. Raises ProjectError where there is none."""
    artefact = build.ramdisk or next(iter(artefact_paths(build, to_boot=True)), None)
    if artefact is None:
        raise ProjectError(
            f"{test.position}: {build.image.name} has tests, and none of its types boots:"
            f" {', '.join(build.settings.types)}",
            hint="add a disk: types: [qcow2]",
        )
    return ImageTest(name=test.name, request=boot_request(artefact, test.boot, boot_steps(test)))
