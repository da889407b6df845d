"""The door to the system's notifications of changed files (inotify(7) on Linux), by watchfiles.

A thread collects what changes, so that nothing is missed while a build runs. Directories are watched with all below
them; a file is watched through its directory, because editors replace files instead of writing to them.

Where there are no notifications, as on network file systems and on volumes of some containers, WATCHFILES_FORCE_POLLING
makes watchfiles look at the files instead.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final, Self

from dibo.errors import DiboError, ToolMissing

_QUIET_MILLISECONDS: Final = 200
"""What changes within this time of another change is told with it: editors and git write several files."""
_LONGEST_MILLISECONDS: Final = 2000
"""But after this time it is told in any case."""
_LATEST: Final = 1.0
_MISSING: Final = "install it where dibo is: pip install watchfiles (the extra `watch` of dibo)"


class FileWatcher:
    """Watches while it is open, as a context manager. Raises ToolMissing without watchfiles, and DiboError where the
    system refuses to watch."""

    def __init__(self, *, trees: Iterable[Path], files: Iterable[Path] = ()) -> None:
        self._trees = sorted({path.resolve() for path in trees})
        self._files = {path.absolute() for path in files}
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._error: Exception | None = None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        try:
            import watchfiles  # noqa: F401  whether it is there
        except ImportError:
            raise ToolMissing("--watch needs the Python package watchfiles", hint=_MISSING) from None
        directories = sorted({path.parent for path in self._files if path.parent.is_dir()})
        for paths, recursive in ((self._trees, True), (directories, False)):
            if paths:
                thread = threading.Thread(
                    target=self._watch, args=(paths,), kwargs={"recursive": recursive}, daemon=True
                )
                thread.start()
                self._threads.append(thread)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def has_changed(self) -> bool:
        """Whether something has changed since `wait` returned last."""
        return self._changed.is_set()

    def wait(self) -> None:
        """Wait until something changes, or has since the last call. Raises DiboError."""
        while not self._changed.wait(_LATEST):
            self._raise_error()
        self._changed.clear()
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise DiboError(
                f"cannot watch files: {self._error}",
                hint="the limit of inotify is fs.inotify.max_user_watches (sysctl); WATCHFILES_FORCE_POLLING=1 does "
                "without inotify",
            )

    def _watch(self, paths: Collection[Path], *, recursive: bool) -> None:
        from watchfiles import watch

        try:
            for changes in watch(
                *paths,
                watch_filter=None,
                debounce=_LONGEST_MILLISECONDS,
                step=_QUIET_MILLISECONDS,
                stop_event=self._stop,
                recursive=recursive,
                ignore_permission_denied=True,
            ):
                if recursive or any(Path(path) in self._files for _, path in changes):
                    self._changed.set()
        except Exception as error:  # told by the thread that waits
            self._error = error
            self._changed.set()
