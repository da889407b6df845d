"""`dibo diff`: what differs between two images."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.cli.options import (
    add_architecture,
    add_cache_directory,
    add_verbose,
    add_verify_key_options,
    path_of,
    settings_of,
)
from dibo.cli.output import add_json, show
from dibo.cli.parser import complete_with
from dibo.cli.projects.names import add_project_option, complete_images, contents_named
from dibo.system.report import Report

SUMMARY: Final = "compare two images: packages, files, units, users, kernels, sizes"
EPILOG: Final = """\
A and B are disk images, container images as `dibo convert` takes them, tars, directories, ramdisks, or manifests
of dibo, or images of the project file, in any combination. Nothing of them is run. Left out, unless --all is
given, is what differs between any two builds: times of files, logs, caches, ids of machines.

exit codes: 0 if the contents are the same, 65 if they differ, another one if they cannot be compared

examples:
  dibo diff web-1.qcow2 web-2.qcow2
  dibo diff --only packages,units registry.example/images/web:1 oci:web
  dibo diff --summary --exclude '/usr/share/doc/*' old.manifest.json web.tar"""


def add_options(parser: argparse.ArgumentParser) -> None:
    complete_images(parser.add_argument("before", metavar="A", help="the one image"))
    complete_images(parser.add_argument("after", metavar="B", help="the other image"))
    add_project_option(parser)
    only = parser.add_argument(
        "--only",
        metavar="SECTIONS",
        action="append",
        default=[],
        help="compare these, separated by commas: system, packages, files, units, users, groups, kernels, config,"
        " partitions, layers, sizes",
    )
    complete_with(only, _sections)
    parser.add_argument(
        "--exclude",
        metavar="GLOB",
        action="append",
        default=[],
        help="leave out files with this path, or this name, and what is in such directories; may be repeated",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="also show times, logs, caches and ids of machines, and all of long lists",
    )
    parser.add_argument(
        "--files",
        action="store_true",
        help="list each file, also those of packages that changed, and in directories that were added or removed",
    )
    parser.add_argument("--summary", action="store_true", help="only count the differences")
    parser.add_argument("--html", metavar="FILE", help="also write a page with all differences to FILE")
    add_architecture(parser, "architecture, of an image for several (that of this machine)")
    add_cache_directory(parser)
    add_verify_key_options(parser)
    add_verbose(parser, "show each command that is run")
    add_json(parser)


def _sections(_: argparse.Namespace) -> tuple[str, ...]:
    from dibo.contents.comparison import SECTIONS

    return tuple(SECTIONS)


def run(arguments: argparse.Namespace, environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.contents.diff import DiffRequest, diff, parse_sections
    from dibo.contents.compare import CompareOptions

    request = DiffRequest(
        before=contents_named(arguments, environment, arguments.before),
        after=contents_named(arguments, environment, arguments.after),
        options=CompareOptions(
            sections=parse_sections(arguments.only),
            exclude=tuple(arguments.exclude),
            noise=arguments.all,
            times=arguments.all,
        ),
        summary=arguments.summary,
        files=arguments.files,
        complete=arguments.all,
        page=path_of(arguments.html),
    )
    result = diff(settings_of(arguments, environment), report, request)
    show(arguments, result.answer)
    return result.exit_code
