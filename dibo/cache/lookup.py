"""Layers in registries: which keys are there, and the image of one. What an entry is: dibo.cache.entry.

A cache is a help and never a condition. Whatever a registry does, a build that could go on without it goes on: the
first trouble of a registry is warned of, once, and when it is more than one bad entry the registry is not asked again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from dibo.cache import entry
from dibo.cache.entry import LayerDescriptor
from dibo.errors import DiboError, RegistryError, SignatureError, Unreachable, VerificationFailed
from dibo.images import documents
from dibo.images.image import Image, Layer
from dibo.images.manifest import OCI_MANIFEST
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.plan.labels import KEY_LABEL
from dibo.system.report import Report
from dibo.trust.policy import Trust

SLOWEST: Final = 64 << 10  # bytes a second: what comes more slowly is built sooner
_TOGETHER: Final = 8  # requests at the same time
_MOST_BAD: Final = 3  # entries that turn out bad, each perhaps after most of it was fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedImage:
    """An entry, checked as far as that goes without its layers."""

    key: str
    repository: ImageName
    digest: str
    manifest: Mapping[str, Any]
    image: Image
    ingredients: str
    signed_by: str = ""
    """The fingerprint of the key that signed it, where one must have."""

    @property
    def title(self) -> str:
        return self.annotation(entry.TITLE)

    def annotation(self, name: str) -> str:
        annotations = self.manifest.get("annotations")
        return str(annotations.get(name, "")) if isinstance(annotations, dict) else ""

    @property
    def stored(self) -> dict[str, LayerDescriptor]:
        """How each layer is stored, by its diff_id."""
        return {
            layer.diff_id: LayerDescriptor(digest=layer.digest, size=layer.size, media_type=layer.media_type)
            for layer in self.image.layers
            if layer.diff_id and layer.digest and layer.size is not None
        }


def read_entry(repository: ImageName, key: str) -> CachedImage:
    """The entry for `key`. Raises RegistryError, Unreachable, VerificationFailed, ImageError."""
    name = repository.tagged(entry.tag_of(key))
    digest, manifest = api.manifest(name)
    image = image_at(repository, digest, manifest, description=str(name))
    ingredients = entry.check(image.config, key=key, location=str(repository))
    return CachedImage(
        key=key,
        repository=repository,
        digest=digest,
        manifest=manifest,
        image=image,
        ingredients=ingredients,
    )


def image_at(repository: ImageName, digest: str, manifest: Mapping[str, Any], *, description: str) -> Image:
    """An image in a registry, of whose manifest we have digest and content; its layers are opened when they are read.
    Raises ImageError beside what registries raise."""
    if documents.index_entries(manifest, description=description) is not None:
        raise RegistryError(f"{description} is an index, expected an image")
    parsed = documents.parse_manifest(manifest, description=description)
    text = _config(repository, parsed.config.digest)
    document = documents.parse(text, description=f"the config of {description}")
    config = documents.parse_config(
        document, layers=len(parsed.layers), description=f"the config of {description}"
    )
    layers = tuple(
        Layer(
            open=partial(api.open_blob, repository, descriptor.digest, descriptor.size, slowest=SLOWEST),
            digest=descriptor.digest,
            size=descriptor.size,
            diff_id=diff_id,
            media_type=descriptor.media_type,
        )
        for descriptor, diff_id in zip(parsed.layers, config.diff_ids, strict=True)
    )
    architecture = config.platform.debian if config.platform else ""
    return Image(name=description, digest=digest, architecture=architecture, layers=layers, config=document)


def _config(repository: ImageName, digest: str) -> bytes:
    try:
        return api.read_small(repository, digest, limit=documents.LARGEST_DOCUMENT)
    except VerificationFailed as error:
        error.blob = digest
        raise


@dataclass
class CacheRepository:
    """A registry's repository, what is known of it in this run, and whether it is still asked."""

    name: ImageName
    architecture: str
    """Debian's word: entries for another are not used."""
    report: Report
    trust: Trust = field(default_factory=Trust)
    reads: bool = True
    writes: bool = True
    off: str = ""
    """Why it is not read any more."""
    down: str = ""
    """Why it is not asked for anything any more."""
    digests: dict[str, str] = field(default_factory=dict)
    """The digest of the entry of each key, empty where the registry does not say it."""
    titles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By key, the titles of the steps up to that one, where the recipe is known."""
    refused: dict[str, str] = field(default_factory=dict)
    """By key, why an entry that is there is not used."""
    damaged: set[str] = field(default_factory=set)
    """Digests of blobs that are not what they should be."""
    replaceable: set[str] = field(default_factory=set)
    """Digests of manifests of entries that cannot be used, and so give way to better ones."""
    resolutions: set[str] = field(default_factory=set)
    """Names of chosen packages that are there (dibo.cache.resolutions)."""
    has_files: bool = False
    """Whether an input file was read from there."""
    absent_files: set[str] = field(default_factory=set)
    """Digests of input files that could not be."""
    _found: dict[str, CachedImage | None] = field(default_factory=dict)
    _bad: int = 0
    _warned: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def trouble(self, error: DiboError, problem: str) -> None:
        """Warn, once for each registry. Trouble that concerns more than one entry, and the third bad entry, end
        reading; who may not read may still be allowed to write. A missing signature says nothing of other entries."""
        with self._lock:
            if not self.off and not self._warned:
                self._warned = True
                hint = f"\n  {error.hint}" if error.hint else ""
                self.report.warn(f"the cache {self.name} {problem}: {error.message}{hint}")
            status = error.status if isinstance(error, RegistryError) else 0
            if isinstance(error, Unreachable) or status not in (0, 401, 403, 404):
                self.off = self.down = error.message
            elif status in (401, 403):
                self.off = error.message
            elif not isinstance(error, SignatureError):
                self._bad += 1
                self.off = error.message if self._bad >= _MOST_BAD else ""

    def look(self, keys: Iterable[str]) -> None:
        """Learn which of `keys` are there."""

        def ask(key: str) -> None:
            if not self.off:
                try:
                    digest = api.head(self.name.tagged(entry.tag_of(key)))
                except DiboError as error:
                    self.trouble(error, "cannot be read, so dibo goes on without it")
                else:
                    if digest is not None:
                        self.digests[key] = digest

        unknown = [key for key in keys if key not in self.digests]
        if unknown and not self.off:
            ask(unknown[0])  # alone, so that a registry that is down is waited for once
        if len(unknown) > 1 and not self.off:
            with ThreadPoolExecutor(_TOGETHER) as pool:
                list(pool.map(ask, unknown[1:]))

    def find(self, key: str) -> CachedImage | None:
        """The entry for `key`, when it is there, holds what it says, and is signed where it must be."""
        if key not in self._found:
            self._found[key] = self._read(key) if key in self.digests and not self.off else None
        cached = self._found[key]
        if cached is not None and self.damaged.intersection(
            layer.digest or "" for layer in cached.image.layers
        ):
            self._refuse(cached, "it has a damaged layer")
            return None
        return cached

    def _read(self, key: str) -> CachedImage | None:
        try:
            cached = read_entry(self.name, key)
            if cached.image.architecture != self.architecture:
                raise RegistryError(
                    f"{key[:12]} there is for {cached.image.architecture or 'an unknown architecture'}, "
                    f"expected {self.architecture}"
                )
            if key in self.titles:
                entry.check_history(cached.image.config, self.titles[key], name=f"{self.name} as {key[:12]}")
            name = self.name.tagged(entry.tag_of(key))
            signer = self.trust.verify(name, cached.digest, annotations={KEY_LABEL: key})
        except DiboError as error:
            name = self.name.tagged(entry.tag_of(key))
            self.refused[key] = error.message.replace(str(name), str(self.name))  # one text for one cause
            self.damaged |= {error.blob} - {""}
            self.replaceable.add(self.digests[key])
            self.trouble(error, "has an entry that cannot be used")
            return None
        return cached if signer is None else replace(cached, signed_by=signer.fingerprint())

    def _refuse(self, cached: CachedImage, reason: str) -> None:
        self._found[cached.key] = None
        self.refused[cached.key] = reason
        self.replaceable |= {cached.digest, self.digests.get(cached.key, cached.digest)}

    def forget(self, key: str, error: DiboError) -> None:
        """An entry turned out bad while its layers were read."""
        cached = self._found.get(key)
        if cached is not None:
            self._refuse(cached, error.message)
        if error.blob and (not isinstance(error, RegistryError) or error.status in (0, 404)):
            self.damaged.add(error.blob)
        self.trouble(error, f"has {key[:12]} in a state that cannot be used, so it is built")

    def usable(self, key: str) -> bool:
        """Whether an entry is there that nothing speaks against."""
        return key in self.digests and key not in self.refused

    def mark(self, cached: CachedImage) -> None:
        """Note that an entry was used today. It is no more than a note: what goes wrong is not said."""
        if not self.writes or self.down:
            return
        name = self.name.tagged(entry.mark_of(cached.key, datetime.now(tz=UTC)))
        try:
            if api.head(name) is None:
                body = api.read_manifest(self.name.at(cached.digest))
                documents.verify(body, cached.digest, description=f"{cached.key[:12]} in {self.name}")
                api.push_manifest(name, body, str(cached.manifest.get("mediaType") or OCI_MANIFEST))
        except DiboError:
            return


class Caches:
    """All of them, in the order in which they are asked."""

    def __init__(self, remotes: Sequence[CacheRepository]) -> None:
        self.remotes = tuple(remotes)

    def expect(self, titles: Mapping[str, tuple[str, ...]]) -> None:
        """Let entries count only where their history is that of the recipe: the titles of the steps, by key."""
        for remote in self.remotes:
            remote.titles |= titles

    def look(self, keys: Sequence[str]) -> None:
        """Learn, all at once, which of `keys` are where."""
        for remote in self.remotes:
            remote.look(keys)

    def find(self, key: str) -> tuple[CacheRepository, CachedImage] | None:
        """The first entry for `key` that holds what it says; its layers are checked when they are read."""
        for remote in self.remotes:
            cached = remote.find(key) if remote.reads else None
            if cached is not None:
                return remote, cached
        return None

    def refused(self, key: str) -> str:
        """Which registry has an entry for `key` that is not used, and why; empty where there is none."""
        for remote in self.remotes:
            if key in remote.refused:
                return f"{remote.name} has it, and it is not used: {remote.refused[key]}"
        return ""

    def image(self, key: str) -> Image | None:
        """The image that ends with the layer `key`, read from where it is cached when its layers are opened."""
        located = self.find(key)
        return (
            replace(located[1].image, name=f"{located[0].name}:{entry.tag_of(key)[:14]}") if located else None
        )
