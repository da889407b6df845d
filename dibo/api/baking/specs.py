"""From images of a project file to images of a bake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dibo.api.baking.spec import ImageSpec, ImageTest
from dibo.api.create import converters_of
from dibo.api.projects.requests import boot_request, boot_steps, boots, convert_request, ramdisk_settings
from dibo.api.settings import image_settings
from dibo.disk.request import ending
from dibo.errors import UsageError
from dibo.projects.model import ProjectImage, ProjectTest
from dibo.ramdisk.settings import RamdiskSettings
from dibo.settings.settings import Options, Settings


def spec_of(image: ProjectImage, options: Options, environment: Mapping[str, str]) -> ImageSpec:
    """An image of a project file, as options and environment have it. Raises UsageError."""
    settings = image_settings(image, options, environment)
    ramdisk = _ramdisk_of(image, environment) if image.ramdisk else None
    return ImageSpec(
        name=image.name,
        settings=settings,
        layout=image.layout,
        ramdisk=ramdisk,
        conversion=convert_request(image, settings.environment) if image.convert is not None else None,
        tests=tuple(_test_of(image, test, settings, ramdisk) for test in image.tests),
        registry=image.destination.registry,
    )


def specs_of(
    images: Sequence[ProjectImage], options: Options, environment: Mapping[str, str]
) -> tuple[ImageSpec, ...]:
    return tuple(spec_of(image, options, environment) for image in images)


def into_directory(image: ProjectImage, directory: Path) -> ProjectImage:
    """The image, with its artefacts in another directory."""
    return replace(image, destination=replace(image.destination, directory=directory))


def _ramdisk_of(image: ProjectImage, environment: Mapping[str, str]) -> RamdiskSettings:
    """IMAGE_NAME would name several."""
    return ramdisk_settings(
        image, {name: value for name, value in environment.items() if name != "IMAGE_NAME"}
    )


def _test_of(
    image: ProjectImage, test: ProjectTest, settings: Settings, ramdisk: RamdiskSettings | None
) -> ImageTest:
    steps = boot_steps(test)
    if ramdisk is not None:
        return ImageTest(name=test.name, request=boot_request(ramdisk, test.boot, steps))
    bootable = next(filter(boots, converters_of(settings)), None)
    if bootable is None:
        raise UsageError(
            f"{image.position}: {image.name} has tests, and none of its types boots: {', '.join(settings.types)}",
            hint="add a disk: types: [qcow2]",
        )
    return ImageTest(
        name=test.name, request=boot_request(ending(settings.output, bootable), test.boot, steps)
    )
