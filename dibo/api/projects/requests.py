"""What commands are asked for when an image of a project file is built, converted or booted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dibo.api.machines.request import BootRequest
from dibo.artefacts.converter import Converter
from dibo.errors import ProjectError, UsageError
from dibo.images.layers.limits import Limits
from dibo.kits.choose import KitRequest
from dibo.machines.steps import BootStep, parse_step
from dibo.projects.model import BootOptions, ProjectImage, ProjectTest
from dibo.projects.settings import environment_of
from dibo.ramdisk.make import kernel_path
from dibo.ramdisk.settings import RamdiskSettings, decide_ramdisk

if TYPE_CHECKING:
    from dibo.api.conversion import ConvertRequest

RAMDISK_SUFFIX: Final = ".ramdisk"
_DIRECTORIES_THAT_BOOT: Final = ("microvm", "netboot")


def ramdisk_settings(
    image: ProjectImage, environment: Mapping[str, str], *, output: str | None = None
) -> RamdiskSettings:
    """Of a ramdisk: options over environment variables over the project file. Raises UsageError."""
    environment = environment_of(image, environment)
    return decide_ramdisk(
        environment,
        output=output or environment.get("IMAGE_NAME") or f"{image.output}{RAMDISK_SUFFIX}",
        kernel_version=None,
        module_root=None,
        compression=None,
        microcode=image.ramdisk_options.microcode,
    )


def convert_request(image: ProjectImage, environment: Mapping[str, str]) -> ConvertRequest:
    """Of an image that is converted. A kit of the project file is put on it whatever it has, as by `--kit`."""
    from dibo.api.conversion import ConvertRequest

    assert image.convert is not None
    options = image.conversion
    return ConvertRequest(
        reference=image.convert,
        layout_file=image.layout,
        bare=options.bare,
        prepare=options.prepare,
        checksums=options.checksum,
        limits=Limits(),
        loader=options.boot_loader or "auto",
        kit=KitRequest(
            reference=(environment.get("DIBO_KIT") or image.kit) if image.kit is not None else None,
            own_init=options.own_init,
            restart=options.restart or KitRequest().restart,
        ),
    )


def boot_steps(test: ProjectTest) -> tuple[BootStep, ...]:
    """Raises ProjectError, with the place of the step."""
    steps = []
    for step in test.steps:
        try:
            steps.append(parse_step(step.kind, step.value))
        except UsageError as error:
            raise ProjectError(f"{step.position}: {error.message}", hint=error.hint) from error
    return tuple(steps)


def boot_request(
    artefact: Path | RamdiskSettings, options: BootOptions, steps: tuple[BootStep, ...]
) -> BootRequest:
    """How a disk, or a ramdisk with its kernel, is booted."""
    usual = BootRequest()
    return BootRequest(
        image=str(artefact) if isinstance(artefact, Path) else None,
        kernel=None if isinstance(artefact, Path) else kernel_path(artefact.output),
        initrd=None if isinstance(artefact, Path) else artefact.output,
        append=options.append or usual.append,
        firmware=options.firmware or usual.firmware,
        machine=options.machine,
        processors=options.cpus,
        memory=options.memory,
        ports=options.ports,
        network=options.network or usual.network,
        user=options.user,
        timeout=options.timeout,
        steps=steps,
    )


def boots(converter: Converter) -> bool:
    """Whether a machine boots what a converter makes."""
    return converter.has_disk or converter.type in _DIRECTORIES_THAT_BOOT


def named_test(image: ProjectImage, name: str) -> ProjectTest:
    """Raises ProjectError."""
    for test in image.tests:
        if test.name == name:
            return test
    listed = ", ".join(test.name for test in image.tests)
    raise ProjectError(
        f"{image.name} has no test {name!r}",
        hint=f"it has {listed}" if listed else f"{image.position} has no tests",
    )
