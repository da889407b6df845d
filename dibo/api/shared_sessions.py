"""One run for many images: what they have in common is looked up once, be it a catalogue, a base, or what an engine's
store holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from dibo.api.session import Session, new_run, open_session
from dibo.build import build as spine
from dibo.build import host_hooks, stacks
from dibo.build.bases.settings import base_settings
from dibo.build.engine import Setup
from dibo.flavours.loader import Catalogue
from dibo.flavours.stack import Stack
from dibo.plan.base import Base
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.system.workspace import Run, Workspace

_OF_A_SESSION: Final = (
    "engine", "isolation", "network", "caches_from", "caches_to", "architecture", "variant", "sign_key",
    "verify_keys", "policy", "refresh", "layer_compression", "cache_files",
)  # fmt: skip
"""Settings that images must have in common to be planned in one session."""


class SharedSessions:
    """Sessions in one run, which end with it."""

    def __init__(self, workspace: Workspace, run: Run, report: Report, stack: ExitStack) -> None:
        self.workspace, self.run = workspace, run
        self._report, self._stack = report, stack
        self._catalogues: dict[tuple[Path, ...], Catalogue] = {}
        self._sessions: dict[tuple[object, ...], Session] = {}
        self._bases: dict[object, Base] = {}

    @property
    def opened(self) -> tuple[Session, ...]:
        """All of them, in the order in which they were opened."""
        return tuple(self._sessions.values())

    def stack(self, settings: Settings) -> Stack:
        """The requested flavours, and those that they need. Files of those that are read are copied into the run.
        Raises DiboError."""
        path = settings.flavours_path
        if path not in self._catalogues:
            self._catalogues[path] = spine.catalogue(settings, copies=self.run.subdirectory("flavours"))
        elements = self.run.subdirectory("elements")
        stack = stacks.make_any_stack(settings, self._catalogues[path], copies=elements)
        host_hooks.require_allowed(stack, settings.host_hooks)
        return stack

    def session(self, settings: Settings) -> Session:
        """The session that such settings share; those that it has are of the first that asked. Raises DiboError."""
        kind = tuple(getattr(settings, name) for name in _OF_A_SESSION)
        if kind not in self._sessions:
            setup = Setup(run=self.run, report=self._report)
            self._sessions[kind] = self._stack.enter_context(
                open_session(settings, setup, workspace=self.workspace)
            )
        return self._sessions[kind]

    def job(self, session: Session, stack: Stack) -> spine.Job:
        """The plan of the layers of `stack`, with the settings of the session. Raises DiboError."""
        settings = stacks.settings_of(session.settings, stack)
        kind = (settings.base, base_settings(settings))
        if kind not in self._bases:
            self._bases[kind] = spine.base_of(settings, workspace=self.workspace, report=self._report)
        return session.job(stack, base=self._bases[kind])


@contextmanager
def shared_sessions(settings: Settings, report: Report) -> Iterator[SharedSessions]:
    """A run for images whose settings name the same cache directory as `settings`."""
    with new_run(settings) as (workspace, run), ExitStack() as stack:
        yield SharedSessions(workspace, run, report, stack)
