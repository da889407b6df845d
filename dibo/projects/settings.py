"""From an image of a project file to the settings of a command that builds it.

The file takes the place between environment variables and defaults. What it says passes through
`dibo.settings.settings.decide`, as options do, so there is one check of values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from dibo.projects.model import Project, ProjectImage
from dibo.settings.settings import Options, Settings, decide

RAMDISK_BASE: Final = "ramdisk-base"
BASE: Final = "base"


def options_of(image: ProjectImage) -> Options:
    """What the project file says of an image, as options."""
    return Options(
        flavours=image.flavours,
        architecture=image.architecture,
        name=str(image.output),
        types=",".join(image.types) or None,
        base=image.base,
        release=image.release,
        image_size=image.size,
        filesystem=image.filesystem,
        flavours_path=tuple(map(str, image.flavours_path)),
        converters_path=tuple(map(str, image.converters_path)),
        mirror=image.mirror,
        epoch=image.epoch,
        network=image.network,
        host_hooks=image.host_hooks,
        caches=image.caches,
        caches_from=image.caches_from,
        caches_to=image.caches_to,
        cache_files="1" if image.cache_files else None,
        secrets=image.secret_sources,
        packages=image.packages,
        sha256=image.sha256,
        with_base=image.with_base,
        provenance=image.provenance,
        base_flavour=RAMDISK_BASE if image.ramdisk else BASE,
    )


def search_paths(project: Project) -> Options:
    """Where a project file has flavours and converters looked for, for any of its images."""
    flavours = (path for image in project.images for path in image.flavours_path)
    converters = (path for image in project.images for path in image.converters_path)
    return Options(
        flavours_path=tuple(dict.fromkeys(map(str, flavours))),
        converters_path=tuple(dict.fromkeys(map(str, converters))),
    )


def environment_of(image: ProjectImage, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command, with the variables that the project file sets for an image. A variable that the
    environment has, and that is not empty, overrides the file."""
    of_keys = {
        "DIBO_KIT": image.kit,
        "KERNEL_VERSION": image.ramdisk_options.kernel,
        "DIBO_RAMDISK_COMPRESSION": image.ramdisk_options.compression,
    }
    project = dict(image.variables) | {name: value for name, value in of_keys.items() if value is not None}
    return {**environment, **project, **{name: value for name, value in environment.items() if value}}


def settings_of(
    image: ProjectImage,
    options: Options,
    environment: Mapping[str, str],
    *,
    now: datetime,
    machine: str,
    home: Path,
) -> Settings:
    """What a command builds: its options over environment variables over what the project file says of the image over
    defaults. Raises UsageError for what is invalid."""
    settings = decide(
        options,
        environment_of(image, environment),
        now=now,
        machine=machine,
        home=home,
        project=options_of(image),
    )
    return replace(settings, project_variables=image.variable_places)
