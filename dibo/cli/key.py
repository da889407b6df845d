"""`dibo key`: key pairs, and signatures in registries."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dibo.cli.options import add_sign_option, add_verify_key_options, settings_of
from dibo.cli.output import add_json, show
from dibo.system.report import Report

SUMMARY: Final = "make a key pair; sign or verify images in a registry"
EPILOG: Final = ""
_ACTIONS: Final = {
    "generate": "write a key pair, PREFIX.key and PREFIX.pub, as cosign does",
    "sign": "sign an image, a disk or a ramdisk in a registry",
    "verify": "verify the signature of an image, a disk or a ramdisk in a registry",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    parsers = {name: actions.add_parser(name, help=text, description=text) for name, text in _ACTIONS.items()}
    parsers["generate"].add_argument(
        "prefix", metavar="PREFIX", nargs="?", default="dibo", help="prefix of the file names (dibo)"
    )
    for name in ("sign", "verify"):
        parsers[name].add_argument("reference", metavar="REFERENCE", help="HOST[:PORT]/PATH[:TAG]")
    for below in parsers.values():
        add_json(below)
    add_sign_option(parsers["sign"])
    add_verify_key_options(parsers["verify"])


def run(arguments: argparse.Namespace, environment: Mapping[str, str], _report: Report) -> int:
    from dibo.api import key

    settings = settings_of(arguments, environment)
    match arguments.action:
        case "generate":
            show(arguments, key.generate(settings, Path(arguments.prefix)))
        case "sign":
            show(arguments, key.sign(settings, arguments.reference))
        case _:
            show(arguments, key.verify(settings, arguments.reference))
    return 0
