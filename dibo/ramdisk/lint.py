"""The checks of /init while it is built: a machine that boots a script with a mistake says nothing anybody hears."""

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
        return ("shellcheck is not installed: /init is checked for its syntax alone",)
    return _shellcheck(directory / "init", script)


def _syntax(path: Path, script: Script) -> None:
    path.write_text(script.text)
    done = process.run(["sh", "-n", str(path)], check=False)
    if done.returncode == 0:
        return
    found = next((error for line in done.tail if (error := syntax_error(line)) is not None), None)
    if found is None:
        raise RamdiskError(f"sh -n does not take /init: {' '.join(done.tail)}")
    raise RamdiskError(
        f"{script.where(found[0])}: {found[1]}",
        hint="a fragment of /init is POSIX shell; see docs/reference/ramdisk.md",
    )


def _shellcheck(path: Path, script: Script) -> tuple[str, ...]:
    # dash is POSIX with `local`, and nearest to busybox's shell, which only newer versions know by name.
    argv = ["shellcheck", "-s", "dash", "-f", "json1", "-S", "warning", "-e", "SC2034", str(path)]
    done = process.run(argv, capture=True, check=False)
    try:
        comments = json.loads(done.stdout)["comments"]
    except (ValueError, KeyError) as error:
        raise RamdiskError(f"shellcheck failed on /init: {' '.join(done.tail)}") from error
    said = [
        (each["level"], f"{script.where(each['line'])}: {each['message']} (SC{each['code']})")
        for each in comments
    ]
    errors = [text for level, text in said if level == "error"]
    if errors:
        raise RamdiskError(errors[0], hint="\n".join(errors[1:_ENOUGH]))
    return tuple(text for level, text in said if level == "warning")
