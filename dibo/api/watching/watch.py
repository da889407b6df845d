"""Build again whenever a flavour of the stack changes, or a file that the build reads besides.

A notification only says where to look. Whether something has changed is decided by reading it (`snapshot`): what no key
covers, such as an editor's swap file, or a file that is written anew with the same bytes, builds nothing.

A change while a build runs ends it between two steps, so that a layer that is nearly made is not lost, and the build
begins anew: the layers that are made are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import NoReturn

from dibo.api.session import stack_of
from dibo.errors import DiboError, ToolMissing, UsageError
from dibo.flavours.model import Flavour
from dibo.flavours.stack import Stack
from dibo.settings.settings import Settings
from dibo.system import resources
from dibo.system.file_watch import FileWatcher
from dibo.system.report import Report

Build = Callable[[Settings], None]
"""Builds once, and says what it made."""


class _Outdated(BaseException):
    """What is being built has changed. Not an Exception, so that no handler of errors swallows it."""


class _Outcome(Enum):
    DONE = "done"
    FAILED = "failed"
    OUTDATED = "outdated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a build is made of, as far as it can be watched. `problem` is why the flavours cannot be read."""

    stack: Stack | None
    files: tuple[tuple[Path, bytes | None], ...]
    problem: str = ""


def snapshot(settings: Settings, files: Sequence[Path]) -> Snapshot:
    """Read the flavours of the stack, and `files`."""
    contents = tuple((path, _content(path)) for path in files)
    try:
        flavours = tuple(
            # What of flavour.yaml counts are the values that it declares, not its text.
            replace(flavour, declarations=(), summary="")
            for flavour in stack_of(settings).flavours
        )
        return Snapshot(stack=Stack(flavours=flavours), files=contents)
    except (DiboError, OSError) as error:
        return Snapshot(stack=None, files=contents, problem=str(error))


def trees_of(settings: Settings) -> tuple[Path, ...]:
    """The directories in which flavours are looked for."""
    places = (*settings.flavours_path, resources.shared("flavours"))
    return tuple(path for path in places if path.is_dir())


def watch(settings: Settings, report: Report, build: Build, *, files: Sequence[Path] = ()) -> NoReturn:
    """Build, and again after each change, until a signal comes. What is wrong with a flavour is shown, and the next
    change awaited. Raises UsageError, ToolMissing: what no change of a file mends; DiboError where watching fails."""
    with FileWatcher(trees=trees_of(settings), files=files) as watcher:
        latest = finished = None
        while True:
            current = snapshot(settings, files)
            if current == finished:
                watcher.wait()
                continue
            if latest is not None and current != latest:
                report.say(f"\nchanged: {', '.join(changes(latest, current))}")
            latest = current
            outcome = _build(settings, report, build, partial(_is_outdated, watcher, settings, current))
            if outcome is not _Outcome.OUTDATED:
                finished = current
                report.say("watching for changes; ^C ends it")
            if outcome is _Outcome.DONE:
                settings = replace(settings, refresh=False)


def _is_outdated(watcher: FileWatcher, settings: Settings, current: Snapshot) -> bool:
    return watcher.has_changed() and snapshot(settings, [path for path, _ in current.files]) != current


def _build(settings: Settings, report: Report, build: Build, is_outdated: Callable[[], bool]) -> _Outcome:
    def check() -> None:
        if is_outdated():
            raise _Outdated

    report.restart()
    report.check_cancelled = check
    try:
        build(settings)
    except _Outdated:
        report.say("something has changed: the build begins anew, with the layers that are made")
        return _Outcome.OUTDATED
    except (UsageError, ToolMissing):
        raise
    except DiboError as error:
        report.error(error)
        return _Outcome.FAILED
    finally:
        report.check_cancelled = lambda: None
    return _Outcome.DONE


def changes(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """For people: which files of which flavours are others, or what else is."""
    names = [path.name for (path, old), (_, new) in zip(before.files, after.files, strict=True) if old != new]
    if before.stack is None or after.stack is None:
        return (
            *names,
            *(["flavours"] if before.stack != after.stack or before.problem != after.problem else []),
        )
    old = {flavour.name: flavour for flavour in before.stack.flavours}
    new = {flavour.name: flavour for flavour in after.stack.flavours}
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            names += _changes_of(name, old.get(name), new.get(name))
    return tuple(names) or ("the order of flavours",)


def _changes_of(name: str, old: Flavour | None, new: Flavour | None) -> list[str]:
    if old is None or new is None:
        return [name]
    paths = sorted({file.path for file in {*old.files} ^ {*new.files}})
    return [f"{name}/{path}" for path in paths] or [f"{name}/flavour.yaml"]


def _content(path: Path) -> bytes | None:
    with suppress(OSError):
        return path.read_bytes()
    return None
