"""Artefacts into a repository: their files, their manifests, and the signatures of these."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from dibo.api.registry.companions import Companion
from dibo.artefacts.checksums import verified_sha256
from dibo.artefacts.oci_artefact import EMPTY, TITLE, ArtefactFile, compose
from dibo.images.byte_count import ByteCount
from dibo.images.image import Reader
from dibo.images.manifest import OCI_MANIFEST, digest_of
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.images.registry.referrers import push_referrer, subject_of
from dibo.system.report import Report
from dibo.system.task import Task
from dibo.trust.policy import Trust
from dibo.units import human_size


class ArtefactSender:
    """Sends to the repository of `name`, and signs what it sends if there is a key. Methods raise RegistryError,
    Unreachable."""

    def __init__(self, name: ImageName, trust: Trust, report: Report) -> None:
        self._name, self._trust, self._report = name, trust, report
        self._repository = ImageName(host=name.host, repository=name.repository, scheme=name.scheme)

    def send_file(self, path: Path, media_type: str) -> ArtefactFile:
        """Have the repository hold a file. Raises VerificationFailed for one that is not what its .sha256 says."""
        with self._report.task(f"push {path.name}") as task:
            content = _described(path, media_type, task)
            sent = self._send(content, path, task)
            task.note(f"{human_size(content.size)}" if sent else "it is there already")
        return content

    def put(self, kind: str, contents: Sequence[ArtefactFile], *, subject: bytes | None) -> bytes:
        """Put the manifest of an artefact: as a referrer of the manifest `subject`, or else at the name; its bytes."""
        self._send_empty()
        if subject is not None:
            titles = ", ".join(content.title for content in contents)
            manifest = compose(kind, contents, subject=subject_of(subject), annotations={TITLE: titles})
            self._refer(manifest)
            return manifest
        manifest = compose(kind, contents)
        self._trust.sign_manifest(self._name, manifest)
        api.push_manifest(self._name, manifest, OCI_MANIFEST)
        return manifest

    def attach(self, companion: Companion, *, subject: bytes) -> dict[str, str]:
        """Put a file as a referrer of the manifest `subject`; its fields in a document."""
        content = self.send_file(companion.path, companion.media_type)
        self._send_empty()
        manifest = compose(
            companion.media_type,
            [content],
            subject=subject_of(subject),
            annotations={**companion.annotations, TITLE: content.title},
        )
        self._refer(manifest)
        return {
            "digest": digest_of(manifest),
            "artifact_type": companion.media_type,
            "title": content.title,
        }

    def _refer(self, manifest: bytes) -> None:
        self._trust.sign_manifest(self._repository, manifest)
        push_referrer(self._repository, manifest)

    def _send_empty(self) -> None:
        empty = digest_of(EMPTY)
        if not api.exists(self._repository, empty):
            api.push_blob(
                self._repository, empty, len(EMPTY), lambda: contextlib.nullcontext(io.BytesIO(EMPTY))
            )

    def _send(self, content: ArtefactFile, path: Path, task: Task) -> bool:
        """Whether it had to be sent."""
        if api.exists(self._repository, content.digest):
            return False

        @contextlib.contextmanager
        def opened() -> Iterator[Reader]:
            with path.open("rb") as stream:
                yield stream

        count = ByteCount(task.progress, content.size)
        api.push_blob(self._repository, content.digest, content.size, count.opener(opened))
        return True


def _described(path: Path, media_type: str, task: Task) -> ArtefactFile:
    """With the digest, which is that of the file beside it where there is one."""
    size = path.stat().st_size
    digest = verified_sha256(path, lambda done: task.progress(done, size))
    return ArtefactFile(title=path.name, media_type=media_type, digest=f"sha256:{digest}", size=size)
