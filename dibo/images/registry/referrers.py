"""Referrers: manifests that name another one as their `subject`, such as its disks, bills and signatures.

    GET referrers/DIGEST    an index of them, whose descriptors have `artifactType` and `annotations`
    tag sha256-HEX          such an index, kept by clients, where a registry has no such list

OCI distribution specification 1.1, "Listing Referrers", "Pushing Manifests with Subject", "Referrers Tag Schema". Who
may write to a repository may add referrers to all that is in it: they count by their signatures alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dibo.errors import ImageError, RegistryError
from dibo.images import documents
from dibo.images.manifest import INDEX_TYPES, OCI_INDEX, OCI_MANIFEST, checked, digest_of
from dibo.images.reference import ImageName
from dibo.images.registry import api

_TRIES: Final = 5
"""Of several who add to the tag at the same moment, the last one wins: each looks whether its entry is still there."""
_LONGEST_ALGORITHM: Final = 32
_LONGEST_DIGEST: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Referrer:
    """What a list says of a referrer; only its own manifest tells whether that is so."""

    digest: str
    size: int
    """Of its manifest, in bytes."""
    media_type: str
    artifact_type: str
    """What kind of thing it is; empty where nothing says so."""
    annotations: Mapping[str, str]


def tag_of(digest: str) -> str:
    """The tag of the index that stands in for the list."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:_LONGEST_ALGORITHM]}-{encoded[:_LONGEST_DIGEST]}"


def subject_of(body: bytes) -> dict[str, Any]:
    """The descriptor by which a referrer names the manifest or index `body`."""
    document = documents.parse(body, description="the manifest")
    kind = document.get("mediaType")
    if not isinstance(kind, str) or not kind:
        kind = OCI_INDEX if "manifests" in document else OCI_MANIFEST
    return {"mediaType": kind, "digest": digest_of(body), "size": len(body)}


def list_referrers(name: ImageName, digest: str) -> tuple[Referrer, ...]:
    """All that refer to the manifest with `digest`, by kind and digest; none where there is no such repository. Raises
    RegistryError, Unreachable, ImageError for entries that are no descriptors."""
    listed = api.referrers(name, digest)
    entries = _tagged(name, digest) if listed is None else listed
    by_digest = {entry.digest: entry for entry in (_referrer(entry, name) for entry in entries)}
    return tuple(sorted(by_digest.values(), key=lambda referrer: (referrer.artifact_type, referrer.digest)))


def read_referrer(name: ImageName, referrer: Referrer, subject: str) -> tuple[bytes, dict[str, Any]]:
    """The manifest of a referrer, checked: its bytes and what it says. Raises VerificationFailed, and RegistryError
    where it refers to something else than `subject`."""
    description = f"{name.host}/{name.repository}@{referrer.digest}"
    body = api.read_manifest(name.at(referrer.digest))
    _, document = checked(body, description=description, expected=referrer.digest)
    named = document.get("subject")
    if not isinstance(named, dict) or named.get("digest") != subject:
        raise RegistryError(
            f"{description} is listed as a referrer of {subject[:19]}, and names another subject",
            hint="do not use it; report it to the operator of the registry",
        )
    return body, document


def push_referrer(
    name: ImageName, body: bytes, *, tag: str | None = None, replaces: str | None = None
) -> str:
    """Put a manifest or index with a subject, under its digest or `tag`, and see to it that it is listed, in the place
    of the one with the digest `replaces`; its digest. Raises RegistryError, Unreachable."""
    document = documents.parse(body, description="the manifest")
    digest = digest_of(body)
    kind = str(document.get("mediaType") or OCI_MANIFEST)
    target = name.tagged(tag) if tag is not None else name.at(digest)
    subject = str(document["subject"]["digest"])
    # A registry may say that it saw the subject, and have no list all the same.
    if not api.push_referrer(target, body, kind) or api.referrers(name, subject) is None:
        _list_in_tag(name, subject, _entry(document, body), replaces)
    return digest


def _entry(document: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """The descriptor of a referrer, as registries make it."""
    config = document.get("config")
    config_type = config.get("mediaType") if isinstance(config, dict) else None
    entry: dict[str, Any] = {
        "mediaType": str(document.get("mediaType") or OCI_MANIFEST),
        "digest": digest_of(body),
        "size": len(body),
        "artifactType": document.get("artifactType") or config_type,
        "annotations": document.get("annotations"),
    }
    return {key: value for key, value in entry.items() if value}


def _list_in_tag(name: ImageName, subject: str, entry: Mapping[str, Any], replaces: str | None) -> None:
    """Add a descriptor to the index that the subject's tag has."""
    place = name.tagged(tag_of(subject))
    for _ in range(_TRIES):
        listed = _tagged(name, subject)
        digests = [descriptor.get("digest") for descriptor in listed]
        if entry["digest"] in digests and (replaces in (None, entry["digest"]) or replaces not in digests):
            return
        entries = [old for old in listed if old.get("digest") not in (replaces, entry["digest"])]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries, entry]}
        body = json.dumps(index, separators=(",", ":"), sort_keys=True).encode()
        api.push_manifest(place, body, OCI_INDEX)
    raise RegistryError(
        f"{place} loses what is added to it: others write there at the same time",
        hint="push again; a registry with the referrers API needs no such tag",
    )


def _tagged(name: ImageName, digest: str) -> Sequence[dict[str, Any]]:
    """What the index under the subject's tag lists; nothing where there is none."""
    place = name.tagged(tag_of(digest))
    try:
        _, document = checked(api.read_manifest(place), description=str(place))
    except RegistryError as error:
        if error.status == 404:
            return ()
        raise
    entries = document.get("manifests")
    if document.get("mediaType") not in (None, *INDEX_TYPES) or not isinstance(entries, list):
        raise ImageError(
            f"{place} is no index, and that tag is for the list of referrers",
            hint="remove the tag: OCI distribution specification 1.1, Referrers Tag Schema",
        )
    if len(entries) > api.MOST_REFERRERS:
        raise RegistryError(f"{place} lists more than {api.MOST_REFERRERS} referrers")
    return [entry for entry in entries if isinstance(entry, dict)]


def _referrer(entry: Mapping[str, Any], name: ImageName) -> Referrer:
    description = f"a list of referrers in {name.host}/{name.repository}"
    descriptor = documents.parse_descriptor(entry, description=description)
    annotations = entry.get("annotations")
    kind = entry.get("artifactType")
    return Referrer(
        digest=descriptor.digest,
        size=descriptor.size,
        media_type=descriptor.media_type,
        artifact_type=kind if isinstance(kind, str) else "",
        annotations={
            str(key): value
            for key, value in (annotations if isinstance(annotations, dict) else {}).items()
            if isinstance(value, str)
        },
    )
