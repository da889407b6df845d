"""`disk-image-create`: layers from flavours, and of these disks and other artefacts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from dibo.cli.elements.dib_options import add_dib_options, environment_of
from dibo.cli.options import (
    add_artefact_options,
    add_build_options,
    add_layout_option,
    add_watch,
    path_of,
    settings_of,
    variables_text,
)
from dibo.cli.output import add_json, check_watch, show_build
from dibo.cli.profile import add_profile
from dibo.settings.dib_options import QUIET
from dibo.settings.settings import Settings
from dibo.settings.variables import VARIABLES
from dibo.system.report import Report

SUMMARY: Final = "Build a disk image from flavours, without root"
_PHASES: Final = """\
phases of a flavour, in the order they run:
  block-device-size.d  on the host: prints IMAGE_SIZE=n
  block-device.d       on the host: prints IMAGE_BLOCK_DEVICE=path
  extra-data.d         on the host, as the user: puts files into $TMP_HOOKS_PATH
  pre-install.d        in the root, for all flavours before any install.d
  install.d            in the root, after the packages of the flavour
  first-boot.d         at the first boot of a machine, once
"""
_EXAMPLE: Final = """\
example:
  disk-image-create -o db --base debian vm mysql      # db.qcow2, with a flavour that comes with dibo"""
EPILOG: Final = "\n".join([variables_text(VARIABLES), _PHASES, _EXAMPLE])


def add_options(parser: argparse.ArgumentParser) -> None:
    add_artefact_options(parser)
    add_layout_option(parser, "use the disk layout of this YAML (that of the flavours)")
    add_build_options(parser)
    add_dib_options(parser)
    add_watch(parser)
    add_profile(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.create import create
    from dibo.api.documents import artefacts

    environment = environment_of(arguments, environment, report)
    if arguments.logfile:
        report.log_to(Path(arguments.logfile), quiet=environment.get(QUIET) != "0")
    settings, layout = settings_of(arguments, environment), path_of(arguments.layout)

    def build(settings: Settings) -> None:
        paths = create(settings, report, layout_file=layout)
        show_build(arguments, report, partial(artefacts, paths))

    check_watch(arguments)
    if arguments.watch:
        from dibo.api.watching.watch import watch

        watch(settings, report, build, files=[layout] if layout is not None else [])
    build(settings)
    return 0
