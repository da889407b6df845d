"""The input files of a layer in a registry (dibo.cache.input_files): stored, summed up, checked, removed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from dibo.build.archives.archive import file_digest
from dibo.cache.entry import CREATED
from dibo.cache.lookup import CacheRepository
from dibo.cache.upload import WatchedFile, in_memory
from dibo.errors import DiboError, RegistryError, VerificationFailed
from dibo.images.manifest import OCI_EMPTY, OCI_MANIFEST, checked, digest_of
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.plan.input_files import InputFile, package_file
from dibo.plan.plan import Plan
from dibo.plan.recipe import Step

FILES: Final = "io.dibo.files"
FILES_TYPE: Final = "application/vnd.dibo.files.v1"
FILE_TYPE: Final = "application/octet-stream"
_TITLE: Final = "org.opencontainers.image.title"
_TAG: Final = re.compile(r"f-([0-9a-f]{64})")
_TOGETHER: Final = 4
_CHUNK: Final = 1 << 20
_NOTHING: Final = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSet:
    """The input files of one layer, sorted."""

    files: tuple[InputFile, ...]

    @property
    def name(self) -> str:
        return hashlib.sha256("\n".join(file.sha256 for file in self.files).encode()).hexdigest()


def is_set(tag: str) -> bool:
    return _TAG.fullmatch(tag) is not None


def tag_of(name: str) -> str:
    return f"f-{name}"


def sets_of(plan: Plan) -> dict[str, InputSet]:
    """Of layers that have input files, and may leave this machine, by key."""
    files = {plan.base_key: [package_file(package) for package in plan.resolution.base]}
    for planned in plan.steps:
        if planned.step.local:
            break
        files[planned.key] = list(_of_step(planned.step))
    return {key: _set_of(listed) for key, listed in files.items() if listed}


def _of_step(step: Step) -> Iterable[InputFile]:
    yield from (package_file(package) for package in step.resolved or ())
    for _, fetched in step.fetched:
        yield from (InputFile(sha256=file.sha256, name=file.name) for file in fetched)


def _set_of(files: Iterable[InputFile]) -> InputSet:
    return InputSet(files=tuple(sorted({file.sha256: file for file in files}.values(), key=_sha256)))


def _sha256(file: InputFile) -> str:
    return file.sha256


class InputWriter:
    """Stores sets in one registry. `find` says where a file is on this machine; `check_cancelled` may raise, to stop.
    Methods raise RegistryError, Unreachable, OSError."""

    def __init__(
        self,
        remote: CacheRepository,
        origins: Sequence[CacheRepository],
        *,
        find: Callable[[InputFile], Path | None],
        check_cancelled: Callable[[], None],
    ) -> None:
        """`origins` are repositories that the registry may take files over from."""
        self._repository = remote.name
        self._find, self._check_cancelled = find, check_cancelled
        same_host = [origin.name.repository for origin in origins if origin.name.host == remote.name.host]
        self._mount_from = next((name for name in same_host if name != remote.name.repository), "")
        self._known: set[str] = set()
        self.stored, self.sent = 0, 0
        """Files, and their bytes."""

    def store(self, inputs: InputSet) -> None:
        """Have a set there. Nothing happens where some of its files are neither here nor there."""
        name = self._repository.tagged(tag_of(inputs.name))
        if inputs.name in self._known or api.head(name) is not None:
            self._known.add(inputs.name)
            return
        with ThreadPoolExecutor(_TOGETHER) as pool:
            sizes = list(pool.map(self._bring, inputs.files))
        listed = [(file, size) for file, size in zip(inputs.files, sizes, strict=True) if size is not None]
        if len(listed) < len(inputs.files):
            return
        if not api.exists(self._repository, digest_of(_NOTHING)):
            api.push_blob(self._repository, digest_of(_NOTHING), len(_NOTHING), partial(in_memory, _NOTHING))
        self._check_cancelled()
        api.push_manifest(name, _manifest(inputs.name, listed), OCI_MANIFEST)
        self._known.add(inputs.name)

    def _bring(self, file: InputFile) -> int | None:
        """The size of a file that is in the repository then; None for one that is not on this machine either."""
        self._check_cancelled()
        digest = f"sha256:{file.sha256}"
        size = api.size_of_blob(self._repository, digest)
        if size is not None:
            return size
        path = self._find(file)
        if path is None or file_digest(path) != file.sha256:
            return None
        size = path.stat().st_size
        source = partial(WatchedFile, path, self._check_cancelled)
        if api.push_blob(self._repository, digest, size, source, mount_from=self._mount_from):
            self.stored += 1
            self.sent += size
        return size


def _manifest(name: str, listed: Iterable[tuple[InputFile, int]]) -> bytes:
    layers = [
        {
            "mediaType": FILE_TYPE,
            "digest": f"sha256:{file.sha256}",
            "size": size,
            "annotations": {_TITLE: file.name},
        }
        for file, size in listed
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": FILES_TYPE,  # codespell:ignore artifact
        "config": {"mediaType": OCI_EMPTY, "digest": digest_of(_NOTHING), "size": len(_NOTHING)},
        "layers": layers,
        "annotations": {FILES: name, CREATED: f"{datetime.now(tz=UTC):%Y-%m-%dT%H:%M:%SZ}"},
    }
    return json.dumps(document, sort_keys=True).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSetSummary:
    """As much of a set as its manifest says."""

    name: str
    digest: str
    made: str
    """As CREATED has it; empty where nothing says it."""
    blobs: tuple[tuple[str, int], ...]
    """(digest, bytes) of each file."""


def summary(repository: ImageName, tag: str) -> InputSetSummary | None:
    """The set behind a tag, None for what is no set. Raises RegistryError, Unreachable."""
    try:
        digest, manifest = checked(api.read_manifest(repository.tagged(tag)), description=tag)
        blobs = tuple((str(layer["digest"]), int(layer["size"])) for layer in manifest["layers"])
    except RegistryError as error:
        if error.status not in (0, 404):
            raise
        return None
    except (KeyError, TypeError, ValueError):
        return None
    return InputSetSummary(name=tag.removeprefix("f-"), digest=digest, made=_made(manifest), blobs=blobs)


def _made(manifest: Mapping[str, Any]) -> str:
    notes = manifest.get("annotations")
    return str(notes.get(CREATED, "")) if isinstance(notes, dict) else ""


def total_size(sets: Iterable[InputSetSummary], *, without: Collection[InputSetSummary] = ()) -> int:
    """Bytes of all files of sets, each counted once, that are in none of the others."""
    left = {digest for entry in without for digest, _ in entry.blobs}
    blobs = dict(blob for entry in sets for blob in entry.blobs)
    return sum(size for digest, size in blobs.items() if digest not in left)


def remove(repository: ImageName, sets: Iterable[InputSetSummary]) -> None:
    """Raises RegistryError, Unreachable."""
    for entry in sets:
        api.delete(repository.at(entry.digest))


def faults(
    repository: ImageName, sets: Iterable[InputSetSummary], *, on_progress: Callable[[str], None]
) -> list[str]:
    """Which files of sets are not what they should be, a line each."""
    lines = []
    for digest, size in sorted({blob for entry in sets for blob in entry.blobs}):
        on_progress(f"file {digest}")
        try:
            _check(repository, digest, size)
        except DiboError as error:
            lines.append(f"{digest[:19]}: {error.message}")
    return lines


def _check(repository: ImageName, digest: str, size: int) -> None:
    actual = hashlib.sha256()
    with api.open_blob(repository, digest, size) as stream:
        while data := stream.read(_CHUNK):
            actual.update(data)
    if digest != f"sha256:{actual.hexdigest()}":
        raise VerificationFailed(f"the file has the digest sha256:{actual.hexdigest()}")
