"""The settings of this process: what it was asked for, by the clock and on the machine that it has."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dibo.build.engines.names import require_known
from dibo.errors import UsageError
from dibo.projects.model import Project, ProjectImage
from dibo.projects.settings import search_paths, settings_of
from dibo.settings.settings import Options, Settings, decide
from dibo.system import resources


def current_settings(
    options: Options, environment: Mapping[str, str], *, project: Project | None = None
) -> Settings:
    """The settings of a command. With a project, what any of its images finds is found. Raises UsageError for invalid
    ones."""
    decided = decide(
        _with_epoch_of_lock(options),
        environment,
        now=datetime.now(tz=UTC),
        machine=platform.machine(),
        home=resources.home(),
        project=Options() if project is None else search_paths(project),
    )
    return _with_known_engine(decided, options)


def image_settings(image: ProjectImage, options: Options, environment: Mapping[str, str]) -> Settings:
    """The settings of a command that is for an image of a project file. Raises UsageError for invalid ones."""
    decided = settings_of(
        image,
        _with_epoch_of_lock(options),
        environment,
        now=datetime.now(tz=UTC),
        machine=platform.machine(),
        home=resources.home(),
    )
    return _with_known_engine(decided, options)


def _with_known_engine(settings: Settings, options: Options) -> Settings:
    """Raises UsageError for an engine that is none."""
    require_known(settings.engine, set_by="DIBO_ENGINE" if options.engine is None else "--engine")
    return settings


def _with_epoch_of_lock(options: Options) -> Options:
    """A lock names the epoch, too. Raises ManifestError for a file that is none, UsageError for two epochs."""
    if options.lock is None:
        return options
    from dibo.build.archives.locked import read_lock

    path = Path(options.lock).absolute()
    epoch = read_lock(path).epoch
    if options.epoch not in (None, epoch):
        raise UsageError(
            f"--epoch {options.epoch} and a lock of the epoch {epoch} contradict each other",
            hint="leave out one of them",
        )
    return replace(options, lock=str(path), epoch=epoch)


def this_architecture() -> str:
    """Of this machine, in the words of the kernel."""
    return platform.machine()
