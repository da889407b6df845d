"""`dibo promote`: an image or artefact from one repository to another, by its digest, with all that refers to it.

Policy first, then blobs, manifests, referrers and signatures, all by digest; the tag comes last, so that an interrupted
copy changes nothing that has a name. What the target has is not sent again, and within a registry blobs are mounted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dibo.api.documents import CommandAnswer, Document, new_document
from dibo.api.registry.copy import CopyCount, TreeCopier
from dibo.api.registry.subject import subject_name
from dibo.artefacts.registry_tree import (
    ATTESTATION,
    INDEX,
    PROVENANCE,
    SIGNATURE,
    RegistryNode,
    read_tree,
)
from dibo.cache.push_image import target
from dibo.errors import ImageError, SignatureError, UsageError
from dibo.images.reference import ImageName, parse_repository
from dibo.images.registry import api
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.trust.policy import Trust, trust_of
from dibo.trust.statements import LARGEST, parse_statement
from dibo.units import counted, human_size

_SHOWN = 12
"""Digits of a digest in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteOptions:
    """How to copy."""

    dry_run: bool = False
    """Say what would be copied."""
    skip_unsigned: bool = False
    """Leave behind what refers to the image and may not be used, instead of copying nothing."""


def promote(
    settings: Settings, report: Report, source: str, destination: str, *, options: PromoteOptions
) -> CommandAnswer:
    """Copy `source` to `destination`; HOST/PATH:TAG@DIGEST. Raises UsageError, RegistryError, Unreachable,
    VerificationFailed, SignatureError for what the policy does not accept, ImageError for what cannot be copied."""
    name = subject_name(source)
    destination_name = _destination(destination, name)
    trust = trust_of(settings)
    trust.require_chance(name)
    with report.task(f"read {name}"):
        top = _verified_tree(trust, name)
        accepted, left = _accepted(trust, name, top, skip=options.skip_unsigned)
    for line in left:
        report.warn(f"left behind: {line}")
    copier = TreeCopier(name, destination_name, report, dry_run=options.dry_run)
    with report.task(f"{'compare with' if options.dry_run else 'copy to'} {destination_name}") as task:
        copier.copy(accepted)
        if not options.dry_run:
            _sign(trust, destination_name, accepted)
            api.push_manifest(destination_name, accepted.body, accepted.media_type)
        task.note(f"{human_size(copier.count.sent_bytes)} {'to send' if options.dry_run else 'sent'}")
    return _answer(f"{destination_name}@{top.digest}", accepted, copier.count, left, options)


def _destination(text: str, source: ImageName) -> ImageName:
    """Where to; with the tag of the source where none is given."""
    try:
        repository = parse_repository(text)
    except UsageError:
        return target(text)
    if source.tag is None:
        raise UsageError(
            f"{text!r} has no tag, and {source} has none that could be taken over", hint=f"write {text}:TAG"
        )
    return repository.tagged(source.tag)


def _verified_tree(trust: Trust, name: ImageName) -> RegistryNode:
    """What is at `name`. Raises SignatureError unless that is signed: itself, or each image of an index that is not."""
    digest, _ = api.manifest(name)
    try:
        trust.verify(name, digest)
    except SignatureError as unsigned:
        top = read_tree(name.at(digest))
        if top.kind != INDEX or not top.images:
            raise
        try:
            for image in top.images:
                trust.verify(name, image.digest)
        except SignatureError:
            raise unsigned from None
        return top
    return read_tree(name.at(digest))


def _accepted(
    trust: Trust, name: ImageName, top: RegistryNode, *, skip: bool
) -> tuple[RegistryNode, list[str]]:
    """The tree of what may be copied, and what else there is. Raises SignatureError for that, unless `skip`."""
    repository = ImageName(host=name.host, repository=name.repository, scheme=name.scheme)
    refused: list[str] = []

    def sifted(node: RegistryNode) -> RegistryNode:
        kept = []
        for referrer in node.referrers:
            if reason := _refusal(trust, repository, referrer, node.digest):
                refused.append(f"{_title(referrer)} of {node.digest[7 : 7 + _SHOWN]}: {reason}")
            else:
                kept.append(sifted(referrer))
        return replace(node, referrers=tuple(kept), images=tuple(map(sifted, node.images)))

    for node in (top, *top.images):
        if node.problem:
            raise ImageError(f"{name} cannot be copied: {node.digest}: {node.problem}")
    accepted = sifted(top)
    if refused and not skip:
        error = SignatureError(
            f"{counted(len(refused), 'referrer')} of {name} may not be used: {refused[0]}",
            hint="have the publisher sign it, remove it, or leave it behind: --skip-unsigned",
        )
        error.details = tuple(refused)
        raise error
    return accepted, refused


def _refusal(trust: Trust, repository: ImageName, referrer: RegistryNode, subject: str) -> str:
    """Why a referrer may not be copied; empty where it may. Signatures may: they count by themselves alone."""
    if referrer.problem:
        return referrer.problem
    if referrer.kind == SIGNATURE:
        return ""
    try:
        trust.verify(repository, referrer.digest)
    except SignatureError as error:
        if referrer.kind in (ATTESTATION, PROVENANCE) and _is_signed_statement(
            trust, repository, referrer, subject
        ):
            return ""
        return error.message
    return ""


def _is_signed_statement(trust: Trust, repository: ImageName, referrer: RegistryNode, subject: str) -> bool:
    """Whether it is a statement about `subject` that a key of the policy signed."""
    keys = trust.policy.rule(repository).keys
    for blob in referrer.blobs[1:]:
        try:
            data = api.read_small(repository, blob.digest, limit=LARGEST)
            statement = parse_statement(data, description=referrer.digest)
        except SignatureError:
            return False
        if statement.signer(keys) is None or subject.partition(":")[2] not in statement.digests:
            return False
    return len(referrer.blobs) > 1


def _sign(trust: Trust, destination_name: ImageName, top: RegistryNode) -> None:
    """Sign what was copied for its new place, if there is a key."""
    trust.sign_manifest(destination_name, top.body)
    repository = ImageName(
        host=destination_name.host, repository=destination_name.repository, scheme=destination_name.scheme
    )
    for node in top.walk():
        if node is not top and node.kind != SIGNATURE:
            trust.sign_manifest(repository, node.body)


def _title(node: RegistryNode) -> str:
    return f"{node.kind} {node.title}" if node.title else f"{node.kind} {node.digest[7 : 7 + _SHOWN]}"


def _answer(
    reference: str, top: RegistryNode, count: CopyCount, left: list[str], options: PromoteOptions
) -> CommandAnswer:
    lines = [reference]
    if options.dry_run:
        lines += [f"  {line}" for line in _plan(top, count)]
    fields: Document = {
        "reference": reference,
        "dry_run": options.dry_run,
        "manifests": sum(1 for _ in top.walk()),
        "new_manifests": count.manifests,
        "blobs": {
            "present": count.present,
            "mounted": count.mounted,
            "sent": count.sent,
            "sent_bytes": count.sent_bytes,
        },
        "left": left,
    }
    return CommandAnswer(text="\n".join(lines), document=new_document("promote", **fields))


def _plan(top: RegistryNode, count: CopyCount) -> Iterator[str]:
    total = sum(1 for _ in top.walk())
    yield f"{counted(total, 'manifest')}: {count.manifests} to copy, {total - count.manifests} present"
    yield (
        f"blobs: {count.sent} to send ({human_size(count.sent_bytes)}), {count.mounted} to mount, "
        f"{count.present} present"
    )
    for node in top.walk():
        yield f"{node.kind}  {node.digest}{f'  {node.title}' if node.title else ''}"
