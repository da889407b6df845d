"""Files on their way from one machine to another, through a registry: one blob, a tar compressed with zstd, in a
manifest under a tag. Its digest is known to the receiver, who checks it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final

import zstandard

from dibo.artefacts.oci_artefact import EMPTY, ArtefactFile, compose
from dibo.errors import DiboError, ImageError, RegistryError, VerificationFailed
from dibo.images.image import Reader
from dibo.images.manifest import OCI_MANIFEST, digest_of
from dibo.images.reference import ImageName
from dibo.images.registry import api

PARCEL: Final = "application/vnd.dibo.parcel.v1"
_LEVEL: Final = 1
"""Of zstd: most is compressed already, or zeros."""
_CHUNK: Final = 1 << 20
_BLOCK: Final = 64 << 10
"""Zeros of this length become holes again."""


def send(name: ImageName, contents: Mapping[str, Path], *, scratch: Path) -> str:
    """Push files and directories under their names in the parcel; the digest of its manifest. `scratch` is a directory
    with room for all of them, compressed. Raises RegistryError, Unreachable, OSError."""
    with tempfile.TemporaryFile(dir=scratch) as file:
        with (
            zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file, closefd=False) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            for title, path in contents.items():
                tar.add(path, title)
        size = file.tell()
        file.seek(0)
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

        @contextlib.contextmanager
        def opened() -> Iterator[Reader]:
            file.seek(0)
            yield file

        if not api.exists(name, digest):
            api.push_blob(name, digest, size, opened)
    empty = digest_of(EMPTY)
    if not api.exists(name, empty):
        api.push_blob(name, empty, len(EMPTY), lambda: contextlib.nullcontext(io.BytesIO(EMPTY)))
    content = ArtefactFile(title="parcel.tar.zst", media_type=f"{PARCEL}.tar+zstd", digest=digest, size=size)
    return api.push_manifest(name, compose(PARCEL, [content]), OCI_MANIFEST)


def receive(name: ImageName, digest: str, target: Path) -> None:
    """Have what is in the parcel in the directory `target`. Raises RegistryError, Unreachable, VerificationFailed for
    other bytes, ImageError for what is no parcel, OSError."""
    body = api.read_manifest(name.at(digest))
    if digest_of(body) != digest:
        raise VerificationFailed(f"registry {name.host} sent another manifest than {digest} of {name}")
    manifest = json.loads(body)
    if manifest.get("artifactType") != PARCEL or len(manifest.get("layers", ())) != 1:
        raise ImageError(f"{name}@{digest} is no parcel of a bake")
    blob, size = str(manifest["layers"][0]["digest"]), int(manifest["layers"][0]["size"])
    with api.open_blob(name, blob, size) as stream:
        checked = _Checked(stream)
        with zstandard.ZstdDecompressor().stream_reader(checked, closefd=False) as unpacked:  # type: ignore[arg-type]
            tar = tarfile.open(fileobj=unpacked, mode="r|")  # noqa: SIM115 (it has nothing to close)
            for member in tar:
                _extract(tar, member, target)
            while unpacked.read(_CHUNK):
                pass
    if checked.digest != blob:
        raise VerificationFailed(f"registry {name.host} sent other bytes for {blob} of {name}")


def forget(name: ImageName) -> None:
    """Delete the parcel under this tag, where the registry lets us."""
    with contextlib.suppress(DiboError, RegistryError):
        digest = api.head(name)
        if digest:
            api.delete(name.at(digest))


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Raises ImageError for what parcels never have: it would lie outside, or is neither file, directory nor link."""
    path = _place(member.name, target)
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        path.mkdir(exist_ok=True)
        path.chmod(member.mode & 0o777 | 0o700)
    elif member.issym():
        path.symlink_to(member.linkname)
    elif member.isreg():
        content = tar.extractfile(member)
        assert content is not None
        with path.open("xb") as file:
            _copy_sparse(content, file)
            file.truncate(member.size)
        path.chmod(member.mode & 0o777)
    else:
        raise ImageError(f"{member.name} in a parcel is neither a file, a directory nor a symbolic link")


def _place(name: str, target: Path) -> Path:
    parts = name.split("/")
    path = target.joinpath(*parts)
    parents = path.relative_to(target).parents if not name.startswith("/") and ".." not in parts else None
    if parents is None or any((target / parent).is_symlink() for parent in parents):
        raise ImageError(f"{name} in a parcel would be outside of its directory")
    return path


def _copy_sparse(content: IO[bytes], file: IO[bytes]) -> None:
    zeros = bytes(_BLOCK)
    while block := content.read(_BLOCK):
        if block == zeros:
            file.seek(len(block), io.SEEK_CUR)
        else:
            file.write(block)


class _Checked:
    """A reader that knows the digest of all that was read."""

    def __init__(self, stream: Reader) -> None:
        self._stream, self._hash = stream, hashlib.sha256()

    def read(self, size: int = _CHUNK) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        return data

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"
