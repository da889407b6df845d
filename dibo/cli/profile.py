"""`--profile FILE`: where the time of a command goes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dibo.system.report import Report


def add_profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile", metavar="FILE", help="write a trace of where the time goes, for ui.perfetto.dev"
    )


@contextmanager
def profiled(arguments: argparse.Namespace, report: Report) -> Iterator[None]:
    """What follows is in the profile, if one is requested. Raises UsageError, OutputError where none can be written."""
    if getattr(arguments, "profile", None) is None:
        yield
        return
    from dibo.artefacts.outputs import check_output_file
    from dibo.system.profiling.trace import recording

    path = Path(arguments.profile)
    check_output_file(path, option="--profile")

    def write(text: str) -> None:
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.write_text(text)
            part.replace(path)
        except OSError as error:  # the command has ended; how it did counts
            part.unlink(missing_ok=True)
            report.warn(f"the profile {path} cannot be written: {error.strerror}")

    with recording(write, title=arguments.command.SUMMARY):
        yield
