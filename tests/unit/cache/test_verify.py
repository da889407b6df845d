"""A cache in which somebody planted entries: none is used, each is named, and good ones take their place."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dibo.cache import entry
from dibo.cache.lookup import CachedImage, CacheRepository, Caches
from dibo.cache.publish import PendingLayer, Publisher
from dibo.cache.upload import UploadOptions
from dibo.cache.verify import verify
from dibo.errors import DiboError
from dibo.images.image import Image
from dibo.images.manifest import digest_of
from dibo.images.reference import ImageName, parse_repository
from dibo.images.verify import check
from dibo.plan.labels import INGREDIENTS_LABEL, KEY_LABEL
from dibo.system.report import Report
from dibo.trust import attached, keys
from dibo.trust.policy import Policy, Rule, Trust
from tests.support.servers.fake_registry import FakeRegistry, RegistryState
from tests.unit.cache.test_lookup import content, plain
from tests.unit.cache.test_secret_scan import tar

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pauses")]

NAMES = ("base", "one", "two")
TEAM, STRANGER = keys.generate(), keys.generate()
TRUST = Trust(policy=Policy(default=Rule(keys=(TEAM.public(),))), sign_key=TEAM)
TITLES = ("base x", "one install.d: 10-one", "two install.d: 10-two")


def ingredients(name: str) -> str:
    document: dict[str, Any] = {"architecture": "amd64"}
    if name == "base":
        document |= {"base": {"kind": "x"}}
    else:
        below = NAMES[NAMES.index(name) - 1]
        document |= {"phase": "install.d", "flavour": name, "parent": key(below), "packages": []}
        document |= {"hooks": [[f"install.d/10-{name}", "file", True, "sha256:0"]]}
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def key(name: str) -> str:
    return hashlib.sha256(ingredients(name).encode()).hexdigest()


def tag(name: str) -> str:
    return entry.tag_of(key(name))


class Store:
    """An engine's images: a layer with one file for each name."""

    def __init__(self, mark: str = "good") -> None:
        self.mark = mark

    def image(self, wanted: str) -> Image:
        names = NAMES[: [key(name) for name in NAMES].index(wanted) + 1]
        layers = tuple(plain(tar((name, f"{self.mark} {name}".encode()))) for name in names)
        labels = {KEY_LABEL: wanted, INGREDIENTS_LABEL: ingredients(names[-1])}
        config = {"architecture": "amd64", "os": "linux", "config": {"Labels": labels}}
        return Image(name=wanted, digest="", architecture="amd64", layers=layers, config=config)

    def take(self, image: Image, *, key: str) -> None:
        raise NotImplementedError


@dataclasses.dataclass
class Cache:
    """A repository on a registry in memory, and what is said of it."""

    shelf: RegistryState
    repository: ImageName
    said: io.StringIO
    directory: Path

    def runner(self, trust: Trust = TRUST) -> CacheRepository:
        """Another run, that has found out what is there."""
        remote = CacheRepository(
            name=self.repository, architecture="amd64", report=Report(self.said), trust=trust
        )
        Caches([remote]).expect({key(name): TITLES[1 : at + 1] for at, name in enumerate(NAMES)})
        remote.look([key(name) for name in NAMES])
        return remote

    def publish(
        self, remote: CacheRepository, mark: str = "good", *, compression: str = "zstd", refresh: bool = False
    ) -> None:
        with Publisher(
            [remote],
            Store(mark),
            UploadOptions(directory=self.directory, compression=compression),
            refresh=refresh,
            report=remote.report,
        ) as publisher:
            for at, name in enumerate(NAMES):
                below = tuple(map(key, NAMES[:at]))
                publisher.add(
                    PendingLayer(
                        key=key(name), ingredients=ingredients(name), titles=TITLES[: at + 1], below=below
                    )
                )

    def manifest(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.shelf.manifests["cache", tag(name)][1])
        return document

    def digest(self, name: str) -> str:
        return digest_of(self.shelf.manifests["cache", tag(name)][1])


@pytest.fixture
def cache(server: FakeRegistry, tmp_path: Path) -> Cache:
    return Cache(server.state, parse_repository(f"{server.host}/cache"), io.StringIO(), tmp_path)


def usable(remote: CacheRepository, name: str) -> CachedImage | None:
    """The entry, when it and every byte of its layers hold."""
    found = remote.find(key(name))
    if found is not None:
        for layer in found.image.layers:
            check(layer)
    return found


def test_what_the_team_stored_is_used(cache: Cache) -> None:
    cache.publish(cache.runner())
    later = cache.runner()
    assert all(usable(later, name) for name in NAMES)
    assert verify(cache.repository, TRUST, on_progress=lambda _: None) == (3, ())
    assert "warning" not in cache.said.getvalue()


# Each plants something in place of the entry `two` of the team.


def unsigned(cache: Cache) -> None:
    del cache.shelf.manifests["cache", attached.tag_of(cache.digest("two"))]


def made_by_a_stranger(cache: Cache) -> None:
    del cache.shelf.manifests["cache", tag("two")]
    cache.publish(cache.runner(Trust()), "poison")


def signed_by_a_stranger(cache: Cache) -> None:
    del cache.shelf.manifests["cache", tag("two")]
    cache.publish(cache.runner(Trust(sign_key=STRANGER)), "poison")


def signed_for_another_key(cache: Cache) -> None:
    """A good entry with its good signature, under another key and with its labels changed to that."""
    for place in (tag("two"), cache.digest("one")):
        cache.shelf.manifests["cache", place] = cache.shelf.manifests["cache", tag("one")]


def changed_after_signing(cache: Cache) -> None:
    """The manifest of the top layer is another, and the old signature stands beside it."""
    old = cache.digest("two")
    manifest = cache.manifest("two")
    poison = tar(("two", b"poison"))
    config = json.loads(cache.shelf.blobs["cache", manifest["config"]["digest"]])
    config["rootfs"]["diff_ids"][-1] = digest_of(poison)
    body = json.dumps(config).encode()
    manifest["config"] |= {"digest": cache.shelf.put("cache", body), "size": len(body)}
    manifest["layers"][-1] = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": cache.shelf.put("cache", poison),
        "size": len(poison),
    }
    new = cache.shelf.put_manifest("cache", tag("two"), manifest)
    cache.shelf.manifests["cache", attached.tag_of(new)] = cache.shelf.manifests[
        "cache", attached.tag_of(old)
    ]


def signed_for_another_repository(cache: Cache) -> None:
    name = ImageName(host=cache.repository.host, repository="other", tag=tag("two"))
    digest = cache.digest("two")
    TRUST.sign(name, digest, annotations={KEY_LABEL: key("two")})
    moved = cache.shelf.manifests["other", attached.tag_of(digest)]
    cache.shelf.manifests["cache", attached.tag_of(digest)] = moved
    for (repository, blob), body in list(cache.shelf.blobs.items()):
        if repository == "other":
            cache.shelf.blobs["cache", blob] = body


def signed_without_a_key_of_a_layer(cache: Cache) -> None:
    """As `dibo key sign` signs any image."""
    digest = cache.digest("two")
    del cache.shelf.manifests["cache", attached.tag_of(digest)]
    TRUST.sign(cache.repository.tagged(tag("two")), digest)


POISON: list[tuple[Callable[[Cache], None], str]] = [
    (unsigned, "is not signed"),
    (made_by_a_stranger, "is not signed"),
    (signed_by_a_stranger, "signed by no key of"),
    (signed_for_another_key, "something else"),
    (changed_after_signing, "the signature is for the manifest"),
    (signed_for_another_repository, "/other, expected"),
    (signed_without_a_key_of_a_layer, f"another {KEY_LABEL}"),
]


@pytest.mark.parametrize(("plant", "why"), POISON, ids=[plant.__name__ for plant, _ in POISON])
def test_a_planted_entry_is_not_used_and_gives_way(
    cache: Cache, plant: Callable[[Cache], None], why: str
) -> None:
    cache.publish(cache.runner())
    plant(cache)
    _, faults = verify(cache.repository, TRUST, on_progress=lambda _: None)
    assert any(why in fault for fault in faults), faults
    cache.said.truncate(0)
    remote = cache.runner()
    assert remote.find(key("two")) is None
    assert why in Caches([remote]).refused(key("two"))
    assert cache.said.getvalue().count("warning") == 1
    assert usable(remote, "one") is not None, "one bad entry says nothing of others"
    cache.publish(remote)
    later = cache.runner()
    found = usable(later, "two")
    assert found is not None
    assert content(found.image.layers[-1]) == tar(("two", b"good two"))
    assert verify(cache.repository, TRUST, on_progress=lambda _: None) == (3, ())


def test_unsigned_entries_do_not_end_reading(cache: Cache) -> None:
    """However many there are, those that are signed count."""
    cache.publish(cache.runner())
    for name in ("two", "one"):
        del cache.shelf.manifests["cache", attached.tag_of(cache.digest(name))]
    remote = cache.runner()
    assert [usable(remote, name) is not None for name in reversed(NAMES)] == [False, False, True]
    assert not remote.off


def test_a_forged_top_layer_is_not_used_unsigned_either(cache: Cache) -> None:
    """One layer more than the recipe has, under the right key."""
    cache.publish(cache.runner(Trust()))
    manifest = cache.manifest("two")
    extra = tar(("etc/passwd", b"me"))
    config = json.loads(cache.shelf.blobs["cache", manifest["config"]["digest"]])
    config["rootfs"]["diff_ids"].append(digest_of(extra))
    config["history"].append({"created_by": "dibo: finalise"})
    body = json.dumps(config).encode()
    manifest["config"] |= {"digest": cache.shelf.put("cache", body), "size": len(body)}
    manifest["layers"].append(
        {
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": cache.shelf.put("cache", extra),
            "size": len(extra),
        }
    )
    cache.shelf.put_manifest("cache", tag("two"), manifest)
    remote = cache.runner(Trust())
    assert usable(remote, "two") is None
    assert "not those of the recipe" in remote.refused[key("two")]
    _, faults = verify(cache.repository, Trust(), on_progress=lambda _: None)
    assert len(faults) == 1
    assert "not those of the recipe" in faults[0]


# What is damaged is sent again


def flip(cache: Cache, digest: str) -> None:
    blob = cache.shelf.blobs["cache", digest]
    cache.shelf.blobs["cache", digest] = blob[:-1] + bytes([blob[-1] ^ 1])


def keep_blobs(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """As registries do: a blob that is there is never replaced."""

    class Once(dict[tuple[str, str], bytes]):
        def __setitem__(self, where: tuple[str, str], body: bytes) -> None:
            super().__setitem__(where, self.get(where, body))

    monkeypatch.setattr(cache.shelf, "blobs", Once(cache.shelf.blobs))


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
@pytest.mark.parametrize("at", [0, 2])
def test_a_damaged_layer_is_sent_again(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, compression: str, at: int
) -> None:
    cache.publish(cache.runner(), compression=compression)
    flip(cache, cache.manifest("two")["layers"][at]["digest"])
    keep_blobs(cache, monkeypatch)
    remote = cache.runner()
    for name in reversed(NAMES):
        found = remote.find(key(name))
        if found is None:
            continue
        try:
            usable(remote, name)
        except DiboError as error:
            remote.forget(key(name), error)
    cache.publish(remote, compression=compression)
    later = cache.runner()
    found = usable(later, "two")
    assert found is not None
    assert content(found.image.layers[at]) == tar((NAMES[at], f"good {NAMES[at]}".encode()))
    assert verify(cache.repository, TRUST, on_progress=lambda _: None) == (3, ())


def test_refresh_reads_what_is_there(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that is built anew and has the same bytes is no reason to leave a damaged one."""
    cache.publish(cache.runner())
    flip(cache, cache.manifest("two")["layers"][1]["digest"])
    keep_blobs(cache, monkeypatch)
    remote = cache.runner()
    remote.reads = False
    cache.publish(remote, refresh=True)
    later = cache.runner()
    assert usable(later, "two") is not None


def test_a_damaged_config_is_sent_again(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.publish(cache.runner())
    flip(cache, cache.manifest("two")["config"]["digest"])
    keep_blobs(cache, monkeypatch)
    remote = cache.runner()
    assert remote.find(key("two")) is None
    cache.publish(remote)
    assert usable(cache.runner(), "two") is not None


# What to do


def test_a_login_that_is_missing_says_what_to_do(cache: Cache) -> None:
    cache.shelf.login = "me:secret"
    cache.runner()
    text = cache.said.getvalue()
    assert "401" in text
    assert "log in" in text.lower() or "login" in text.lower()
