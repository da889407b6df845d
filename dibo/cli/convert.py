"""`dibo convert`: artefacts of an existing image."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dibo.cli.options import (
    add_architecture,
    add_artefact_options,
    add_cache_directory,
    add_engine,
    add_layout_option,
    add_sign_option,
    add_verbose,
    add_verify_key_options,
    path_of,
    settings_of,
    whole_number,
)
from dibo.cli.output import add_json, show_build
from dibo.cli.parser import complete_with
from dibo.cli.profile import add_profile
from dibo.errors import SomeFailed, UsageError
from dibo.images.sources.table import SOURCES
from dibo.settings.settings import RESTARTS
from dibo.system.report import Report
from dibo.system.resources import processors

if TYPE_CHECKING:
    from dibo.api.conversion import ConvertRequest
    from dibo.api.conversions.names import NamedImage
    from dibo.kits.choose import KitRequest

SUMMARY: Final = "make a disk from an existing container image, without privileges"
EPILOG: Final = ""
LOADERS: Final = ("auto", "grub", "systemd-boot", "uki", "none")
"""Values of dibo.boot.options.BootLoader, which is imported late."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "references",
        metavar="IMAGE",
        nargs="*",
        help=", ".join(kind.form for kind in SOURCES.values()),
    )
    add_artefact_options(
        parser, "write NAME.TYPE (image); with several images, the directory of all outputs (.)"
    )
    _add_options_for_many(parser)
    add_architecture(parser, "which image of several, such as amd64 or amd64/v2 (this machine's)")
    layout = parser.add_mutually_exclusive_group()
    add_layout_option(layout, "use the disk layout of this YAML (that of the image, or of the flavour vm)")
    layout.add_argument(
        "--bare", action="store_true", help="write only the file system: no partitions, no boot loader"
    )
    parser.add_argument(
        "--boot",
        choices=LOADERS,
        default=LOADERS[0],
        metavar="LOADER",
        help=f"boot loader of an image that dibo did not prepare: {', '.join(LOADERS)} ({LOADERS[0]})",
    )
    parser.add_argument(
        "--secure-boot-key",
        metavar="FILE",
        help="sign what dibo makes for UEFI with this RSA key (PEM)",
    )
    parser.add_argument(
        "--secure-boot-certificate", metavar="FILE", help="the certificate of --secure-boot-key (PEM)"
    )
    add_sign_option(parser)
    parser.add_argument("--checksum", action="store_true", help="write NAME.TYPE.sha256 beside each artefact")
    number = whole_number(least=1)
    parser.add_argument(
        "--max-entries", metavar="N", type=number, help="refuse a root with more than N files (2000000)"
    )
    parser.add_argument(
        "--max-ratio",
        metavar="N",
        type=number,
        help="refuse a layer that unpacks to more than N times its size (1000)",
    )
    parser.add_argument("--max-size", metavar="GB", help="refuse a root that unpacks to more than GB (128)")
    parser.add_argument(
        "--prepare",
        action="store_true",
        help="if needed, use an engine: run programs of the image to make boot files, or build a kit",
    )
    _add_kit_options(parser)
    add_engine(parser, "engine for --prepare (auto)")
    add_cache_directory(parser)
    add_verify_key_options(parser)
    add_verbose(parser, "show each command that is run")
    add_profile(parser)
    add_json(parser)


def _add_options_for_many(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images-from",
        metavar="FILE",
        help="convert the images of this list, too: a line IMAGE or IMAGE NAME for each; - is standard input",
    )
    parser.add_argument(
        "-j",
        "--jobs",
        metavar="N",
        type=whole_number(least=1),
        help="convert N images at a time (as many as there are processors)",
    )


def _add_kit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kit",
        metavar="IMAGE",
        help="boot with the kernel of this kit, which `dibo build --kit` made (DIBO_KIT)",
    )
    init = parser.add_mutually_exclusive_group()
    init.add_argument(
        "--run",
        action="store_false",
        default=None,
        dest="own_init",
        help="with a kit, run the program that the image names (unless that is an init)",
    )
    init.add_argument(
        "--init",
        action="store_true",
        default=None,
        dest="own_init",
        help="with a kit, boot the image's own init",
    )
    restart = parser.add_argument(
        "--restart",
        metavar="WHEN",
        help="with a kit, start the program again: always, on-failure, never (always)",
    )
    complete_with(restart, lambda _: RESTARTS)


def _kit_request(arguments: argparse.Namespace) -> KitRequest:
    from dibo.kits.choose import KitRequest

    restart = arguments.restart or RESTARTS[0]
    if restart not in RESTARTS:
        raise UsageError(f"{restart!r} is no value of --restart", hint=f"use one of {', '.join(RESTARTS)}")
    if arguments.kit == "":
        raise UsageError("--kit names no image", hint="such as oci:kit, or registry.example/images/kit:1")
    return KitRequest(reference=arguments.kit, own_init=arguments.own_init, restart=restart)


def _request_of(arguments: argparse.Namespace, reference: str) -> ConvertRequest:
    from dibo.api.conversion import ConvertRequest, limits

    return ConvertRequest(
        reference=reference,
        layout_file=path_of(arguments.layout),
        bare=arguments.bare,
        prepare=arguments.prepare,
        loader=arguments.boot,
        secure_boot_key=path_of(arguments.secure_boot_key),
        secure_boot_certificate=path_of(arguments.secure_boot_certificate),
        checksums=arguments.checksum,
        limits=limits(entries=arguments.max_entries, size=_max_size(arguments), ratio=arguments.max_ratio),
        kit=_kit_request(arguments),
    )


def _max_size(arguments: argparse.Namespace) -> int | None:
    """Bytes. Raises UsageError."""
    from dibo.units import parse_gib

    return None if arguments.max_size is None else parse_gib(arguments.max_size, name="--max-size")


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.conversion import convert
    from dibo.api.documents import artefacts

    if arguments.images_from is not None or len(arguments.references) > 1:
        return _convert_many(arguments, environment, report)
    if not arguments.references:
        raise UsageError(
            "the following arguments are required: IMAGE", hint="`dibo convert -h` lists the forms"
        )
    request = _request_of(arguments, arguments.references[0])
    paths = convert(settings_of(arguments, environment), request, report)
    show_build(arguments, report, partial(artefacts, paths))
    return 0


def _convert_many(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.conversions.answer import conversions
    from dibo.api.conversions.many import convert_all
    from dibo.api.conversions.messages import ImageConversion

    directory = Path(arguments.name or ".")
    settings = settings_of(arguments, environment)
    jobs = [
        ImageConversion(
            settings=replace(settings, output=directory / image.name, types_named=True),
            request=_request_of(arguments, image.reference),
        )
        for image in _images(arguments)
    ]
    outcomes = convert_all(jobs, report, workers=arguments.jobs or processors())
    show_build(arguments, report, partial(conversions, outcomes))
    failed = [(outcome.job.request.reference, outcome.error) for outcome in outcomes if outcome.error]
    if not failed:
        return 0
    error = SomeFailed.of(failed, len(outcomes))
    report.error(error)
    return error.exit_code


def _images(arguments: argparse.Namespace) -> list[NamedImage]:
    from dibo.api.conversions.names import listed, named

    images = [named(reference) for reference in arguments.references]
    if arguments.images_from is not None:
        images += listed(_text_of(arguments.images_from), origin=arguments.images_from)
    if not images:
        raise UsageError(
            f"{arguments.images_from} names no image", hint="write one a line: IMAGE, or IMAGE NAME"
        )
    return images


def _text_of(name: str) -> str:
    from dibo.system.resources import read_whole

    try:
        return sys.stdin.read() if name == "-" else read_whole(Path(name)).decode()
    except OSError as error:
        raise UsageError(f"cannot read the list {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read the list {name}: {error}") from error
