"""`dibo push` of an OCI layout in a tar, such as `-t containerdisk` makes: it arrives as the image that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dibo.errors import ImageError
from dibo.formats import magic
from dibo.images import documents
from dibo.images.manifest import OCI_MANIFEST
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.images.sources.archive import open_archive
from dibo.images.sources.files import ArchiveFiles
from dibo.system.report import Report
from dibo.trust.policy import Trust
from dibo.units import human_size

_INDEX: Final = "index.json"


def is_image_archive(path: Path, head: bytes) -> bool:
    """Whether the file, which begins with `head`, is a tar with an OCI layout. Raises ImageError."""
    if magic.archive(head) != "tar":
        return False
    with open_archive(path, scratch=None) as files:
        return files.size("oci-layout") is not None and files.size(_INDEX) is not None


def push_archive(path: Path, name: ImageName, *, trust: Trust, report: Report) -> str:
    """Push the one image in the archive under `name`; the digest of its manifest. Raises ImageError, RegistryError,
    Unreachable, VerificationFailed."""
    with open_archive(path, scratch=None) as files:
        body = _manifest(files, path)
        manifest = documents.parse_manifest(
            documents.parse(body, description=str(path)), description=str(path)
        )
        for blob in (*manifest.layers, manifest.config):
            with report.task(f"push {blob.digest[:19]}") as task:
                task.note(human_size(blob.size) if _send(files, name, blob) else "it is there already")
        trust.sign_manifest(name, body)
        return api.push_manifest(name, body, OCI_MANIFEST)


def _manifest(files: ArchiveFiles, path: Path) -> bytes:
    """The bytes of the manifest that index.json names."""
    description = files.describe(_INDEX)
    entries = documents.index_entries(
        documents.parse(files.read(_INDEX), description=description), description=description
    )
    if entries is None or len(entries) != 1 or entries[0].media_type != OCI_MANIFEST:
        raise ImageError(
            f"{path} holds not exactly one image", hint="push several with skopeo copy oci-archive:…"
        )
    body = files.read(_blob(entries[0].digest))
    documents.verify(body, entries[0].digest, description=str(path))
    return body


def _send(files: ArchiveFiles, name: ImageName, blob: documents.Descriptor) -> bool:
    """Whether it had to be sent. The registry checks its digest."""
    if api.exists(name, blob.digest):
        return False
    if files.size(_blob(blob.digest)) != blob.size:
        raise ImageError(
            f"{files.describe(_blob(blob.digest))} is missing, or not as long as its manifest says"
        )
    api.push_blob(name, blob.digest, blob.size, lambda: files.open(_blob(blob.digest)))
    return True


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
