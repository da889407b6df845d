"""The artefacts of an image of a project file: made, and found where they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dibo.api.create import create
from dibo.api.projects.requests import boots, convert_request, ramdisk_settings
from dibo.api.ramdisk import create as create_ramdisk
from dibo.api.settings import image_settings
from dibo.artefacts.converter import converters_of
from dibo.contents.names import READABLE
from dibo.disk.request import ending
from dibo.errors import OutputError, ProjectError
from dibo.projects.model import ProjectImage
from dibo.ramdisk.make import kernel_path
from dibo.ramdisk.settings import RamdiskSettings
from dibo.settings.settings import Options, Settings
from dibo.system.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuild:
    """An image, and what its command was asked for."""

    image: ProjectImage
    settings: Settings
    ramdisk: RamdiskSettings | None
    """Of a ramdisk, else None."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What else says what the image is, beside its flavours: a layout."""
        return (self.image.layout,) if isinstance(self.image.layout, Path) else ()


def image_build(image: ProjectImage, options: Options, environment: Mapping[str, str]) -> ImageBuild:
    """Raises UsageError."""
    settings = image_settings(image, options, environment)
    ramdisk = ramdisk_settings(image, environment, output=options.name) if image.ramdisk else None
    return ImageBuild(image=image, settings=settings, ramdisk=ramdisk)


def make_artefacts(build: ImageBuild, report: Report) -> tuple[Path, ...]:
    """Make the artefacts; their paths. The directory of the project file is made if it is missing."""
    settings, image = build.settings, build.image
    output = build.ramdisk.output if build.ramdisk is not None else settings.output
    if output.parent == image.destination.directory:
        _make_directory(output.parent)
    if build.ramdisk is not None:
        return create_ramdisk(settings, build.ramdisk, report)
    if image.convert is not None:
        from dibo.api.conversion import convert

        return convert(settings, convert_request(image, settings.environment), report)
    return create(settings, report, layout_file=image.layout)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the directory {path}: {error.strerror}") from error


def artefact_paths(build: ImageBuild, *, to_boot: bool = False) -> tuple[Path, ...]:
    """Where artefacts are, whether or not they were made; of a ramdisk, the initramfs and the kernel. With `to_boot`,
    those that machines boot. Raises ConverterError."""
    if build.ramdisk is not None:
        return build.ramdisk.output, kernel_path(build.ramdisk.output)
    return tuple(
        ending(build.settings.output, converter)
        for converter in converters_of(build.settings)
        if not to_boot or boots(converter)
    )


def made_artefact(build: ImageBuild, *, to_boot: bool) -> Path:
    """The first artefact that was made, in the order of the types; with `to_boot`, the first that machines boot. Raises
    ProjectError where none was."""
    return _made(build, artefact_paths(build, to_boot=to_boot))


def readable_artefact(build: ImageBuild) -> Path:
    """The artefact whose contents are easiest to read: a disk, a tar or a directory, before types that are compressed.
    Raises ProjectError where none was made."""
    return _made(build, sorted(artefact_paths(build), key=_reading_rank))


def _reading_rank(path: Path) -> int:
    return next((rank for rank, kind in enumerate(READABLE) if path.name.endswith(f".{kind}")), len(READABLE))


def _made(build: ImageBuild, paths: Sequence[Path]) -> Path:
    """The first that was made. Raises ProjectError."""
    if not paths:
        raise ProjectError(
            f"none of the types of {build.image.name} boots: {', '.join(build.settings.types)}",
            hint="add a disk: types: [qcow2]",
        )
    for path in paths:
        if path.exists():
            return path
    raise ProjectError(
        f"{build.image.name} is not built: there is no {' or '.join(map(str, paths))}",
        hint=f"dibo build {build.image.name}",
    )
