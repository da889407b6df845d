"""What is in a cache, and what should go: list and prune.

An entry's age counts from its last use: the newest of when it was made and its marks (dibo.cache.entry). Only
tags of dibo's
own are looked at and removed. Registries delete manifests by digest, and with one all its tags: an entry whose
manifest also has a tag that is not dibo's is left alone.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from dibo.cache import entry, input_sets, resolutions
from dibo.cache.input_sets import InputSetSummary
from dibo.errors import DiboError, RegistryError, VerificationFailed
from dibo.images import documents
from dibo.images.manifest import checked
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.trust import attached
from dibo.units import counted, human_size

_TOGETHER: Final = 8
_NO_DELETE: Final = (400, 401, 403, 405, 501)
_POLICY: Final = (
    "allow it there (docker-registry: REGISTRY_STORAGE_DELETE_ENABLED=true), or have the registry itself remove "
    "tags k-*, t-*, r-* and f-* after some weeks"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySummary:
    """As much of an entry as its manifest says. Sizes in bytes."""

    key: str
    digest: str
    title: str
    made: datetime | None
    used: datetime | None
    """When it was last used, as far as is known; of marks, the end of the day."""
    blobs: tuple[tuple[str, int], ...]
    """(digest, size) of config and layers."""
    unique: int = 0
    """Bytes that no other entry has."""
    foreign: str = ""
    """A tag that is not dibo's and means the same manifest."""

    @property
    def size(self) -> int:
        return sum(dict(self.blobs).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheContents:
    """A cache: `broken` are tags of entries that cannot be read, and why."""

    entries: tuple[EntrySummary, ...]
    broken: tuple[tuple[str, str], ...]
    others: tuple[str, ...]
    """Tags that are not dibo's."""
    inputs: tuple[InputSetSummary, ...] = ()
    """Sets of input files, but those whose manifest has a tag that is not dibo's."""

    @property
    def size(self) -> int:
        return sum(dict(blob for summary in self.entries for blob in summary.blobs).values())


def contents(repository: ImageName, *, now: datetime) -> CacheContents:
    """All entries of a cache, the last used first. Raises RegistryError, Unreachable."""
    tags = api.tags(repository)
    keys = [key for tag in tags if (key := entry.key_in(tag))]
    marks: dict[str, datetime] = {}
    for key, day in filter(None, map(entry.mark_in, tags)):
        marks[key] = max(day, marks.get(key, day))
    others = tuple(tag for tag in tags if not _is_ours(tag))
    with ThreadPoolExecutor(_TOGETHER) as pool:
        read = list(pool.map(partial(_entry, repository, marks=marks, now=now), keys))
        sets = list(pool.map(partial(input_sets.summary, repository), filter(input_sets.is_set, tags)))
        foreign = dict(zip(pool.map(partial(_head, repository), others), others, strict=True))
    summaries = [summary for summary in read if isinstance(summary, EntrySummary)]
    count = Counter(digest for summary in summaries for digest in dict(summary.blobs))
    entries = [
        replace(
            summary,
            unique=sum(size for digest, size in dict(summary.blobs).items() if count[digest] == 1),
            foreign=foreign.get(summary.digest, ""),
        )
        for summary in summaries
    ]
    oldest = datetime.min.replace(tzinfo=UTC)
    entries.sort(key=lambda summary: summary.used or oldest, reverse=True)
    broken = tuple(summary for summary in read if not isinstance(summary, EntrySummary))
    inputs = tuple(summary for summary in sets if summary is not None and summary.digest not in foreign)
    return CacheContents(entries=tuple(entries), broken=broken, others=others, inputs=inputs)


def _entry(
    repository: ImageName, key: str, *, marks: Mapping[str, datetime], now: datetime
) -> EntrySummary | tuple[str, str]:
    name = repository.tagged(entry.tag_of(key))
    try:
        digest, manifest = checked(api.read_manifest(name), description=str(name))
        parsed = documents.parse_manifest(manifest, description=str(name))
    except VerificationFailed as error:
        return key, error.message
    except RegistryError as error:
        if error.status not in (0, 404):
            raise
        return key, error.message
    except DiboError as error:
        return key, error.message
    made = _time(manifest)
    times = [time for time in (made, min(marks[key], now) if key in marks else None) if time is not None]
    blobs = ((descriptor.digest, descriptor.size) for descriptor in (parsed.config, *parsed.layers))
    notes = manifest.get("annotations")
    title = str(notes.get(entry.TITLE, "")) if isinstance(notes, dict) else ""
    return EntrySummary(
        key=key,
        digest=digest,
        title="".join(letter for letter in title if letter.isprintable()),
        made=made,
        used=max(times, default=None),
        blobs=tuple(blobs),
    )


def _time(manifest: Mapping[str, Any]) -> datetime | None:
    notes = manifest.get("annotations")
    with contextlib.suppress(ValueError):
        created = str(notes.get(entry.CREATED, "")) if isinstance(notes, dict) else ""
        return datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return None


def _is_ours(tag: str) -> bool:
    """Whether it is an entry's, a mark of use, or that of signatures, of chosen packages or of input files."""
    is_beside_entries = resolutions.is_resolution(tag) or input_sets.is_set(tag)
    return bool(entry.key_in(tag) or entry.mark_in(tag) or attached.digest_in(tag) or is_beside_entries)


def _head(repository: ImageName, tag: str) -> str:
    return api.head(repository.tagged(tag)) or ""


def describe(cache: CacheContents, *, now: datetime, total: bool = True) -> str:
    """A table for people. FREES is what removing that layer alone gives back: blobs that no other has."""
    if not (cache.entries or cache.broken or cache.others or cache.inputs):
        return "0 layers: the repository is empty, or the registry has none of that name"
    rows = [("KEY", "SIZE", "FREES", "MADE", "USED", "WHAT")]
    for summary in cache.entries:
        sizes = human_size(summary.size), human_size(summary.unique)
        rows.append(
            (summary.key[:12], *sizes, _ago(summary.made, now), _ago(summary.used, now), summary.title)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join([*(row[n].ljust(widths[n]) for n in range(5)), row[5]]).rstrip() for row in rows]
    lines += [f"{key[:12]}  damaged: {why}" for key, why in cache.broken]
    if not total:
        return "\n".join(lines)
    size = f"{counted(len(cache.entries), 'layer')}, {human_size(cache.size)} in all"
    if cache.inputs:
        inputs = human_size(input_sets.total_size(cache.inputs))
        size += f"; input files of {counted(len(cache.inputs), 'layer')}, {inputs}"
    others = f"; tags that are not dibo's: {len(cache.others)}" if cache.others else ""
    return "\n".join([*lines, "", f"{size}{others}"])


def _ago(then: datetime | None, now: datetime) -> str:
    if then is None:
        return "?"
    days = (now - then) // timedelta(days=1)
    return "today" if days <= 0 else f"{days} d"


def doomed(
    cache: CacheContents, *, older_than: int | None, kept: Collection[str], now: datetime
) -> tuple[EntrySummary, ...]:
    """The entries that a prune removes: those not used for `older_than` days, or all if that is None; never
    those that are `kept`, nor those whose manifest has a tag that is not dibo's."""
    limit = now - timedelta(days=older_than) if older_than is not None else now
    return tuple(
        summary
        for summary in cache.entries
        if summary.key not in kept
        and not summary.foreign
        and (older_than is None or (summary.used is not None and summary.used < limit))
    )


def doomed_inputs(
    cache: CacheContents, *, older_than: int | None, kept: Collection[str], now: datetime
) -> tuple[InputSetSummary, ...]:
    """The same of sets of input files, whose age counts from when they were stored; `kept` are names."""
    limit = now - timedelta(days=older_than) if older_than is not None else None
    return tuple(
        summary
        for summary in cache.inputs
        if summary.name not in kept and (limit is None or summary.made < f"{limit:%Y-%m-%dT%H:%M:%SZ}")
    )


def freed(cache: CacheContents, doomed: Collection[EntrySummary]) -> int:
    """Bytes that no entry has once those are gone."""
    gone = {summary.key for summary in doomed}
    left = {digest for summary in cache.entries if summary.key not in gone for digest, _ in summary.blobs}
    blobs = dict(blob for summary in doomed for blob in summary.blobs)
    return sum(size for digest, size in blobs.items() if digest not in left)


def remove(
    repository: ImageName, entries: Sequence[EntrySummary], *, removed: Callable[[EntrySummary], None]
) -> None:
    """Delete entries. Raises RegistryError, with what to do where the registry deletes nothing."""
    for summary in entries:
        try:
            _remove_signatures(repository, summary.digest)
            api.delete(repository.at(summary.digest))
        except RegistryError as error:
            if error.status in _NO_DELETE:
                error.hint = _POLICY
            raise
        removed(summary)


def _remove_signatures(repository: ImageName, digest: str) -> None:
    signatures = api.head(repository.tagged(attached.tag_of(digest)))
    if signatures:
        api.delete(repository.at(signatures))
