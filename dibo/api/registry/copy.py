"""A tree of manifests from one repository to another: each blob and manifest once, by its digest."""

from __future__ import annotations

from dataclasses import dataclass

from dibo.artefacts.registry_tree import SIGNATURE, RegistryNode
from dibo.images.byte_count import ByteCount
from dibo.images.documents import Descriptor
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.images.registry.referrers import push_referrer
from dibo.system.report import Report
from dibo.trust import attached


@dataclass(slots=True, kw_only=True)
class CopyCount:
    """What was copied, or would be."""

    manifests: int = 0
    """That the target did not have."""
    present: int = 0
    """Blobs that it has."""
    mounted: int = 0
    """Blobs that the registry takes from the other repository."""
    sent: int = 0
    sent_bytes: int = 0


class TreeCopier:
    """Copies from the repository of `source` to that of `target`, or only counts. Methods raise RegistryError,
    Unreachable, VerificationFailed."""

    def __init__(self, source: ImageName, target: ImageName, report: Report, *, dry_run: bool) -> None:
        self._source = ImageName(host=source.host, repository=source.repository, scheme=source.scheme)
        self._target = ImageName(host=target.host, repository=target.repository, scheme=target.scheme)
        self._report, self._dry_run = report, dry_run
        self._seen: set[str] = set()
        self.count = CopyCount()

    def copy(self, node: RegistryNode) -> None:
        """Copy a manifest with its images and its referrers; give it no name."""
        for image in node.images:
            self.copy(image)
        self._manifest(node)
        for referrer in node.referrers:
            if referrer.kind == SIGNATURE:
                self._signatures(referrer, node.digest)
            else:
                self._referrer(referrer)

    def _manifest(self, node: RegistryNode) -> None:
        if api.head(self._target.at(node.digest)) is not None:
            self._count_present(node)  # a registry takes no manifest whose blobs it does not have
            return
        self._blobs(node)
        self.count.manifests += 1
        if not self._dry_run:
            api.push_manifest(self._target.at(node.digest), node.body, node.media_type)

    def _referrer(self, node: RegistryNode) -> None:
        self.copy(node)
        if self._dry_run:
            return
        if "subject" in node.document:
            push_referrer(self._target, node.body)
        if node.tag and api.head(self._target.tagged(node.tag)) is None:
            api.push_manifest(self._target.tagged(node.tag), node.body, node.media_type)
        elif node.tag and api.head(self._target.tagged(node.tag)) != node.digest:
            self._report.warn(f"{self._target.tagged(node.tag)} stays as it is: it is another one there")

    def _signatures(self, node: RegistryNode, subject: str) -> None:
        """Signatures, beside those that there are: cosign has one manifest for all of an image."""
        place = self._target.tagged(attached.tag_of(subject))
        if node.tag != place.tag:  # of another tool, or before others were added
            self._referrer(node)
            return
        stored = api.head(place)
        if stored == node.digest:
            self._count_present(node)
            return
        self._blobs(node)
        self.count.manifests += 1
        if self._dry_run:
            return
        if stored is not None:
            attached.merge(self._target, subject, node.document)
        elif "subject" in node.document:
            push_referrer(self._target, node.body, tag=place.tag)
        else:
            api.push_manifest(place, node.body, node.media_type)

    def _count_present(self, node: RegistryNode) -> None:
        new = {blob.digest for blob in node.blobs} - self._seen
        self._seen |= new
        self.count.present += len(new)

    def _blobs(self, node: RegistryNode) -> None:
        for blob in node.blobs:
            if blob.digest not in self._seen:
                self._seen.add(blob.digest)
                self._blob(blob)

    def _blob(self, blob: Descriptor) -> None:
        if api.exists(self._target, blob.digest):
            self.count.present += 1
            return
        near = self._source.host == self._target.host
        if self._dry_run:
            if near:
                self.count.mounted += 1
            else:
                self._count_sent(blob)
            return
        with self._report.task(f"copy {blob.digest[:19]}", minor=True) as task:
            count = ByteCount(task.progress, blob.size)
            sent = api.push_blob(
                self._target,
                blob.digest,
                blob.size,
                count.opener(lambda: api.open_blob(self._source, blob.digest, blob.size)),
                mount_from=self._source.repository if near else "",
            )
        if sent:
            self._count_sent(blob)
        else:
            self.count.mounted += 1

    def _count_sent(self, blob: Descriptor) -> None:
        self.count.sent += 1
        self.count.sent_bytes += blob.size
