"""Layers on their way into caches, while the next step runs.

One thread takes them in the order in which they were made. For each: blobs first, each looked for before it is packed
and sent; then the tag is looked at again. Where somebody else's manifest came first, it stays; else ours is put. So an
interrupted push leaves blobs that nobody refers to, which registries collect, and never half an entry; and two runners
at once need no lock.

What cannot be stored is a warning at the end, one for each registry, and not an error.
"""

from __future__ import annotations

import contextlib
import io
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from dibo import entry, registry
from dibo.cache import Found, Remote
from dibo.entry import Stored
from dibo.errors import DiboError, Interrupted, RegistryError, Unreachable
from dibo.gate import Gate
from dibo.image import Image, Layer, Reader
from dibo.manifest import OCI_MANIFEST, digest_of
from dibo.names import ImageName
from dibo.pack import pack
from dibo.ports import Store
from dibo.report import Report
from dibo.units import human_size

_BIG_WAIT = 15.0  # seconds to wait for a thread that was told to stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A layer to publish: its key, what it is made of, and what lies below."""

    key: str
    ingredients: str
    titles: tuple[str, ...]
    """Of the base and of each step up to this one."""
    below: tuple[str, ...]
    """Keys of the layers below, the base's first."""

    @property
    def title(self) -> str:
        return self.titles[-1]


class _Stopped(BaseException):
    """The build was interrupted."""


class Publisher:
    """Takes layers, stores them in the background. A context manager that waits at its end."""

    def __init__(
        self,
        remotes: Sequence[Remote],
        store: Store,
        *,
        directory: Path,
        compression: str,
        refresh: bool,
        report: Report,
        origins: Sequence[tuple[ImageName, Image]] = (),
    ) -> None:
        """`directory` is for packed layers. `origins` are images in registries that may have blobs we need."""
        self._remotes = [remote for remote in remotes if remote.writes]
        self._store, self._directory = store, directory
        self._compression, self._refresh, self._report = compression, refresh, report
        self._origins = origins
        self._queue: queue.SimpleQueue[Item | Found | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._have: dict[tuple[ImageName, str], Stored] = {}
        """What a repository has of a layer, by its diff_id."""
        self._held_back: dict[str, str] = {}
        """Why a layer must not leave, by its diff_id."""
        self._failed: dict[ImageName, str] = {}
        self._lost: dict[ImageName, list[str]] = {}
        self._stored: dict[ImageName, int] = {}
        self._sent = 0

    def add(self, item: Item) -> None:
        """Store a layer that the engine has, soon."""
        if self._remotes:
            self._begin()
            self._queue.put(item)

    def used(self, found: Found) -> None:
        """Note that an entry was used, soon."""
        if any(remote.name == found.where for remote in self._remotes):
            self._begin()
            self._queue.put(found)

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
        if error is not None and not isinstance(error, DiboError):
            self._stop.set()
        self._queue.put(None)
        if self._stop.is_set():
            self._thread.join(_BIG_WAIT)
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
            thread.join(_BIG_WAIT)
            raise

    def _say(self) -> None:
        for remote in self._remotes:
            if count := self._stored.get(remote.name, 0):
                layers = "1 layer" if count == 1 else f"{count} layers"
                self._report.say(f"stored {layers} in {remote.name} ({human_size(self._sent)} sent)")
            if lost := self._lost.get(remote.name):
                self._report.warn(
                    f"not stored in {remote.name}: {'; '.join(lost)}\n  {self._failed.get(remote.name, '')}".rstrip()
                )
        for why in dict.fromkeys(self._held_back.values()):
            self._report.warn(
                f"{why}: this layer and those above it stay on this machine"
                "\n  take it out, or write `local: true` into the flavour that brings it"
            )

    # The thread

    def _work(self) -> None:
        with contextlib.suppress(_Stopped):
            while (item := self._queue.get()) is not None and not self._stop.is_set():
                if isinstance(item, Found):
                    for remote in self._remotes:
                        if remote.name == item.where:
                            remote.mark(item)
                else:
                    self._publish(item)

    def _publish(self, item: Item) -> None:
        targets = []
        for remote in self._remotes:
            if item.key in remote.there and not self._refresh:
                continue
            if remote.off or remote.name in self._failed:
                self._failed.setdefault(remote.name, remote.off)
                self._lost.setdefault(remote.name, []).append(item.title)
            else:
                targets.append(remote)
        if not targets:
            return
        try:
            image = self._store.image(item.key)
        except (DiboError, OSError) as error:
            for remote in targets:
                self._lose(remote, item, error)
            return
        for layer in image.layers:
            targets = self._bring(layer, targets, item)
        for remote in targets:
            with self._losing(remote, item):
                self._put(remote, item, image)

    def _bring(self, layer: Layer, targets: list[Remote], item: Item) -> list[Remote]:
        """See to it that `targets` have a layer; those that do."""
        assert layer.diff_id is not None
        having: list[Remote] = []
        lacking: list[Remote] = []
        for remote in targets:
            with self._losing(remote, item):
                (having if self._has(remote, layer.diff_id, item) else lacking).append(remote)
        if not lacking:
            return having
        if layer.diff_id in self._held_back:
            return having
        path = self._directory / "layer"
        try:
            gate = Gate(base=not item.below)
            stored = pack(layer, path, compression=self._compression, gate=gate, go_on=self._go_on)
        except (DiboError, OSError) as error:
            for remote in lacking:
                self._lose(remote, item, error)
            return having
        if gate.found:
            self._held_back[layer.diff_id] = f"{item.title} has {gate.found[0]}"
            path.unlink()
            return having
        for remote in lacking:
            with self._losing(remote, item):
                self._send(remote, layer.diff_id, stored, path)
                having.append(remote)
        path.unlink()
        return having

    def _has(self, remote: Remote, diff_id: str, item: Item) -> bool:
        """Whether a repository has a layer, be it that the registry takes it from another."""
        if (remote.name, diff_id) in self._have:
            return True
        for key in (item.key, *reversed(item.below)):
            found = remote.find(key) if key in remote.there else None
            if found is not None:
                for each, stored in found.stored.items():
                    self._have.setdefault((remote.name, each), stored)
                break
        if (remote.name, diff_id) in self._have:
            return True
        return any(
            self._mounted(remote, diff_id, place, image)
            for place, image in self._origins
            if place.host == remote.name.host
        )

    def _mounted(self, remote: Remote, diff_id: str, place: ImageName, image: Image) -> bool:
        for layer in image.layers:
            if layer.diff_id == diff_id and layer.digest and layer.size is not None:
                stored = Stored(digest=layer.digest, size=layer.size, media_type=layer.media_type)
                if registry.mount(remote.name, stored.digest, mount_from=place.repository):
                    self._have[remote.name, diff_id] = stored
                    return True
        return False

    def _send(self, remote: Remote, diff_id: str, stored: Stored, path: Path) -> None:
        if not registry.exists(remote.name, stored.digest):
            registry.push_blob(remote.name, stored.digest, stored.size, lambda: self._open(path))
            self._sent += stored.size
        self._have[remote.name, diff_id] = stored

    def _put(self, remote: Remote, item: Item, image: Image) -> None:
        diff_ids = [layer.diff_id or "" for layer in image.layers]
        composed = entry.compose(
            image.config,
            key=item.key,
            ingredients=item.ingredients,
            titles=item.titles,
            layers=[self._have[remote.name, diff_id] for diff_id in diff_ids],
            diff_ids=diff_ids,
            created=f"{datetime.now(tz=UTC):%Y-%m-%dT%H:%M:%SZ}",
        )
        config = digest_of(composed.config)
        if not registry.exists(remote.name, config):
            registry.push_blob(remote.name, config, len(composed.config), lambda: _in_memory(composed.config))
        name = remote.name.tagged(entry.tag_of(item.key))
        first = None if self._refresh else registry.head(name)
        self._go_on()
        if first is None:
            first = registry.push_manifest(name, composed.manifest, OCI_MANIFEST)
            self._stored[remote.name] = self._stored.get(remote.name, 0) + 1
        remote.there[item.key] = first

    @contextlib.contextmanager
    def _losing(self, remote: Remote, item: Item) -> Iterator[None]:
        try:
            yield
        except (DiboError, OSError) as error:
            self._lose(remote, item, error)

    def _lose(self, remote: Remote, item: Item, error: Exception) -> None:
        """A layer is not stored there; after trouble that will not pass, no other is tried."""
        text = error.message if isinstance(error, DiboError) else str(error)
        self._lost.setdefault(remote.name, []).append(item.title)
        if isinstance(error, RegistryError | Unreachable):
            self._failed[remote.name] = text
        else:
            self._failed.setdefault(remote.name, text)

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _open(self, path: Path) -> AbstractContextManager[Reader]:
        return _Checked(path, self)


class _Checked:
    """A file that is no longer read when the build was interrupted."""

    def __init__(self, path: Path, publisher: Publisher) -> None:
        self._file = path.open("rb")
        self._publisher = publisher

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int, /) -> bytes:
        self._publisher._go_on()
        return self._file.read(size)


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[Reader]:
    yield io.BytesIO(data)
