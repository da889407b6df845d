"""`dibo completion`: the script that completes command lines in a shell."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from dibo.system.report import Report, answer

SUMMARY: Final = "print the completion script for a shell"
EPILOG: Final = ""
_PROGRAMS: Final = (
    "dibo",
    "disk-image-create",
    "disk-image-get-kernel",
    "diskimage-builder",
    "ramdisk-image-create",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])


def run(arguments: argparse.Namespace, _environment: Mapping[str, str], _report: Report) -> int:
    from argcomplete.shell_integration import shellcode

    answer(str(shellcode(list(_PROGRAMS), shell=arguments.shell)))
    return 0
