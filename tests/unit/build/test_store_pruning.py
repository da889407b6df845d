"""What goes from an engine's store, by a fake engine: age, epoch, size, leftovers, and what the user named."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from dibo.build import ingredients_store
from dibo.build.engine import Engine, StoredImage
from dibo.build.store_pruning import Rules, UsedImage, doomed, freed, keep_limit, size, used_images
from dibo.errors import EngineError
from dibo.plan.keys import canonical, key_of
from dibo.system.exclusive import shared
from dibo.system.report import Report
from dibo.system.workspace import Workspace

GB = 10**9


@dataclass(slots=True)
class FakeEngine:
    """A store, and what was removed from it."""

    images: list[StoredImage]
    removed: list[str] = field(default_factory=list)
    used: tuple[str, ...] = ()

    def stored(self) -> Sequence[StoredImage]:
        return self.images

    def remove(self, name: str) -> None:
        if name in self.used:
            raise EngineError("a container uses it")
        self.removed.append(name)
        self.images = [image for image in self.images if name not in image.names]

    def discard(self, identity: str) -> None:
        self.removed.append(identity)


def image(name: str, *layers: str, used: float = 0.0, **other: object) -> UsedImage:
    """An image with layers of 1 GB each, called by its last layer unless `name` says otherwise."""
    stored = StoredImage(
        identity=f"id-{name}",
        names=() if other.get("dangling") else (name,),
        tagged=bool(other.get("tagged")),
        created=0.0,
        layers=tuple((layer, GB) for layer in layers),
    )
    epoch = str(other.get("epoch", ""))
    return UsedImage(image=stored, used=used, known=bool(other.get("known", True)), epoch=epoch)


def names(images: Sequence[UsedImage]) -> list[str]:
    return [entry.image.identity.removeprefix("id-") for entry in images]


BASE = image("base", "a", used=9)
OLD = image("old", "a", "b", used=1, epoch="2026-10")
NEW = image("new", "a", "c", used=9, epoch="2026-11")
TOP = image("top", "a", "c", "d", used=9, epoch="2026-11")
STORE = (BASE, OLD, NEW, TOP)


def test_layers_count_once() -> None:
    assert size(STORE) == 4 * GB
    assert freed(STORE, [OLD]) == GB
    assert freed(STORE, [NEW]) == 0, "its layer stays with top"


def test_other_epochs_go_with_bases_that_nothing_else_lies_on() -> None:
    assert names(doomed(STORE, Rules(epoch="2026-11"))) == ["old"]
    assert names(doomed((BASE, OLD), Rules(epoch="2026-11"))) == ["old", "base"]
    assert names(doomed((BASE,), Rules(epoch="2026-11"))) == [], "it may be wanted yet"


def test_what_was_not_used_goes_from_the_top() -> None:
    assert names(doomed(STORE, Rules(used_before=5))) == ["old"]
    assert names(doomed(STORE, Rules(used_before=10))) == ["top", "old", "new", "base"]


def test_beyond_a_size_the_least_recently_used_go_first() -> None:
    assert names(doomed(STORE, Rules(most=4 * GB))) == []
    assert names(doomed(STORE, Rules(most=3 * GB))) == ["old"]
    assert names(doomed(STORE, Rules(most=2 * GB))) == ["top", "old"]
    assert names(doomed(STORE, Rules(most=0))) == ["top", "old", "new", "base"]


def test_kept_and_tagged_images_stay() -> None:
    tagged = image("tagged", "x", "y", tagged=True, epoch="2026-10")
    every = Rules(most=0, used_before=10, epoch="2026-11", leftovers=True, kept=frozenset({"old"}))
    assert names(doomed((*STORE, tagged), every)) == ["top", "new", "base"]
    assert size((*STORE, tagged)) == 4 * GB, "its layers do not count: nothing frees them"


def test_leftovers() -> None:
    dangling, failed = image("dangling", "a", "z", dangling=True), image("failed-old", "a", "q")
    store = (*STORE, dangling, failed)
    assert sorted(names(doomed(store, Rules(leftovers=True)))) == ["dangling", "failed-old"]
    assert names(doomed(store, Rules())) == []


def test_others_may_have_put_it_there() -> None:
    unknown = image("unknown", "u", known=False)
    assert names(doomed((unknown, OLD), Rules(most=0, only_known=True))) == ["old"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "cache")


def planned(workspace: Workspace, flavour: str, *, used: float, epoch: str = "2026-11") -> str:
    """The key of a layer that a build of this cache directory planned."""
    document: dict[str, object] = {"flavour": flavour, "phase": "install.d", "epoch": epoch}
    key = key_of(document)
    ingredients_store.save(workspace.keys, key, canonical(document))
    os.utime(workspace.keys / f"{key}.json", (used, used))
    return key


def stored(key: str, *layers: str, created: float = 0.0) -> StoredImage:
    return StoredImage(
        identity=f"id-{key}",
        names=(key,),
        tagged=False,
        created=created,
        layers=tuple((layer, GB) for layer in layers),
    )


def test_what_a_cache_directory_knows(workspace: Workspace) -> None:
    key = planned(workspace, "web", used=500)
    first, second = used_images(
        [stored(key, "a", created=3), stored("f" * 64, "b", created=7)], workspace.keys
    )
    assert (first.used, first.known, first.epoch, first.description) == (
        500,
        True,
        "2026-11",
        "web install.d",
    )
    assert (second.used, second.known, second.epoch) == (7, False, "")


def test_the_limit_is_kept(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    old, mine = planned(workspace, "old", used=10), planned(workspace, "mine", used=20)
    engine = FakeEngine([stored(old, "a"), stored(mine, "b"), stored("f" * 64, "c")])
    keep_limit(cast(Engine, engine), workspace, Report(), limit=2 * GB, kept=[mine])
    assert engine.removed == [old]
    assert not (workspace.keys / f"{old}.json").exists()
    assert "removed the least recently used: 1 layer, 954 MiB" in capsys.readouterr().err
    keep_limit(cast(Engine, engine), workspace, Report(), limit=GB, kept=[mine])
    assert engine.removed == [old]
    assert "dibo cache prune --local" in capsys.readouterr().err


def test_nothing_is_removed_while_others_use_the_store(workspace: Workspace) -> None:
    engine = FakeEngine([stored(planned(workspace, "old", used=10), "a")])
    with shared(workspace.store_lock):
        keep_limit(cast(Engine, engine), workspace, Report(), limit=0, kept=[])
    assert engine.removed == []
    keep_limit(cast(Engine, engine), workspace, Report(), limit=0, kept=[])
    assert len(engine.removed) == 1


def test_a_limit_that_cannot_be_kept_fails_no_build(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(FakeEngine):
        def stored(self) -> Sequence[StoredImage]:
            raise EngineError("the store is away")

    keep_limit(cast(Engine, Broken([])), workspace, Report(), limit=0, kept=[])
    assert "could not be limited: the store is away" in capsys.readouterr().err


def test_what_is_in_use_is_named_and_the_rest_goes(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = planned(workspace, "one", used=10), planned(workspace, "two", used=20)
    engine = FakeEngine([stored(one, "a"), stored(two, "b")], used=(one,))
    keep_limit(cast(Engine, engine), workspace, Report(), limit=0, kept=[])
    assert engine.removed == [two]
    assert f"{one[:12]} cannot be removed: a container uses it" in capsys.readouterr().err


def test_documents_are_read_as_they_are_written(workspace: Workspace) -> None:
    key = planned(workspace, "web", used=1)
    assert json.loads((workspace.keys / f"{key}.json").read_text())["flavour"] == "web"
