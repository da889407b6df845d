"""`dibo boot` of an image of the project file: its artefact, options and tests, below options of the command."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from dibo.cli.projects.names import build_of_image
from dibo.errors import UsageError

if TYPE_CHECKING:
    from dibo.api.machines.request import BootRequest
    from dibo.projects.model import ProjectImage


def image_request(
    arguments: argparse.Namespace, environment: Mapping[str, str], image: ProjectImage, given: BootRequest
) -> BootRequest:
    """What the options that were `given` ask for, and the project file where they say nothing. Raises ProjectError for
    an image that is not built, and for a test that does not exist."""
    from dibo.api.machines.request import BootRequest
    from dibo.api.projects.make import made_artefact
    from dibo.api.projects.requests import boot_request, boot_steps, named_test

    build = build_of_image(arguments, environment, image)
    options, steps = image.boot, given.steps
    if arguments.test is not None:
        if steps:
            raise UsageError("--test brings steps of its own", hint="leave out --test, or the steps")
        test = named_test(image, arguments.test)
        options, steps = test.boot, boot_steps(test)
    path = made_artefact(build, to_boot=True)
    request = boot_request(path if build.ramdisk is None else build.ramdisk, options, steps)
    usual = BootRequest()
    chosen: dict[str, Any] = {
        field.name: value
        for field in fields(BootRequest)
        if field.name not in ("image", "steps")
        and (value := getattr(given, field.name)) != getattr(usual, field.name)
    }
    return replace(request, **chosen)
