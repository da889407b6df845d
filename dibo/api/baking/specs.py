"""From images of a project file to images of a bake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from dibo.api.baking.spec import ImageSpec, ImageTest
from dibo.api.conversion import ConvertRequest
from dibo.api.create import converters_of
from dibo.api.machines.request import BootRequest
from dibo.api.settings import image_settings
from dibo.disk.request import ending
from dibo.errors import UsageError
from dibo.images.layers.limits import Limits
from dibo.kits.choose import KitRequest
from dibo.machines.steps import parse_step
from dibo.projects.model import ProjectImage, ProjectTest
from dibo.ramdisk.make import kernel_path
from dibo.ramdisk.settings import RamdiskSettings, decide_ramdisk
from dibo.settings.settings import RESTARTS, Options, Settings

_DIRECTORIES_THAT_BOOT: Final = ("microvm", "netboot")


def spec_of(image: ProjectImage, options: Options, environment: Mapping[str, str]) -> ImageSpec:
    """An image of a project file, as options and environment have it. Raises UsageError."""
    settings = image_settings(image, options, environment)
    ramdisk = _ramdisk_of(image, environment) if image.ramdisk else None
    return ImageSpec(
        name=image.name,
        settings=settings,
        layout=image.layout,
        ramdisk=ramdisk,
        conversion=_conversion_of(image) if image.convert is not None else None,
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
    options = image.ramdisk_options
    without_name = {name: value for name, value in environment.items() if name != "IMAGE_NAME"}
    return decide_ramdisk(
        without_name,
        output=str(image.output.with_name(f"{image.output.name}.ramdisk")),
        kernel_version=options.kernel,
        module_root=None,
        compression=options.compression,
        microcode=options.microcode,
    )


def _conversion_of(image: ProjectImage) -> ConvertRequest:
    options = image.conversion
    assert image.convert is not None
    return ConvertRequest(
        reference=image.convert,
        layout_file=image.layout,
        bare=options.bare,
        prepare=options.prepare,
        checksums=options.checksum,
        limits=Limits(),
        loader=options.boot_loader or "auto",
        kit=KitRequest(
            reference=image.kit, own_init=options.own_init, restart=options.restart or RESTARTS[0]
        ),
    )


def _test_of(
    image: ProjectImage, test: ProjectTest, settings: Settings, ramdisk: RamdiskSettings | None
) -> ImageTest:
    boot = test.boot
    given: dict[str, Any] = {
        name: value
        for name, value in (
            ("firmware", boot.firmware),
            ("network", boot.network),
            ("append", boot.append),
            ("timeout", boot.timeout),
        )
        if value is not None
    }
    if ramdisk is not None:
        given |= {"kernel": kernel_path(ramdisk.output), "initrd": ramdisk.output}
    else:
        given["image"] = str(_bootable(image, settings))
    request = BootRequest(
        **given,
        machine=boot.machine,
        processors=boot.cpus,
        memory=boot.memory,
        ports=boot.ports,
        user=boot.user,
        steps=tuple(parse_step(step.kind, step.value) for step in test.steps),
    )
    return ImageTest(name=test.name, request=request)


def _bootable(image: ProjectImage, settings: Settings) -> Path:
    """The first artefact that a machine can boot. Raises UsageError."""
    for converter in converters_of(settings):
        if converter.has_disk or converter.type in _DIRECTORIES_THAT_BOOT:
            return ending(settings.output, converter)
    raise UsageError(
        f"{image.position}: {image.name} has tests, and none of its types boots: {', '.join(settings.types)}",
        hint="add a disk: types: [qcow2]",
    )
