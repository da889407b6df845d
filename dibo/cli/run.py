"""One command from its arguments to its exit code."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dibo.cli.commands import parser_of
from dibo.cli.output import new_report
from dibo.cli.profile import profiled
from dibo.errors import DiboError, Interrupted
from dibo.system.report import STDOUT, Report, answer, log_commands
from dibo.system.resources import look_for_circles_rarely

if TYPE_CHECKING:
    from dibo.cli.commands import Command


def run(program: str, argv: Sequence[str] | None) -> int:
    """Carry out what `argv` asks of `program`; the exit code."""
    look_for_circles_rarely()
    words = sys.argv[1:] if argv is None else list(argv)
    as_json = _wants_json(words)
    try:
        return _reported(program, words, as_json=as_json)
    except Exception as error:
        from dibo.cli.last_resort import report_defect

        report = new_report(as_json=as_json)
        return _ended(report_defect(error, [program, *words], os.environ), report, as_json=as_json)


def interrupted_early(words: Sequence[str]) -> int:
    """Say that SIGINT came while no command ran; the exit code."""
    quiet = "--quiet" in words or "-q" in words
    as_json = _wants_json(words)
    return _stopped(Interrupted(signal.SIGINT), new_report(as_json=as_json, quiet=quiet), as_json=as_json)


def _wants_json(words: Sequence[str]) -> bool:
    """Whether --json is among them; argparse takes it shortened, too."""
    return any(word.startswith("--j") and "--json".startswith(word) for word in words)


def _stopped(stop: Interrupted, report: Report, *, as_json: bool) -> int:
    """Say that a signal ended the command, whatever signals follow; the exit code."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    report.say(f"dibo: {stop}; nothing was left behind")
    if as_json:
        from dibo.api.documents import stopped_document

        _print_json(stopped_document(stop))
    for number, handler in before.items():
        signal.signal(number, handler)
    return 128 + stop.signum


def _ended(error: DiboError, report: Report, *, as_json: bool) -> int:
    """Report an error, with --json also as a document on standard output; its exit code."""
    report.error(error)
    if as_json:
        from dibo.api.documents import error_document

        _print_json(error_document(error))
    return error.exit_code


def _print_json(document: dict[str, Any]) -> None:
    import json

    with suppress(OSError):
        answer(json.dumps(document, indent=2))
        sys.stdout.flush()


def _reported(program: str, words: Sequence[str], *, as_json: bool) -> int:
    """Carry it out, and report the errors that dibo explains."""
    report = new_report(as_json=as_json)
    try:
        arguments = _parsed(program, words)
        verbose = getattr(arguments, "verbose", False)
        report = new_report(as_json=as_json, verbose=verbose, quiet=getattr(arguments, "quiet", False))
        if verbose:
            log_commands(report)
        return _carried_out(arguments, report)
    except DiboError as error:
        return _ended(error, report, as_json=as_json)
    except Interrupted as stop:
        return _stopped(stop, report, as_json=as_json)
    except BrokenPipeError:  # `dibo flavours | head`
        _forget_output()
        return 0
    except OSError as error:  # a full disk under the cache, say
        code = _ended(_refused_by_system(error), report, as_json=as_json)
        _forget_output()
        return code


def _parsed(program: str, words: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError. Answers a shell that completes a command line, and ends."""
    parser = parser_of(program)
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser, always_complete_options=False)  # only after a dash
    return parser.parse_args(words)


def _carried_out(arguments: argparse.Namespace, report: Report) -> int:
    from dibo.system.signals import interruptible

    command: Command = arguments.command
    with interruptible():  # until the report is closed: the second ^C of two must not count
        try:
            with profiled(arguments, report):
                code = command.run(arguments, dict(os.environ), report)
            sys.stdout.flush()
        finally:
            report.close()
    return code


def _forget_output() -> None:
    """Keep Python from writing once more, at its end, what could not be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused_by_system(error: OSError) -> DiboError:
    message = str(error)
    if error.errno == errno.EMFILE:
        return DiboError(
            message, hint="a process may not open so many: `ulimit -n` shows the limit, and raises it"
        )
    from dibo.system import disk_space

    if error.filename == STDOUT:
        return DiboError(message, hint="only the answer could not be printed")
    if disk_space.is_full(error):
        places = [Path(os.fsdecode(error.filename))] if error.filename else [disk_space.temporary_directory()]
        message = f"{message}: {disk_space.describe(places)}"
    return DiboError(message, hint="`dibo doctor` looks at the cache and the room there")
