"""An image on its way into a repository of a registry: each layer looked for, taken over, or packed and sent.

Blobs go first and the manifest last, so an interrupted upload leaves unreferenced blobs, which registries
collect, and never half an image.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from dibo.cache.compress_layer import compress_layer
from dibo.cache.entry import ImageDocuments, LayerDescriptor
from dibo.cache.secret_scan import SecretScanner
from dibo.errors import LocalLayers, RegistryError
from dibo.images.byte_count import ByteCount
from dibo.images.image import Image, Layer, Reader
from dibo.images.manifest import OCI_MANIFEST, digest_of
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.system.report import Report

_VARIANTS: Final = 4
_CHUNK: Final = 1 << 20

BlobOrigin = tuple[ImageName, Image]
"""An image in a registry, and its repository: its blobs may be taken over from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOptions:
    """How layers are uploaded."""

    directory: Path
    """For one compressed layer at a time."""
    compression: str
    """zstd, gzip or none."""
    origins: Sequence[BlobOrigin] = ()
    """Images whose blobs the registry can take over, if they are in the same registry."""
    refuse_secrets: bool = True
    """Scan layers for secrets, and do not send those that have some."""
    check_present: bool = False
    """Read a blob that the repository has, and compare its digest, before it counts as present."""


class Uploader:
    """Brings layers into `repository`, and tells `report` how far it is. `damaged` are digests of blobs there whose
    content does not match. `check_cancelled` is called again and again and may raise, to stop. Methods raise
    RegistryError, Unreachable, OSError, and what reading a layer raises."""

    def __init__(
        self,
        repository: ImageName,
        options: UploadOptions,
        *,
        damaged: set[str] | None = None,
        check_cancelled: Callable[[], None] = lambda: None,
        report: Report,
    ) -> None:
        self.repository, self._report = repository, report
        self.have: dict[str, LayerDescriptor] = {}
        """What the repository has of a layer, by its diff_id."""
        self.sent = 0
        """Bytes."""
        self._options, self._check_cancelled = options, check_cancelled
        self._origins = [(name, image) for name, image in options.origins if name.host == repository.host]
        self._damaged = damaged if damaged is not None else set()
        self._held_back: dict[str, LocalLayers] = {}

    def learn(self, stored: Mapping[str, LayerDescriptor]) -> None:
        """Layers that the repository has for sure: an entry there refers to them."""
        whole = {diff_id: layer for diff_id, layer in stored.items() if layer.digest not in self._damaged}
        self.have = {**whole, **self.have}

    def stored(self, image: Image) -> list[tuple[str, LayerDescriptor]]:
        """How the repository has the layers of an image, by diff_id, once all of them were brought."""
        return [(layer.diff_id or "", self.have[layer.diff_id or ""]) for layer in image.layers]

    def bring(self, layer: Layer, *, title: str, base: bool) -> None:
        """See to it that the repository has a layer, whose bytes are a plain tar. Raises LocalLayers for one with
        secrets in it."""
        diff_id = layer.diff_id or ""
        if diff_id in self._held_back:
            raise self._held_back[diff_id]
        if diff_id in self.have or self._taken_over(diff_id):
            return
        path = self._options.directory / "layer"
        try:
            for variant in range(_VARIANTS):
                stored = self._compress(layer, path, variant, title=title, base=base)
                if self._push(stored, lambda: self._file(path), title=title):
                    break
            else:
                raise RegistryError(
                    f"{self.repository} has {_VARIANTS} damaged blobs for one layer",
                    hint="report it to the operator of the registry",
                )
        finally:
            path.unlink(missing_ok=True)
        self.have[diff_id] = stored

    def _compress(self, layer: Layer, path: Path, variant: int, *, title: str, base: bool) -> LayerDescriptor:
        scanner = SecretScanner(base=base)
        with self._report.task(f"compress {title}", minor=True) as task:

            def on_bytes(done: int) -> None:
                self._check_cancelled()
                task.progress(done, layer.size)

            stored = compress_layer(
                layer,
                path,
                compression=self._options.compression,
                variant=variant,
                scanner=scanner,
                on_bytes=on_bytes,
            )
        if scanner.findings and self._options.refuse_secrets:
            error = LocalLayers(
                f"{title} has {scanner.findings[0]}: this layer and those above it stay on this machine",
                hint="take it out, or write `local: true` into the flavour that brings it",
            )
            self._held_back[layer.diff_id or ""] = error
            raise error
        return stored

    def copy(self, layer: Layer) -> None:
        """See to it that the repository has a layer that lies in a registry, as it is stored there."""
        diff_id = layer.diff_id or ""
        if diff_id in self.have or self._taken_over(diff_id):
            return
        stored = stored_as(layer)
        assert stored is not None
        self._push(stored, layer.open, title=f"layer {stored.digest[7:19]}")
        self.have[diff_id] = stored

    def put(self, composed: ImageDocuments, name: ImageName) -> str:
        """Put a manifest whose layers are there, and its config; its digest."""
        config = composed.config
        if not api.exists(self.repository, digest_of(config)):
            api.push_blob(self.repository, digest_of(config), len(config), lambda: in_memory(config))
        self._check_cancelled()
        return api.push_manifest(name, composed.manifest, OCI_MANIFEST)

    def _taken_over(self, diff_id: str) -> bool:
        """Whether the registry takes a layer from another repository."""
        for name, image in self._origins:
            for layer in image.layers:
                stored = stored_as(layer) if layer.diff_id == diff_id else None
                if stored is None or stored.digest in self._damaged:
                    continue
                if api.mount(self.repository, stored.digest, mount_from=name.repository):
                    self.have[diff_id] = stored
                    return True
        return False

    def _push(
        self, stored: LayerDescriptor, source: Callable[[], AbstractContextManager[Reader]], *, title: str
    ) -> bool:
        """Have the repository hold a blob; False where it holds a damaged one under that digest, which no registry
        replaces."""
        if stored.digest in self._damaged:
            return False
        if not api.exists(self.repository, stored.digest):
            with self._report.task(f"send {title}", minor=True) as task:
                count = ByteCount(task.progress, stored.size)
                api.push_blob(self.repository, stored.digest, stored.size, count.opener(source))
            self.sent += stored.size
        elif self._options.check_present and not self._is_whole(stored):
            self._damaged.add(stored.digest)
            return False
        return True

    def _is_whole(self, stored: LayerDescriptor) -> bool:
        digest = hashlib.sha256()
        try:
            with api.open_blob(self.repository, stored.digest, stored.size) as stream:
                while data := stream.read(_CHUNK):
                    self._check_cancelled()
                    digest.update(data)
        except RegistryError as error:
            if error.status not in (0, 404):
                raise
            return False
        return stored.digest == f"sha256:{digest.hexdigest()}"

    def _file(self, path: Path) -> AbstractContextManager[Reader]:
        return WatchedFile(path, self._check_cancelled)


class WatchedFile:
    """A file that is read on only while `check_cancelled` does not raise."""

    def __init__(self, path: Path, check_cancelled: Callable[[], None]) -> None:
        self._file = path.open("rb")
        self._check_cancelled = check_cancelled

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int, /) -> bytes:
        self._check_cancelled()
        return self._file.read(size)


def stored_as(layer: Layer) -> LayerDescriptor | None:
    """A layer's descriptor, where all of it is known."""
    if layer.digest is None or layer.size is None:
        return None
    return LayerDescriptor(digest=layer.digest, size=layer.size, media_type=layer.media_type)


@contextlib.contextmanager
def in_memory(data: bytes) -> Iterator[Reader]:
    yield io.BytesIO(data)
