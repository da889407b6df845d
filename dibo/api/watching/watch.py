"""Build again whenever a flavour or an element of the stack changes, or a file that the build reads besides.

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
from dibo.elements.model import Element
from dibo.elements.stack import MixedStack
from dibo.elements.steps import ElementStep
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
class WatchedBuild:
    """What is built, and the files that say so, besides flavours."""

    settings: Settings
    build: Build
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a build is made of, as far as it can be watched. `problem` is why it cannot be read."""

    settings: Settings | None
    stack: Stack | None
    files: tuple[tuple[Path, bytes | None], ...]
    elements: tuple[Element, ...] = ()
    steps: tuple[ElementStep, ...] = ()
    """Of elements, with all that they see: the user's variables and files, too."""
    problem: str = ""


def snapshot(settings: Settings, files: Sequence[Path]) -> Snapshot:
    """Read the flavours and the elements of the stack, and `files`."""
    contents = tuple((path, _content(path)) for path in files)
    settings = replace(settings, refresh=False)
    try:
        stack = stack_of(settings)
    except (DiboError, OSError) as error:
        return Snapshot(settings=settings, stack=None, files=contents, problem=str(error))
    # What of flavour.yaml counts are the values that it declares, not its text.
    flavours = tuple(replace(flavour, declarations=(), summary="") for flavour in stack.flavours)
    result = Snapshot(settings=settings, stack=Stack(flavours=flavours), files=contents)
    if not isinstance(stack, MixedStack):
        return result
    return replace(result, elements=stack.elements, steps=stack.element_steps)


def trees_of(settings: Settings) -> tuple[Path, ...]:
    """The directories in which flavours and elements are looked for."""
    places = (*settings.flavours_path, *settings.elements_path, resources.shared("flavours"))
    return tuple(path for path in places if path.is_dir())


def watch(settings: Settings, report: Report, build: Build, *, files: Sequence[Path] = ()) -> NoReturn:
    """As `follow`, of what stays the same but for its flavours and `files`."""
    follow(lambda: WatchedBuild(settings=settings, build=build, files=tuple(files)), report)


def follow(read: Callable[[], WatchedBuild], report: Report) -> NoReturn:
    """Build, and again after each change, until a signal comes. `read` says what is built, and is asked again after
    each change; the files that it names first are watched. What is wrong with a flavour, or what `read` raises later,
    is shown, and the next change awaited. Raises UsageError, ToolMissing, in a build: what no change of a file mends;
    DiboError where watching fails."""
    watched = read()
    with FileWatcher(trees=trees_of(watched.settings), files=watched.files) as watcher:
        latest = finished = None
        refresh = watched.settings.refresh
        while True:
            watched, current = _read(read, watched)
            if current == finished:
                watcher.wait()
                continue
            if latest is not None and current != latest:
                report.say(f"\nchanged: {', '.join(changes(latest, current))}")
            latest = current
            if current.settings is None:
                report.error(DiboError(current.problem))
                outcome = _Outcome.FAILED
            else:
                settings = replace(watched.settings, refresh=refresh)
                check = partial(_is_outdated, watcher, read, watched, current)
                outcome = _build(settings, report, watched.build, check)
            if outcome is not _Outcome.OUTDATED:
                finished = current
                report.say("watching for changes; ^C ends it")
            if outcome is _Outcome.DONE:
                refresh = False


def _read(read: Callable[[], WatchedBuild], before: WatchedBuild) -> tuple[WatchedBuild, Snapshot]:
    """What is built now; what was before, where that cannot be read."""
    try:
        watched = read()
    except DiboError as error:
        contents = tuple((path, _content(path)) for path in before.files)
        return before, Snapshot(settings=None, stack=None, files=contents, problem=str(error))
    return watched, snapshot(watched.settings, watched.files)


def _is_outdated(
    watcher: FileWatcher, read: Callable[[], WatchedBuild], watched: WatchedBuild, current: Snapshot
) -> bool:
    return watcher.has_changed() and _read(read, watched)[1] != current


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
    """For people: which files of which flavours and elements are others, or what else is."""
    old_files, new_files = dict(before.files), dict(after.files)
    names = [path.name for path in {**old_files, **new_files} if old_files.get(path) != new_files.get(path)]
    if before.stack is None or after.stack is None:
        is_same = before.stack == after.stack and before.problem == after.problem
        return tuple(names) or (() if is_same else ("flavours",)) or ("settings",)
    old, new = _parts(before.stack, before.elements), _parts(after.stack, after.elements)
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            names += _changes_of(name, old.get(name), new.get(name))
    return tuple(names) or ("the order of flavours, or settings",)


def _parts(stack: Stack, elements: tuple[Element, ...]) -> dict[str, Flavour | Element]:
    return {flavour.name: flavour for flavour in stack.flavours} | {
        element.name: element for element in elements
    }


def _changes_of(name: str, old: Flavour | Element | None, new: Flavour | Element | None) -> list[str]:
    if old is None or new is None:
        return [name]
    paths = sorted({file.path for file in {*old.files} ^ {*new.files}})
    return [f"{name}/{path}" for path in paths] or [
        name if isinstance(new, Element) else f"{name}/flavour.yaml"
    ]


def _content(path: Path) -> bytes | None:
    with suppress(OSError):
        return path.read_bytes()
    return None
