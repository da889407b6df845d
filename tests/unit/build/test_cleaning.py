"""What `dibo clean` chooses, of values: what is of no use, by age, by size, and what stays while a build runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.build.cleaning import GRACE_SECONDS, CleanRules, CleanSelection, Stores, select
from dibo.build.engine import StoredImage
from dibo.build.store_pruning import UsedImage
from dibo.system.cache_directory import CacheItem, CacheKind

NOW = 100 * 24 * 3600.0
OLD = NOW - GRACE_SECONDS - 1
RECENT = NOW - 3600
KEY, GONE = "a" * 64, "b" * 64


def item(kind: CacheKind, name: str, *, used: float = RECENT, size: int = 1, held: bool = False) -> CacheItem:
    return CacheItem(kind=kind, path=Path("/cache") / kind.value / name, size=size, used=used, held=held)


def download(digit: str, name: str, *, used: float = RECENT, size: int = 1) -> CacheItem:
    return item(CacheKind.DOWNLOADS, f"sha256-{digit * 64}-{name}", used=used, size=size)


def image(name: str, *, used: float, epoch: str = "now", size: int = 1, tagged: bool = False) -> UsedImage:
    stored = StoredImage(
        identity=f"id-{name}", names=(name,), tagged=tagged, created=used, layers=((f"layer-{name}", size),)
    )
    return UsedImage(image=stored, used=used, known=True, epoch=epoch)


def stores(*images: UsedImage, complete: bool = True) -> Stores:
    return Stores(images={"buildah": images}, complete=complete)


def rules(**given: object) -> CleanRules:
    return CleanRules(**{"now": NOW, "epoch": "now", **given})  # type: ignore[arg-type]


def names(selection: CleanSelection) -> list[str]:
    items = [entry.path.name for entry in selection.items]
    return items + [
        name for images in selection.images.values() for entry in images for name in entry.image.names
    ]


ITEMS: Sequence[CacheItem] = (
    item(CacheKind.RUNS, "dead"),
    item(CacheKind.RUNS, "alive", held=True),
    item(CacheKind.LOCKS, "free"),
    item(CacheKind.LOCKS, "taken", held=True),
    item(CacheKind.KEYS, f"{KEY}.json"),
    item(CacheKind.KEYS, f"{GONE}.json", used=OLD),
    item(CacheKind.KEYS, f"{GONE}.origin", used=OLD),
    item(CacheKind.KEYS, "revision-key", used=OLD),
    item(CacheKind.LOGS, f"{KEY}.log"),
    item(CacheKind.LOGS, f"{GONE}.log"),
    item(CacheKind.LOGS, "defect-1.log", used=OLD),
    download("1", "root.tar", used=OLD),
    download("2", "root.tar"),
    download("3", "other.tar", used=OLD),
    item(CacheKind.DOWNLOADS, f"sha256-{'4' * 64}-other.tar.part", used=OLD),
    item(CacheKind.NOTES, "list", used=OLD),
    item(CacheKind.KITS, "kit", used=OLD),
    item(CacheKind.ARTEFACTS, "stands", used=OLD),
    replace(item(CacheKind.ARTEFACTS, "changed"), outdated=True),
)
STORES = stores(
    image(KEY, used=RECENT),
    image("earlier", used=OLD, epoch="then"),
    image("late", used=RECENT, epoch="then"),
)


def test_without_options_goes_what_is_of_no_use() -> None:
    assert names(select(ITEMS, STORES, rules())) == [
        "dead",
        "free",
        f"{GONE}.json",
        f"{GONE}.origin",
        f"{KEY}.log",
        "defect-1.log",
        f"sha256-{'1' * 64}-root.tar",
        f"sha256-{'4' * 64}-other.tar.part",
        "changed",
        "earlier",
    ]


def test_keys_stay_where_an_engine_could_not_be_asked() -> None:
    chosen = names(select(ITEMS, stores(image(KEY, used=RECENT), complete=False), rules()))
    assert not [name for name in chosen if name.endswith((".json", ".origin"))]


def test_a_running_build_keeps_what_it_may_use() -> None:
    assert names(select(ITEMS, STORES, rules(shared=True, everything=True))) == [
        "dead",
        f"{KEY}.log",
        f"{GONE}.log",
        "defect-1.log",
    ]


def test_everything_is_all_that_is_not_held_or_named_by_the_user() -> None:
    mine = image("mine", used=OLD, tagged=True)
    chosen = names(select(ITEMS, stores(image(KEY, used=RECENT), mine), rules(everything=True)))
    stay = {entry.path.name for entry in ITEMS} - set(chosen)
    assert stay == {"alive", "taken"}
    assert KEY in chosen and "mine" not in chosen


def test_by_age() -> None:
    chosen = names(select(ITEMS, STORES, rules(used_before=NOW - GRACE_SECONDS)))
    assert f"sha256-{'3' * 64}-other.tar" in chosen
    assert f"sha256-{'2' * 64}-root.tar" not in chosen
    assert "kit" not in chosen and "list" not in chosen


@pytest.mark.parametrize(
    ("most", "gone"),
    [(100, []), (25, ["sha256-" + "3" * 64 + "-c.tar"]), (15, ["sha256-" + "3" * 64 + "-c.tar", "first"])],
)
def test_by_size_the_least_recently_used_goes_first(most: int, gone: list[str]) -> None:
    items = (download("3", "c.tar", used=NOW - 30, size=10),)
    images = stores(image("first", used=NOW - 20, size=10), image("last", used=NOW - 10, size=10))
    assert names(select(items, images, rules(most=most))) == gone


def test_layers_of_two_engines_are_not_the_same() -> None:
    both = Stores(
        images={
            "buildah": (image("a", used=NOW - 9, size=10),),
            "docker": (image("a", used=NOW - 8, size=10),),
        },
        complete=True,
    )
    selection = select((), both, rules(most=10))
    assert {engine: len(images) for engine, images in selection.images.items()} == {"buildah": 1, "docker": 0}
