"""`ramdisk-image-create`: a kernel and an initramfs from flavours."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from dibo.cli.options import add_build_options, add_provenance, add_watch, options_of, variables_text
from dibo.cli.output import add_json, check_watch, show_build
from dibo.cli.profile import add_profile
from dibo.settings.settings import Settings
from dibo.settings.variables import RAMDISK_VARIABLES, VARIABLES
from dibo.system.report import Report

SUMMARY: Final = "Build a kernel and an initramfs from flavours, without root"
_OF_DISKS: Final = (
    *("FS_TYPE", "IMAGE_TYPE", "IMAGE_SIZE", "DIBO_CONVERTERS_PATH", "DIBO_QCOW2_COMPRESSION"),
)
_VARIABLES: Final = {
    name: text for name, text in {**VARIABLES, **RAMDISK_VARIABLES}.items() if name not in _OF_DISKS
}
_EXAMPLE: Final = """\
example:
  ramdisk-image-create -o deploy.ramdisk --base debian deploy   # and deploy.kernel"""
EPILOG: Final = "\n".join([variables_text(_VARIABLES), _EXAMPLE])


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        dest="name",
        help="write the initramfs to FILE, the kernel beside it (ramdisk)",
    )
    parser.add_argument(
        "-k", "--kernel", metavar="VERSION", dest="kernel_version", help="kernel to use (the newest)"
    )
    parser.add_argument(
        "-m",
        "--module-root",
        metavar="PATH",
        help="take kernel, modules and firmware from PATH; / is this machine",
    )
    parser.add_argument(
        "--compress", metavar="HOW", help="zstd, gzip, xz, none; or with a level, zstd:19 (zstd:9)"
    )
    parser.add_argument("--microcode", action="store_true", help="prepend the microcode of the root")
    add_provenance(parser)
    add_build_options(parser, base="ramdisk-base")
    add_watch(parser)
    add_profile(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.documents import artefacts
    from dibo.api.ramdisk import create
    from dibo.api.settings import current_settings
    from dibo.ramdisk.settings import BASE, decide_ramdisk

    ramdisk = decide_ramdisk(
        environment,
        output=arguments.name,
        kernel_version=arguments.kernel_version,
        module_root=arguments.module_root,
        compression=arguments.compress,
        microcode=arguments.microcode,
    )
    settings = current_settings(replace(options_of(arguments), base_flavour=BASE), environment)

    def build(settings: Settings) -> None:
        paths = create(settings, ramdisk, report)
        show_build(arguments, report, partial(artefacts, paths))

    check_watch(arguments)
    if arguments.watch:
        from dibo.api.watching.watch import watch

        watch(settings, report, build)
    build(settings)
    return 0
