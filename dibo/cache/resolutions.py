"""Which packages were chosen for which state of the archives, in a registry: so a machine that has neither layers nor
lists of packages plans with a question or two.

    r-NAME            a manifest with one layer, the answer (dibo.build.archives.resolver). NAME is the digest of the
                      state of the archives and of all that was wished for; or, of a base that is a root, what it says
                      to apt (dibo.build.archives.root_packages), and NAME the digest of that base
      annotations     io.dibo.resolution: NAME; org.opencontainers.image.created

Where entries must be signed, so must be these. A registry that cannot be read, or an answer that cannot be used, leaves
the question to apt.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from dibo.cache.entry import CREATED
from dibo.cache.lookup import CacheRepository
from dibo.errors import DiboError, RegistryError
from dibo.images.manifest import OCI_EMPTY, OCI_MANIFEST, checked, digest_of
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.plan.packages import ChosenPackages, KeptText
from dibo.trust import attached

RESOLUTION: Final = "io.dibo.resolution"
RESOLUTION_TYPE: Final = "application/vnd.dibo.resolution.v1+json"
_TAG: Final = re.compile(r"r-([0-9a-f]{64})")
_LARGEST: Final = 16 << 20
_NOTHING: Final = b"{}"
_TOGETHER: Final = 8


def tag_of(name: str) -> str:
    return f"r-{name}"


def is_resolution(tag: str) -> bool:
    return _TAG.fullmatch(tag) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryResolutions:
    """The answers that registries have."""

    remotes: Sequence[CacheRepository]
    _texts: dict[str, str | None] = field(default_factory=dict)

    def expect(self, names: Sequence[str]) -> None:
        if (
            names and self.load(names[0]) is not None
        ):  # alone: an answer goes with those before it, or with none
            with ThreadPoolExecutor(_TOGETHER) as pool:
                list(pool.map(self.load, names[1:]))

    def load(self, name: str) -> str | None:
        """The first usable answer."""
        if name not in self._texts:
            reading = (remote for remote in self.remotes if remote.reads and not remote.off)
            texts = (self._read(remote, name) for remote in reading)
            self._texts[name] = next((text for text in texts if text is not None), None)
        return self._texts[name]

    def _read(self, remote: CacheRepository, name: str) -> str | None:
        tagged = remote.name.tagged(tag_of(name))
        try:
            digest, manifest = checked(api.read_manifest(tagged), description=str(tagged))
            remote.trust.verify(tagged, digest, annotations={RESOLUTION: name})
            text = api.read_small(remote.name, str(manifest["layers"][0]["digest"]), limit=_LARGEST).decode()
        except (DiboError, IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
            is_absent = isinstance(error, RegistryError) and error.status == 404
            if isinstance(error, DiboError) and not is_absent:
                remote.trouble(error, "has chosen packages that cannot be used, so apt is asked")
            return None
        remote.resolutions.add(name)
        return text

    def save(self, answers: Iterable[ChosenPackages | KeptText]) -> None:
        """Have answers where layers are stored. What goes wrong costs another machine a question."""
        for answer in answers:
            for remote in self.remotes:
                if remote.writes and not remote.down and answer.name not in remote.resolutions:
                    with contextlib.suppress(DiboError):
                        self._write(remote, answer.name, answer.text)

    def _write(self, remote: CacheRepository, name: str, text: str) -> None:
        tagged = remote.name.tagged(tag_of(name))
        if api.head(tagged) is None:
            body = text.encode()
            _push(remote.name, body)
            _push(remote.name, _NOTHING)
            manifest = json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": OCI_MANIFEST,
                    "artifactType": RESOLUTION_TYPE,  # codespell:ignore artifact
                    "config": {"mediaType": OCI_EMPTY, "digest": digest_of(_NOTHING), "size": len(_NOTHING)},
                    "layers": [{"mediaType": RESOLUTION_TYPE, "digest": digest_of(body), "size": len(body)}],
                    "annotations": {
                        RESOLUTION: name,
                        CREATED: f"{datetime.now(tz=UTC):%Y-%m-%dT%H:%M:%SZ}",
                    },
                },
                sort_keys=True,
            ).encode()
            remote.trust.sign(tagged, digest_of(manifest), annotations={RESOLUTION: name})
            api.push_manifest(tagged, manifest, OCI_MANIFEST)
        remote.resolutions.add(name)


def remove_old(repository: ImageName, *, before: datetime) -> None:
    """Delete answers that were stored before a moment. Raises RegistryError, Unreachable."""
    for tag in filter(is_resolution, api.tags(repository)):
        digest, manifest = api.manifest(repository.tagged(tag))
        notes = manifest.get("annotations")
        made = str(notes.get(CREATED, "")) if isinstance(notes, dict) else ""
        if made < f"{before:%Y-%m-%dT%H:%M:%SZ}":
            signatures = api.head(repository.tagged(attached.tag_of(digest)))
            if signatures:
                api.delete(repository.at(signatures))
            api.delete(repository.at(digest))


def _push(repository: ImageName, body: bytes) -> None:
    if not api.exists(repository, digest_of(body)):
        api.push_blob(
            repository, digest_of(body), len(body), lambda: contextlib.nullcontext(io.BytesIO(body))
        )
