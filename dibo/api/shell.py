"""A shell in a layer, or in what a failed hook left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dibo.api.session import Session, new_session, stack_of
from dibo.build import context
from dibo.build.build import Job
from dibo.errors import UsageError
from dibo.settings.settings import Settings
from dibo.system.report import Report

_SHELL: Final = ("sh", "-c", 'command -v bash > /dev/null && exec bash "$@"; exec sh "$@"', "sh")
"""bash where the root has it."""


def shell(settings: Settings, report: Report, *, at: str | None, command: str | None) -> int:
    """Open a shell in the last layer of the stack, or with `at` in the layer or failed state whose name begins so; or
    run `command` there. Its exit code."""
    if at is None and not settings.flavours:
        raise UsageError("dibo shell needs flavours, or a layer with --at")
    argv = [*_SHELL, *(["-c", command] if command else ["-l"])]
    with new_session(settings, report) as session:
        job = session.job(stack_of(settings, session.run)) if settings.flavours else None
        if at is not None:
            name = _one_of(at, session.engine.names())
            directory, mount_point = _context(session, job, name)
            return session.engine.shell(name, context=directory, mount_point=mount_point, argv=argv)
        assert job is not None
        session.build(job)
        return session.engine.shell(job.plan.image_key, context=None, mount_point="", argv=argv)


def _context(session: Session, job: Job | None, name: str) -> tuple[Path | None, str]:
    """What the step that made `name` saw, and where; nothing where the stack has no such step."""
    if job is None:
        return None, ""
    key = name.removeprefix("failed-")
    planned = next((planned for planned in job.plan.steps if planned.key == key), None)
    if planned is None:
        session.report.warn(
            f"{name[:19]} is no step of this stack as it is now, so {context.MOUNT} is not mounted"
        )
        return None, ""
    directory = session.run.subdirectory("context")
    context.stage(
        planned.step, job.recipe, runner=job.runner, extra=job.extra, time=job.time, target=directory
    )
    return directory, context.mount_point(planned.step)


def _one_of(beginning: str, names: Sequence[str]) -> str:
    matching = [name for name in names if name.startswith(beginning)]
    if not matching:
        raise UsageError(
            f"there is no layer and no failed state {beginning!r}",
            hint="`dibo plan` shows the keys of layers",
        )
    if len(matching) > 1:
        raise UsageError(
            f"{beginning!r} could be {', '.join(name[:24] for name in matching[:4])}", hint="write more of it"
        )
    return matching[0]
