"""`dibo plan`: what would be built, or what the disk would look like."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_filesystem, add_stack_options, options_of, path_of
from dibo.cli.output import add_json, show
from dibo.cli.projects.names import add_project_option, image_of, layers_settings, settings_of_image
from dibo.errors import UsageError
from dibo.system.report import Report, answer

SUMMARY: Final = "show the layers that a build would make, and which exist"
EPILOG: Final = """\
Without a name, with a project file, it lists the images of that file and how many layers each lacks."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_stack_options(parser, nargs="*")
    add_project_option(parser)
    parser.add_argument("--refresh", action="store_true", help="plan to rebuild every layer")
    parser.add_argument("--containerfile", metavar="DIR", help="write a Containerfile and its context to DIR")
    add_json(parser)
    parser.add_argument("--layout", action="store_true", help="draw the layout of the disk instead")
    parser.add_argument(
        "--layout-file", metavar="FILE", help="with --layout: draw this YAML (the layout of the flavours)"
    )
    parser.add_argument("--image-size", metavar="GB", help="with --layout: size of the disk (2)")
    add_filesystem(parser, "with --layout: root file system (ext4)")


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.planning import show_plan

    _refuse_what_does_not_go_together(arguments)
    if arguments.layout:
        _draw_layout(arguments, environment)
    elif not arguments.flavours:
        _show_all(arguments, environment, report)
    else:
        settings = layers_settings(arguments, environment)
        containerfile = path_of(arguments.containerfile)
        show(arguments, show_plan(settings, report, containerfile=containerfile))
    return 0


def _draw_layout(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    from dibo.api.planning import draw_layout

    image = image_of(arguments, environment, arguments.flavours) if arguments.flavours else None
    named = path_of(arguments.layout_file)
    layout = named if named is not None or image is None else image.layout
    settings = settings_of_image(arguments, environment, image)
    if not settings.flavours and layout is None:
        raise UsageError("dibo plan needs flavours", hint="--layout --layout-file FILE can do without")
    answer(draw_layout(settings, layout_file=layout))


def _show_all(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> None:
    from dibo.api.projects.images import open_project
    from dibo.api.projects.plan import plan_images

    project = open_project(arguments.project, environment)
    if project is None:
        raise UsageError(
            "dibo plan needs flavours, or a project file dibo.yaml",
            hint="--layout --layout-file FILE can do without; `dibo init` writes a project file",
        )
    if arguments.containerfile:
        raise UsageError("--containerfile is for one image", hint="name the image")
    show(arguments, plan_images(project, options_of(arguments), environment, report))


def _refuse_what_does_not_go_together(arguments: argparse.Namespace) -> None:
    """Raises UsageError."""
    if arguments.layout:
        for name in arguments.flavours:
            if name.endswith((".yaml", ".yml")) or "/" in name:
                raise UsageError(
                    f"{name!r} is a file, and --layout takes none here: it only draws the layout",
                    hint=f"dibo plan --layout --layout-file {name}",
                )
    wrong = ("containerfile", "json") if arguments.layout else ("layout_file", "image_size", "filesystem")
    for option in wrong:
        if getattr(arguments, option):
            name = {"filesystem": "--fs-type"}.get(option, f"--{option.replace('_', '-')}")
            state = "without" if arguments.layout else "with"
            raise UsageError(f"{name} works only {state} --layout")
