"""Which engine builds: the one that was asked for, or the first that works here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NoReturn, cast

from dibo.build.engine import Engine
from dibo.build.engines.buildah import (
    Buildah,
    remove_container,
    require_namespace,
    require_subordinate_ids,
    require_version,
)
from dibo.errors import DiboError, EngineError, ToolMissing
from dibo.settings.settings import AUTO
from dibo.system.docker_api import seems_there
from dibo.system.loop.sweep import sweep as sweep_loop
from dibo.system.report import Report
from dibo.system.workspace import Run


def _sweep_docker(value: str) -> None:
    from dibo.build.engines.docker import sweep

    sweep(value)


SWEEPERS: Final[Mapping[str, Callable[[str], None]]] = {
    "container": remove_container,
    "docker": _sweep_docker,
    "loop": sweep_loop,
}
"""What removes the things that a killed run's journal names, by the kind of thing."""


@contextlib.contextmanager
def engine(name: str, *, run: Run, report: Report) -> Iterator[Engine]:
    """The engine `name`, or for `auto` the first that works: buildah, then docker.

    Raises EngineError and ToolMissing when the one that is asked for, or every one, does not work here.
    """
    if name == AUTO:
        reason = why_not_buildah()
        if reason is None:
            yield Buildah(run, report)
            return
        with contextlib.ExitStack() as stack:
            try:
                docker = stack.enter_context(_docker(run, report))
            except DiboError as error:
                raise _neither(reason, error) from error
            report.warn(f"building with docker, since buildah does not work here: {reason.message}")
            yield docker
    elif name == "docker":
        with _docker(run, report) as docker:
            yield docker
    else:
        yield Buildah(run, report)


@contextlib.contextmanager
def _docker(run: Run, report: Report) -> Iterator[Engine]:
    from dibo.build.engines.docker import Docker
    from dibo.system.docker_api import connected

    with run.scratch() as scratch, connected(scratch=scratch) as daemon:
        yield Docker(daemon, run, report)


class _Absent:
    """In place of an engine where none works: whatever is asked of it, it says why there is none."""

    def __init__(self, reason: DiboError) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        raise self._reason


def absent(reason: DiboError) -> Engine:
    """An engine that raises `reason` at first use."""
    return cast(Engine, _Absent(reason))


def why_not_buildah() -> DiboError | None:
    """What can be seen at once, and, where docker could build instead, whether namespaces can be entered. What else
    can be wrong, a build meets with a better error than this could be."""
    try:
        require_version()
        if os.geteuid() != 0:
            require_subordinate_ids()
        if seems_there():
            require_namespace()
    except DiboError as error:
        return error
    return None


def _neither(buildah: DiboError, docker: DiboError) -> DiboError:
    """ToolMissing when it was buildah that could be installed: the nearest way out decides on the exit code."""
    lines = [f"buildah: {buildah.message}", *(f"  {line}" for line in buildah.hint.splitlines())]
    lines += [f"docker: {docker.message}", *(f"  {line}" for line in docker.hint.splitlines())]
    kind = ToolMissing if isinstance(buildah, ToolMissing) else EngineError
    return kind("no engine works here: neither buildah nor docker", hint="\n".join(lines))
