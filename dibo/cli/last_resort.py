"""What a program says of an exception that nothing expected: one line, and a log to report the defect with.

The log has the version, the command line and the traceback, and no secrets: values given by --secret, and values of
environment variables that dibo does not know, are masked.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Final

from dibo.errors import Defect, DiboError

_LONGEST: Final = 200
"""Characters of a message of an exception that are shown."""
_SHORTEST: Final = 4
"""Characters of a variable's value that is masked: shorter ones are everywhere in a text."""
_LOGIN: Final = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)")
_HARMLESS: Final = re.compile(
    r"HOME|PATH|PWD|OLDPWD|SHELL|USER|LOGNAME|HOSTNAME|LANG|LANGUAGE|LC_\w+|TERM|COLORTERM|TMPDIR|XDG_\w+|PYTHON\w*"
    r"|VIRTUAL_ENV|EDITOR|VISUAL|PAGER|SHLVL|DISPLAY|COLUMNS|LINES|CI|_|DIBO_RUN|DIBO_QCOW2_COMPRESSION"
)
"""Names of variables whose values help to understand a defect."""
_SECRET: Final = re.compile(r"^((?:--secret=)?[^=]+=)(?!env:).*", re.DOTALL)


def report_defect(error: Exception, argv: Sequence[str], environment: Mapping[str, str]) -> Defect:
    """The error that a program ends with, after the log was written. `argv` begins with the program."""
    mask = _mask(argv, environment)
    kind = type(error).__name__
    text = "" if mask is None else " ".join(mask(str(error)).split())[:_LONGEST]
    log = _write(_log_text(error, argv, mask), _directories(argv, environment))
    kept = f"with {log}" if log is not None else "with the command line: no log could be written"
    return Defect(
        f"a defect of dibo: {kind}{f': {text}' if text else ''}",
        hint=f"please report it to the developers of dibo, {kept}\n"
        "read the log first: it has the command line and the traceback; values of secrets are masked",
    )


def _log_text(error: Exception, argv: Sequence[str], mask: Callable[[str], str] | None) -> str:
    from dibo import __version__

    head = f"dibo {__version__}, Python {sys.version}\n"
    if mask is None:  # what cannot be masked is left out
        return f"{head}\n{''.join(traceback.format_tb(error.__traceback__))}{type(error).__name__}\n"
    words = [mask(word) for word in _without_secrets(argv)]
    return f"{head}$ {shlex.join(words)}\n\n{mask(''.join(traceback.format_exception(error)))}"


def _without_secrets(argv: Sequence[str]) -> Iterator[str]:
    """The command line without what stands for the file of a secret, which may be its value by mistake."""
    before = ""
    for word in argv:
        named = before == "--secret" or word.startswith("--secret=")
        yield _SECRET.sub(r"\1****", word) if named else word
        before = word


def _mask(argv: Sequence[str], environment: Mapping[str, str]) -> Callable[[str], str] | None:
    """None where masking itself fails: dibo may be installed incompletely."""
    try:
        from dibo.build.secrets import make_mask

        texts = [form for text in _unknown_values(environment) for form in (text, repr(text)[1:-1])]
        masks = [make_mask(text.encode(errors="surrogateescape") for text in texts)]
        masks += _masks_of_secrets(argv, environment)
    except Exception:
        return None
    masks.append(lambda text: _LOGIN.sub("****", text))
    return lambda text: reduce(lambda masked, mask: mask(masked), masks, text)


def _unknown_values(environment: Mapping[str, str]) -> Iterator[str]:
    from dibo.settings.variables import RAMDISK_VARIABLES, VARIABLES

    known = {*VARIABLES, *RAMDISK_VARIABLES} - {"DIBO_SIGN_PASSWORD"}
    for name, value in environment.items():
        if len(value) >= _SHORTEST and name not in known and _HARMLESS.fullmatch(name) is None:
            yield value


def _masks_of_secrets(argv: Sequence[str], environment: Mapping[str, str]) -> Iterator[Callable[[str], str]]:
    from dibo.build.secrets import read_secrets
    from dibo.settings.secrets import parse_secrets

    for before, word in pairwise(argv):
        given = word if before == "--secret" else word.removeprefix("--secret=")
        if before == "--secret" or word.startswith("--secret="):
            with suppress(DiboError):
                (source,) = parse_secrets([given])
                yield read_secrets([source], environment).mask


def _directories(argv: Sequence[str], environment: Mapping[str, str]) -> Iterator[Path]:
    """Where a log may go: the logs of the cache directory, else the directory for temporary files."""
    from dibo.system import resources

    named = [word for before, word in pairwise(argv) if before == "--cache-dir"]
    named += [word.partition("=")[2] for word in argv if word.startswith("--cache-dir=")]
    cache = named[-1] if named else environment.get("IMG_PATH") or ""
    with suppress(Exception):
        from dibo.system.workspace import Workspace

        yield Workspace(resources.expanded(cache) if cache else resources.home() / ".cache" / "dibo").logs
    with suppress(Exception):
        import tempfile

        yield Path(tempfile.gettempdir())


def _write(text: str, directories: Iterator[Path]) -> Path | None:
    for directory in directories:
        path = directory / f"defect-{time.strftime('%Y%m%d%H%M%S')}-{os.urandom(4).hex()}.log"
        with suppress(OSError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as log:
                log.write(text)
            return path
    return None
