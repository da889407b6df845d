"""The options of diskimage-builder's disk-image-create that dibo has under no other name."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.settings.dib_options import (
    CHECKSUM,
    INSTALL_TYPES,
    OFFLINE,
    QEMU_IMG_OPTIONS,
    VARIABLES_OF_OPTIONS,
    WITHOUT_EFFECT,
    qemu_img_variables,
    without_effect,
)
from dibo.system.report import Report

_VALUES: Final = {
    "root-label": ("LABEL", "label of the root file system of elements (cloudimg-rootfs)"),
    "image-extra-size": ("MB", "free space beside the files of elements, where no size is set (67 %%)"),
    "mkfs-options": ("OPTIONS", "make an ext4, ext3 or ext2 root by mke2fs, with these options"),
    "mkfs-journal-size": ("MB", "make an ext4 or ext3 root by mke2fs, with a journal of that size"),
    "install-type": ("TYPE", "where elements install from: source, package (source)"),
    "qemu-img-options": ("WORDS", "options of a qcow2, separated by commas: compression_type=zstd"),
}
_OTHERS: Final = {
    "docker-target": "NAME",
    "max-online-resize": "BLOCKS",
    "min-tmpfs": "GB",
    "no-tmpfs": "",
    "ramdisk-element": "NAME",
}
"""Those without an effect, and their values."""


def add_dib_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-u", "--uncompressed", action="store_true", help="do not compress a qcow2: larger, and faster"
    )
    parser.add_argument(
        "-c", "--clear", action="store_true", help="hide your variables from scripts of elements"
    )
    parser.add_argument(
        "--checksum", action="store_true", help="write the MD5 of each artefact, too: NAME.TYPE.md5"
    )
    parser.add_argument(
        "--logfile", metavar="FILE", help="write all output to FILE, and show warnings and errors alone"
    )
    parser.add_argument("--image-cache", metavar="DIR", dest="cache_dir", help="the same as --cache-dir")
    for option, (value, text) in _VALUES.items():
        choices = INSTALL_TYPES if option == "install-type" else None
        parser.add_argument(f"--{option}", metavar=value, choices=choices, help=text)
    for option, value in _OTHERS.items():
        text = "no effect; accepted as diskimage-builder has it"
        if value:
            parser.add_argument(f"--{option}", metavar=value, help=text)
        else:
            parser.add_argument(f"--{option}", action="store_true", help=text)


def environment_of(
    arguments: argparse.Namespace, environment: Mapping[str, str], report: Report
) -> dict[str, str]:
    """The environment with the variables that these options stand for. Raises UsageError."""
    from dibo.elements.stack import without_users_variables
    from dibo.settings.variables import VARIABLES

    given = vars(arguments)
    result = dict(environment)
    if arguments.clear:
        result = without_users_variables(environment, kept=VARIABLES)
    for option, variable in VARIABLES_OF_OPTIONS.items():
        value = given[option.replace("-", "_")]
        if value is not None:
            result[variable] = value
    if arguments.checksum:
        result[CHECKSUM] = "1"
    if arguments.offline:
        result[OFFLINE] = "1"
    result |= qemu_img_variables(result.get(QEMU_IMG_OPTIONS, ""))
    if arguments.uncompressed:
        result["DIBO_QCOW2_COMPRESSION"] = "none"
    for option in WITHOUT_EFFECT:
        if given[option.replace("-", "_")]:
            report.warn(without_effect(option))
    return result
