"""Layers on their way into caches, while the next step runs.

One thread takes them in the order in which they were made. For each: blobs first, each looked for before it is packed
and sent; then the tag is looked at again. A manifest that another process put meanwhile stays; otherwise this one is
put. So two runners at once need no lock. Input files of a layer follow it where they are to be stored, too.

What cannot be stored is a warning at the end, one for each registry, and not an error.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from dibo.build.engine import Store
from dibo.cache import entry
from dibo.cache.input_sets import InputSet, InputWriter
from dibo.cache.lookup import CacheRepository
from dibo.cache.upload import Uploader, UploadOptions
from dibo.errors import DiboError, Interrupted, LocalLayers
from dibo.images.image import Image
from dibo.images.manifest import digest_of
from dibo.images.registry import api
from dibo.plan.input_files import InputFile
from dibo.plan.labels import KEY_LABEL
from dibo.system.report import Report
from dibo.units import counted, human_size

_STOP_SECONDS = 15.0  # to wait for a thread that was told to stop


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingLayer:
    """A layer to publish: its key, what it is made of, and what lies below."""

    key: str
    ingredients: str
    titles: tuple[str, ...]
    """Of the base and of each step up to this one."""
    below: tuple[str, ...]
    """Keys of the layers below, the base's first."""
    seconds: str = ""
    """How long building each of them took, and this one: dibo.build.step_times."""

    @property
    def title(self) -> str:
        return self.titles[-1]


@dataclass
class _Destination:
    """A registry, and how storing goes there."""

    remote: CacheRepository
    sender: Uploader
    inputs: InputWriter
    stored: int = 0
    lost: list[str] = field(default_factory=list)
    failed: str = ""
    """Why no more layers are stored there."""
    inputs_failed: str = ""
    """Why no more input files are."""


class _Stopped(BaseException):
    """The build was interrupted."""


class Publisher:
    """Takes layers, stores them in the background. A context manager that waits at its end."""

    def __init__(
        self,
        remotes: Sequence[CacheRepository],
        store: Store,
        options: UploadOptions,
        *,
        refresh: bool,
        report: Report,
        find_input: Callable[[InputFile], Path | None] = lambda _: None,
    ) -> None:
        """With `refresh`, entries that are there are replaced, and blobs that are there are checked. `find_input` says
        where an input file is on this machine."""
        self._store, self._refresh, self._report = store, refresh, report
        self._targets = [
            _Destination(
                remote,
                Uploader(
                    remote.name,
                    replace(options, check_present=refresh),
                    damaged=remote.damaged,
                    check_cancelled=self._check_cancelled,
                    report=report,
                ),
                InputWriter(
                    remote,
                    [origin for origin in remotes if origin.reads],
                    find=find_input,
                    check_cancelled=self._check_cancelled,
                ),
            )
            for remote in remotes
            if remote.writes
        ]
        self._queue: queue.SimpleQueue[PendingLayer | InputSet | str | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._held_back: dict[str, LocalLayers] = {}

    def add(self, item: PendingLayer) -> None:
        """Store a layer that the engine has, soon."""
        if self._targets:
            self._begin()
            self._queue.put(item)

    def add_inputs(self, inputs: InputSet) -> None:
        """Store the input files of a layer, soon, where they are here."""
        if self._targets:
            self._begin()
            self._queue.put(inputs)

    def used(self, key: str) -> None:
        """Note that an entry was used, where it is, soon."""
        if any(target.remote.usable(key) for target in self._targets):
            self._begin()
            self._queue.put(key)

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="cache", daemon=True)
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        self._queue.put(None)
        if error is not None and not isinstance(error, DiboError):
            self._stop.set()
            self._thread.join(_STOP_SECONDS)
            return
        self._wait(self._thread)
        self._say()

    def _wait(self, thread: threading.Thread) -> None:
        try:
            thread.join(1.0)
            if thread.is_alive():
                with self._report.task("storing layers in the cache"):
                    thread.join()
        except (Interrupted, KeyboardInterrupt):
            self._stop.set()
            thread.join(_STOP_SECONDS)
            raise

    def _say(self) -> None:
        for target in self._targets:
            name = target.remote.name
            if target.stored:
                layers = counted(target.stored, "layer")
                self._report.say(f"stored {layers} in {name} ({human_size(target.sender.sent)} sent)")
            if target.inputs.stored:
                files = counted(target.inputs.stored, "input file")
                self._report.say(f"stored {files} in {name} ({human_size(target.inputs.sent)} sent)")
            if target.inputs_failed:
                self._report.warn(f"not all input files are stored in {name}: {target.inputs_failed}")
            if target.lost:
                self._report.warn(f"not stored in {name}: {'; '.join(target.lost)}\n  {target.failed}")
        for error in self._held_back.values():
            self._report.warn(f"{error.message}\n  {error.hint}")

    # The thread

    def _work(self) -> None:
        with contextlib.suppress(_Stopped):
            while (item := self._queue.get()) is not None:
                for target in self._targets:
                    self._check_cancelled()
                    if isinstance(item, PendingLayer):
                        self._store_in(target, item)
                    elif isinstance(item, InputSet):
                        self._store_inputs(target, item)
                    elif (cached := target.remote.find(item)) is not None:
                        target.remote.mark(cached)

    def _store_in(self, target: _Destination, item: PendingLayer) -> None:
        remote = target.remote
        if remote.usable(item.key) and not self._refresh:
            return
        target.failed = target.failed or remote.down
        if target.failed:
            target.lost.append(item.title)
            return
        try:
            self._publish(target, item)
        except LocalLayers as error:
            self._held_back.setdefault(error.message, error)
        except (DiboError, OSError) as error:
            target.lost.append(item.title)
            target.failed = error.message if isinstance(error, DiboError) else str(error)

    def _store_inputs(self, target: _Destination, inputs: InputSet) -> None:
        if target.inputs_failed or target.failed or target.remote.down:
            return
        try:
            target.inputs.store(inputs)
        except (DiboError, OSError) as error:
            target.inputs_failed = error.message if isinstance(error, DiboError) else str(error)

    def _publish(self, target: _Destination, item: PendingLayer) -> None:
        remote, sender = target.remote, target.sender
        image = self._store.image(item.key)
        below = next((key for key in reversed(item.below) if remote.usable(key)), None)
        cached = remote.find(below) if below is not None else None
        if cached is not None:
            sender.learn(cached.stored)
        for layer in image.layers:
            sender.bring(layer, title=item.title, base=not item.below)
        name = remote.name.tagged(entry.tag_of(item.key))
        first = None if self._refresh else api.head(name)
        if first is None or first in remote.replaceable:
            documents = _documents(item, image, sender, avoid=remote.damaged)
            digest = digest_of(documents.manifest)
            remote.trust.sign(
                name, digest, annotations={KEY_LABEL: item.key}
            )  # first: nobody sees it unsigned
            first = sender.put(documents, name)
            target.stored += 1
        remote.digests[item.key] = first
        remote.refused.pop(item.key, None)

    def _check_cancelled(self) -> None:
        if self._stop.is_set():
            raise _Stopped


def _documents(
    item: PendingLayer, image: Image, sender: Uploader, *, avoid: Collection[str]
) -> entry.ImageDocuments:
    return entry.compose(
        image.config,
        entry.Provenance(
            key=item.key, ingredients=item.ingredients, titles=item.titles, seconds=item.seconds
        ),
        layers=sender.stored(image),
        made=f"{datetime.now(tz=UTC):%Y-%m-%dT%H:%M:%SZ}",
        avoid=avoid,
    )
