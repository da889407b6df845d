"""Checks /init at build time: a machine that boots a broken script has no way to report the error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dibo.errors import RamdiskError
from dibo.flavours.ramdisk_requests import Fragment
from dibo.ramdisk.init import Script, syntax_error, whole
from dibo.system import process

_ENOUGH = 10


def check(script: Script, fragments: Sequence[Fragment], *, directory: Path) -> tuple[str, ...]:
    """What a user should know of a script that is right as far as `sh -n` and shellcheck can tell. Raises
    RamdiskError, with flavour and line, where it is not. `directory` is for scratch."""
    for fragment in fragments:  # alone: a } too many would end up in the next piece
        alone = Script(text=fragment.text, pieces=(whole(fragment),))
        _syntax(directory / "init", alone)
    _syntax(directory / "init", script)
    if process.find("shellcheck") is None:
        return ("shellcheck is not installed: only the syntax of /init is checked",)
    return _shellcheck(directory / "init", script)


def _syntax(path: Path, script: Script) -> None:
    path.write_text(script.text)
    done = process.run(["sh", "-n", str(path)], check=False)
    if done.returncode == 0:
        return
    located = next((error for line in done.tail if (error := syntax_error(line)) is not None), None)
    if located is None:
        raise RamdiskError(f"sh -n rejects /init: {' '.join(done.tail)}")
    raise RamdiskError(
        f"{script.location(located[0])}: {located[1]}",
        hint="fragments of /init must be POSIX shell; see docs/reference/ramdisk.md",
    )


def _shellcheck(path: Path, script: Script) -> tuple[str, ...]:
    # dash is POSIX with `local`, and nearest to busybox's shell, which only newer versions know by name.
    argv = ["shellcheck", "-s", "dash", "-f", "json1", "-S", "warning", "-e", "SC2034", str(path)]
    done = process.run(argv, capture=True, check=False)
    try:
        comments = json.loads(done.stdout)["comments"]
    except (ValueError, KeyError) as error:
        raise RamdiskError(f"shellcheck failed on /init: {' '.join(done.tail)}") from error
    comments_by_level = [
        (comment["level"], f"{script.location(comment['line'])}: {comment['message']} (SC{comment['code']})")
        for comment in comments
    ]
    errors = [text for level, text in comments_by_level if level == "error"]
    if errors:
        raise RamdiskError(errors[0], hint="\n".join(errors[1:_ENOUGH]))
    return tuple(text for level, text in comments_by_level if level == "warning")
