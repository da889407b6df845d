"""`dibo boot-server`: boots machines over the network, and writes images to their disks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dibo.cli.options import add_verbose, path_of, whole_number
from dibo.system.report import Report

SUMMARY: Final = "boot machines over the network, write images to their disks"
EPILOG: Final = ""
_DAY: Final = 86400


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "machines", metavar="FILE", help="the machines, as YAML: docs/reference/boot-server.md shows one"
    )
    parser.add_argument(
        "--ramdisk",
        metavar="RAMDISK",
        help="boot machines with this ramdisk over iPXE; expects its kernel beside it",
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        default="0.0.0.0",
        help="listen on this address; :: for IPv4 and IPv6 (0.0.0.0)",
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=whole_number(most=65535),
        default=10000,
        help="listen on this port; ramdisks post to 10000 (10000)",
    )
    parser.add_argument(
        "--state", metavar="STATE", help="store the state of machines in this file (FILE.state)"
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=whole_number(least=1, most=64),
        default=4,
        help="write to at most N disks at once (4)",
    )
    parser.add_argument(
        "--patience",
        metavar="SECONDS",
        type=whole_number(least=1, most=_DAY),
        default=120,
        help="fail a deployment that makes no progress for SECONDS (120)",
    )
    parser.add_argument(
        "--boot-patience",
        metavar="SECONDS",
        type=whole_number(least=1, most=_DAY),
        default=900,
        help="fail a machine that booted the ramdisk and stays silent for SECONDS (900)",
    )
    parser.add_argument(
        "--token-file",
        metavar="TOKEN",
        help="file with the token that lists the machines; created if missing (FILE.token)",
    )
    parser.add_argument("--tls-cert", metavar="PEM", help="serve TLS with this certificate")
    parser.add_argument(
        "--tls-key", metavar="PEM", help="key of the certificate, if it is not in the same file"
    )
    add_verbose(parser, "show each command that is run")


def run(arguments: argparse.Namespace, _environment: Mapping[str, str], report: Report) -> int:
    from dibo.api.boot_server import BootServerRequest, serve

    request = BootServerRequest(
        machines=Path(arguments.machines),
        listen=arguments.listen,
        port=arguments.port,
        ramdisk=path_of(arguments.ramdisk),
        state=path_of(arguments.state),
        workers=arguments.workers,
        patience=arguments.patience,
        boot_patience=arguments.boot_patience,
        token_file=path_of(arguments.token_file),
        tls_cert=path_of(arguments.tls_cert),
        tls_key=path_of(arguments.tls_key),
    )
    serve(report, request)
    return 0
