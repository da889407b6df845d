"""One command from its arguments to its exit code."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from dibo.cli.commands import parser_of
from dibo.errors import Defect, DiboError, Interrupted, UsageError
from dibo.system.report import Report, log_commands

if TYPE_CHECKING:
    from dibo.cli.commands import Command


def run(program: str, argv: Sequence[str] | None) -> int:
    """Carry out what `argv` asks of `program`; the exit code."""
    try:
        arguments = _parsed(program, argv)
    except UsageError as error:
        Report().error(error)
        return error.exit_code
    report = Report(verbose=bool(getattr(arguments, "verbose", False)))
    if getattr(arguments, "verbose", False):
        log_commands(report)
    try:
        return _carried_out(arguments, report)
    except DiboError as error:
        report.error(error)
        return error.exit_code
    except Interrupted as stop:
        report.say(f"dibo: stopped by signal {stop.signum}; nothing was left behind")
        return 128 + stop.signum
    except BrokenPipeError:  # `dibo flavours | head`
        _forget_output()
        return 0
    except OSError as error:  # a full disk under the cache, say
        report.error(DiboError(str(error), hint="`dibo doctor` looks at the cache and the room there"))
        _forget_output()
        return DiboError.exit_code
    except Exception as error:
        defect = _defect(error, [program, *(sys.argv[1:] if argv is None else argv)])
        report.error(defect)
        return defect.exit_code


def _parsed(program: str, argv: Sequence[str] | None) -> argparse.Namespace:
    """Raises UsageError. Answers a shell that completes a command line, and ends."""
    parser = parser_of(program)
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser, always_complete_options=False)  # only after a dash
    return parser.parse_args(argv)


def _carried_out(arguments: argparse.Namespace, report: Report) -> int:
    from dibo.system.signals import interruptible

    command: Command = arguments.command
    with interruptible():
        code = command.run(arguments, dict(os.environ), report)
        sys.stdout.flush()
    return code


def _forget_output() -> None:
    """Keep Python from writing once more, at its end, what could not be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _defect(error: Exception, argv: Sequence[str]) -> Defect:
    """Report a defect of dibo. The traceback goes to a file, for the report of the defect."""
    import tempfile
    import traceback

    kept = ""
    with (
        suppress(OSError),
        tempfile.NamedTemporaryFile(
            "w", prefix="dibo-defect-", suffix=".log", delete=False, errors="surrogateescape"
        ) as log,
    ):
        from dibo import __version__

        log.write(f"dibo {__version__}, Python {sys.version}\n$ {shlex.join(argv)}\n\n")
        log.write("".join(traceback.format_exception(error)))
        kept = log.name
    text = " ".join(str(error).split())[:200]
    return Defect(
        f"a defect of dibo: {type(error).__name__}{f': {text}' if text else ''}",
        hint=f"please report it to the developers of dibo, with {kept or 'the command'}"
        "; read the file first: it contains the command line",
    )
