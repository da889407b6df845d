"""Input files in a registry: files of packages, and those that flavours have fetched.

    f-NAME            a manifest whose layers are the input files of one layer. NAME is the digest of their digests
      annotations     io.dibo.files: NAME; org.opencontainers.image.created
      of a layer      org.opencontainers.image.title: the name of the file

A file is asked for by its digest, which a key covers, and its bytes are checked: a blob with that digest is the file.
So the manifest is read for no build, and not signed: it keeps the garbage collector of the registry from the blobs.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from dibo.cache.lookup import SLOWEST, CacheRepository
from dibo.errors import DiboError, RegistryError, VerificationFailed
from dibo.images.registry import api
from dibo.plan.input_files import InputFile
from dibo.units import OnBytes

LARGEST: Final = 16 << 30
"""Bytes of one file."""
_MOST_ABSENT: Final = 3
"""Files that a repository lacks, before any that it has: then it is asked only for what no server has."""
_CHUNK: Final = 1 << 20


class RegistryInputs:
    """Reads input files from registries, in the order of asking. Threads may share it."""

    def __init__(self, remotes: Sequence[CacheRepository]) -> None:
        self.remotes = tuple(remotes)

    def bring(
        self, file: InputFile, target: Path, *, on_bytes: OnBytes | None = None, urgent: bool = False
    ) -> bool:
        return any(
            _read(remote, file, target, on_bytes)
            for remote in self.remotes
            if remote.reads and not remote.off and _may_have(remote, file, urgent=urgent)
        )


def _may_have(remote: CacheRepository, file: InputFile, *, urgent: bool) -> bool:
    is_hopeful = remote.has_files or len(remote.absent_files) < _MOST_ABSENT
    return file.sha256 not in remote.absent_files and (urgent or is_hopeful)


def _read(remote: CacheRepository, file: InputFile, target: Path, on_bytes: OnBytes | None) -> bool:
    try:
        _download(remote, file, target, on_bytes)
    except OSError:  # of the disk: a download from elsewhere fails by it, too, and says so
        return False
    except DiboError as error:
        remote.absent_files.add(file.sha256)
        if not isinstance(error, RegistryError) or error.status != 404:
            remote.trouble(error, f"has {file.name} in a state that cannot be used")
        return False
    remote.has_files = True
    return True


def _download(remote: CacheRepository, file: InputFile, target: Path, on_bytes: OnBytes | None) -> None:
    """Raises OSError beside what registries raise."""
    blob = f"sha256:{file.sha256}"
    size = file.size if file.size is not None else api.size_of_blob(remote.name, blob)
    if size is None or size > LARGEST:
        raise RegistryError(f"{remote.name} has no {file.name}", status=404)
    digest, done = hashlib.sha256(), 0
    with api.open_blob(remote.name, blob, size, slowest=SLOWEST) as stream, _replacing(target) as part:
        while data := stream.read(_CHUNK):
            part.write(data)
            digest.update(data)
            done += len(data)
            if on_bytes is not None:
                on_bytes(done, size)
        if digest.hexdigest() != file.sha256:
            raise VerificationFailed(
                f"registry {remote.name.host} sent other bytes for {blob} of {remote.name}",
                hint="the blob there is damaged; report it to the operator of the registry",
            )


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    """A file that becomes `target` at the end, unless something is raised."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f"{target.name[:71]}-", suffix=".part", delete=False
    ) as part:
        path = Path(part.name)
        try:
            yield part
            part.flush()
            path.chmod(0o644)
            path.replace(target)
        finally:
            path.unlink(missing_ok=True)
