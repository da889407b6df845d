"""What `dibo clean` takes: of the cache directory, and of the stores of engines.

By default only what no build with the settings of now has a use for:

    runs         of processes that were killed
    locks        that no process holds
    keys         of layers that no engine has
    logs         of steps that were built since, or that were not read for a week
    downloads    that a newer one of the same name replaced, or that broke off; after a week
    artefacts    records of artefacts that are gone or were changed since
    unpacked     layers that were read before, and not for a week
    layers       failed states, images without a name; of other epochs, after a week
    kits, notes  never

What a build that runs may use stays: while one does (`CleanRules.shared`), only runs and logs are taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dibo.build import store_pruning
from dibo.build.engine import StoredImage
from dibo.build.store_pruning import Rules, UsedImage
from dibo.system.cache_directory import CacheItem, CacheKind

GRACE_SECONDS: Final = 7 * 24 * 3600
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_NEEDS_PEACE: Final = frozenset(CacheKind) - {CacheKind.RUNS, CacheKind.LOGS}
"""Kinds that a build reads, or writes before it has what they are for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanRules:
    """Times are in seconds since 1970, sizes in bytes."""

    now: float
    epoch: str
    everything: bool = False
    """Whether all goes that is not in use."""
    used_before: float | None = None
    """What was last used before goes, besides what is of no use."""
    most: int | None = None
    """Layers and downloads may take that much: beyond it, what was not used for the longest time goes."""
    shared: bool = False
    """Whether a build runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What the stores of engines have, by the engine's name. `complete` says whether that is all that there is."""

    images: Mapping[str, Sequence[UsedImage]]
    complete: bool

    @property
    def keys(self) -> frozenset[str]:
        names = (name for images in self.images.values() for entry in images for name in entry.image.names)
        return frozenset(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanSelection:
    """What goes. Images are in the order in which they should: none before what lies on it."""

    items: tuple[CacheItem, ...]
    images: Mapping[str, tuple[UsedImage, ...]]


def select(items: Sequence[CacheItem], stores: Stores, rules: CleanRules) -> CleanSelection:
    """Decide what goes; pure."""
    going = [item for item in items if _may_go(item, rules) and _must_go(item, items, stores, rules)]
    images = {
        engine: () if rules.shared else store_pruning.doomed(stored, _of_store(rules))
        for engine, stored in stores.images.items()
    }
    if rules.most is not None and not rules.shared:
        return _beyond(items, stores, CleanSelection(items=tuple(going), images=images), rules.most)
    return CleanSelection(items=tuple(going), images=images)


def _of_store(rules: CleanRules) -> Rules:
    before = float("inf") if rules.everything else rules.used_before
    return Rules(
        epoch=rules.epoch, epoch_before=rules.now - GRACE_SECONDS, used_before=before, leftovers=True
    )


def _may_go(item: CacheItem, rules: CleanRules) -> bool:
    return not item.held and not (rules.shared and item.kind in _NEEDS_PEACE)


def _must_go(item: CacheItem, items: Sequence[CacheItem], stores: Stores, rules: CleanRules) -> bool:
    if rules.everything or item.kind in (CacheKind.RUNS, CacheKind.LOCKS):
        return True
    is_old = item.used < rules.now - GRACE_SECONDS
    is_unused = rules.used_before is not None and item.used < rules.used_before
    match item.kind:
        case CacheKind.KEYS:  # what else is there, such as the key of revisions, is for no layer
            is_key = _KEY.fullmatch(item.name) is not None
            return is_key and stores.complete and item.name not in stores.keys
        case CacheKind.LOGS:
            return is_old or is_unused or item.name in stores.keys
        case CacheKind.UNPACKED:
            return is_old or is_unused
        case CacheKind.ARTEFACTS:
            return item.outdated
        case CacheKind.DOWNLOADS:
            return is_unused or (is_old and (_broke_off(item) or _is_replaced(item, items)))
    return False


def _broke_off(item: CacheItem) -> bool:
    return not item.path.name.startswith("sha256-") or ".part" in item.path.name


def _is_replaced(item: CacheItem, items: Sequence[CacheItem]) -> bool:
    return any(
        newer.kind is item.kind
        and newer.name == item.name
        and not _broke_off(newer)
        and newer.used > item.used
        for newer in items
    )


def _beyond(items: Sequence[CacheItem], stores: Stores, going: CleanSelection, most: int) -> CleanSelection:
    """What goes besides, so that layers and downloads take at most so much. A download is an image of one layer here,
    and layers of several engines are different ones."""
    downloads = {
        str(item.path): item
        for item in items
        if item.kind is CacheKind.DOWNLOADS and not item.held and item not in going.items
    }
    entries = [_as_image(item) for item in downloads.values()]
    owners: dict[str, tuple[str, UsedImage]] = {}
    for engine, images in stores.images.items():
        for entry in images:
            if entry not in going.images[engine]:
                layers = tuple((f"{engine} {layer}", size) for layer, size in entry.image.layers)
                identity = f"{engine} {entry.image.identity}"
                owners[identity] = engine, entry
                entries.append(replace(entry, image=replace(entry.image, identity=identity, layers=layers)))
    gone = [entry.image.identity for entry in store_pruning.doomed(entries, Rules(most=most))]
    more = {engine: [*images] for engine, images in going.images.items()}
    for engine, entry in (owners[identity] for identity in gone if identity in owners):
        more[engine].append(entry)
    return CleanSelection(
        items=(*going.items, *(downloads[identity] for identity in gone if identity in downloads)),
        images={
            engine: tuple(sorted(images, key=lambda entry: -len(entry.image.layers)))
            for engine, images in more.items()
        },
    )


def _as_image(item: CacheItem) -> UsedImage:
    image = StoredImage(
        identity=str(item.path),
        names=(str(item.path),),
        tagged=False,
        created=item.used,
        layers=((str(item.path), item.size),),
    )
    return UsedImage(image=image, used=item.used, known=True, epoch="")
