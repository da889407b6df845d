"""Which engine builds: the one that was asked for, or the first that works here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NoReturn, cast

from dibo.build.engine import Engine, EngineKind, Setup
from dibo.build.engines.names import unknown
from dibo.build.engines.table import ENGINES
from dibo.build.finding import Finding
from dibo.build.sandbox import Confinement
from dibo.errors import DiboError, EngineError, ToolMissing
from dibo.settings.settings import AUTO
from dibo.system import disk_space


@contextlib.contextmanager
def engine(name: str, setup: Setup) -> Iterator[Engine]:
    """The engine `name`, or for `auto` the first that works.

    Raises EngineError and ToolMissing when the one that is asked for, or every one, does not work here, and OutputError
    for a TMPDIR that it could not use.
    """
    kind = None if name == AUTO else _kind(name)
    disk_space.require_temporary_directory()
    with contextlib.ExitStack() as stack:
        if kind is None:
            yield _first_that_works(setup, stack)
        else:
            yield stack.enter_context(kind.open(setup))


def _kind(name: str) -> EngineKind:
    for kind in ENGINES:
        if kind.name == name:
            return kind
    raise unknown(name)


def _first_that_works(setup: Setup, stack: contextlib.ExitStack) -> Engine:
    reasons: list[tuple[str, DiboError]] = []
    for kind in ENGINES:
        reason = kind.why_not(setup.confinement, alternatives=_has_alternatives(kind))
        if reason is None:
            try:
                opened = stack.enter_context(kind.open(setup))
            except DiboError as error:
                reason = error
            else:
                for failed_kind, why in reasons:
                    setup.report.warn(
                        f"building with {kind.name}, since {failed_kind} does not work here: {why.message}"
                    )
                return opened
        reasons.append((kind.name, reason))
    raise _none_works(reasons)


def _has_alternatives(kind: EngineKind) -> bool:
    return any(candidate.seems_there() for candidate in ENGINES if candidate is not kind)


def examine(name: str, confinement: Confinement) -> Iterator[Finding]:
    """What the chosen engine needs; with `auto` what the first needs, unless another would take its place."""
    if name != AUTO:
        yield from _kind(name).examine(confinement)
        return
    installed = [kind for kind in ENGINES if kind.seems_there()]
    chosen = next(
        (kind for kind in installed if kind.why_not(confinement, alternatives=len(installed) > 1) is None),
        ENGINES[0],
    )
    for kind in installed:
        for finding in kind.examine(confinement):
            yield replace(finding, needed=finding.needed and kind is chosen)


class _Absent:
    """In place of an engine where none works: whatever is asked of it, it says why there is none."""

    gives_directory = False
    reads_beside = False
    runs_outside = True

    def __init__(self, reason: DiboError) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        raise self._reason


def absent(reason: DiboError) -> Engine:
    """An engine that raises `reason` at first use."""
    return cast(Engine, _Absent(reason))


def _none_works(reasons: Sequence[tuple[str, DiboError]]) -> DiboError:
    """ToolMissing when the default could be installed: the nearest way out decides on the exit code."""
    lines = []
    for name, reason in reasons:
        lines += [f"{name}: {reason.message}", *(f"  {line}" for line in reason.hint.splitlines())]
    kind = ToolMissing if isinstance(reasons[0][1], ToolMissing) else EngineError
    listed = " nor ".join(name for name, _ in reasons)
    return kind(f"no engine works here: neither {listed}", hint="\n".join(lines))
