"""`disk-image-get-kernel`: a kernel and its ramdisk out of a disk image."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import add_cache_directory, add_verbose, path_of, settings_of
from dibo.cli.output import add_json, show
from dibo.system.report import Report

SUMMARY: Final = "Extract the newest kernel and its ramdisk from a disk image, without root"
EPILOG: Final = """\
prints PREFIX-vmlinuz,PREFIX-initrd last

example:
  disk-image-get-kernel --cmdline web.qcow2"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image", nargs="?", metavar="FILE", help="the disk image: raw, qcow2, vmdk, vhdx, vdi"
    )
    parser.add_argument("-i", "--image", metavar="FILE", dest="image_option", help="the same")
    parser.add_argument(
        "-d", "--directory", metavar="DIR", dest="directory", help="write to DIR (the current directory)"
    )
    parser.add_argument(
        "-o",
        "--prefix",
        metavar="PREFIX",
        default="baremetal",
        help="prefix of the names (baremetal)",
    )
    parser.add_argument(
        "--kernel", metavar="VERSION", help="extract this kernel (the newest that has a ramdisk)"
    )
    parser.add_argument("--list", action="store_true", help="only list the kernels, the newest first")
    parser.add_argument(
        "--cmdline", action="store_true", help="also print the kernel command line that boots the image"
    )
    add_cache_directory(parser)
    add_verbose(parser, "show each command that is run")
    add_json(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.get_kernel import KernelRequest, get_kernel, list_kernels, one_image

    settings = settings_of(arguments, environment)
    image = one_image(arguments.image, arguments.image_option)
    if arguments.list:
        show(arguments, list_kernels(settings, report, image))
        return 0
    request = KernelRequest(
        image=image,
        directory=path_of(arguments.directory),
        prefix=arguments.prefix,
        version=arguments.kernel,
        with_cmdline=arguments.cmdline,
    )
    taken = get_kernel(settings, report, request)
    show(arguments, taken.answer())
    return 0
