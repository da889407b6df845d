"""Caches on a registry in memory: finding, storing, looking after, on good and on bad days."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dibo.cache import entry, maintenance
from dibo.cache.lookup import CachedImage, CacheRepository, Caches
from dibo.cache.publish import PendingLayer, Publisher
from dibo.cache.upload import UploadOptions
from dibo.cache.verify import verify
from dibo.errors import EngineError, HookFailed, Interrupted, RegistryError, VerificationFailed
from dibo.images.image import Image, Layer, Reader
from dibo.images.layers.limits import Limits
from dibo.images.layers.stream import Stream
from dibo.images.reference import ImageName, parse_repository
from dibo.plan.labels import INGREDIENTS_LABEL, KEY_LABEL
from dibo.system.report import Report
from dibo.trust.policy import Trust
from tests.support.servers.fake_registry import FakeRegistry, RegistryState
from tests.unit.cache.test_secret_scan import KEY as PRIVATE_KEY
from tests.unit.cache.test_secret_scan import tar

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pauses")]

NOW = datetime.now(tz=UTC)


def document(name: str, architecture: str = "amd64") -> str:
    return json.dumps({"architecture": architecture, "name": name}, sort_keys=True, separators=(",", ":"))


def key(name: str, architecture: str = "amd64") -> str:
    return hashlib.sha256(document(name, architecture).encode()).hexdigest()


def plain(content: bytes, opened: list[str] | None = None) -> Layer:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"

    @contextlib.contextmanager
    def stream() -> Iterator[Reader]:
        if opened is not None:
            opened.append(digest)
        yield io.BytesIO(content)

    return Layer(open=stream, digest=digest, size=len(content), diff_id=digest)


@dataclasses.dataclass
class FakeStore:
    """An engine's images: each step adds a layer with one file to those below."""

    contents: dict[str, bytes] = dataclasses.field(default_factory=dict)
    taken: list[str] = dataclasses.field(default_factory=list)
    opened: list[str] = dataclasses.field(default_factory=list)
    order: tuple[str, ...] = ("base", "one", "two")

    def image(self, wanted: str) -> Image:
        names = self.order[: [key(name) for name in self.order].index(wanted) + 1]
        layers = tuple(
            plain(self.contents.get(name, tar((name, name.encode() * 1000))), self.opened) for name in names
        )
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {KEY_LABEL: wanted, INGREDIENTS_LABEL: document(names[-1])}},
        }
        return Image(name=wanted, digest="", architecture="amd64", layers=layers, config=config)

    def take(self, image: Image, *, key: str) -> None:
        self.taken.append(key)


def item(store: FakeStore, name: str) -> PendingLayer:
    names = store.order[: store.order.index(name) + 1]
    return PendingLayer(
        key=key(name), ingredients=document(name), titles=names, below=tuple(key(n) for n in names[:-1])
    )


@pytest.fixture
def repository(server: FakeRegistry) -> ImageName:
    return parse_repository(f"{server.host}/cache")


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def remote(repository: ImageName, said: io.StringIO) -> CacheRepository:
    return CacheRepository(name=repository, architecture="amd64", report=Report(said))


def again(
    remote: CacheRepository, said: io.StringIO, *, name: ImageName | None = None, reads: bool = True
) -> CacheRepository:
    """The same registry in another run, or another one."""
    return CacheRepository(name=name or remote.name, architecture="amd64", report=Report(said), reads=reads)


def publish(
    remote: CacheRepository, store: FakeStore, tmp_path: Path, *names: str, refresh: bool = False
) -> None:
    with publisher([remote], store, tmp_path, refresh=refresh) as publishing:
        for name in names or store.order:
            publishing.add(item(store, name))


def publisher(
    remotes: list[CacheRepository], store: FakeStore, tmp_path: Path, *, refresh: bool = False
) -> Publisher:
    return Publisher(
        remotes,
        store,
        UploadOptions(directory=tmp_path, compression="zstd"),
        refresh=refresh,
        report=remotes[0].report,
    )


def found(remote: CacheRepository, name: str) -> CachedImage | None:
    remote.look([key(name)])
    return remote.find(key(name))


def content(layer: Layer) -> bytes:
    pieces = []
    with Stream(layer, limits=Limits()) as stream:
        while (piece := stream.next()) is not None:
            pieces.append(bytes(piece))
    return b"".join(pieces)


def test_what_is_stored_is_found(remote: CacheRepository, said: io.StringIO, tmp_path: Path) -> None:
    store = FakeStore()
    publish(remote, store, tmp_path)
    caches = Caches([again(remote, said)])
    caches.look([key(name) for name in (*store.order, "other")])
    image = caches.image(key("two"))
    assert image is not None
    assert [content(layer) for layer in image.layers] == [
        tar((name, name.encode() * 1000)) for name in store.order
    ]
    assert caches.image(key("other")) is None
    assert "stored 3 layers" in said.getvalue()
    assert "warning" not in said.getvalue()
    assert len(store.opened) == 3, "each layer is read once"
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_sent_twice(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path
) -> None:
    store = FakeStore()
    publish(remote, store, tmp_path, "base", "one")
    state.asked.clear()
    later = again(remote, said)
    later.look([key(name) for name in store.order])
    publish(later, store, tmp_path)
    assert len([path for path in state.requests("PUT") if "/blobs/" in path]) == 2, "one layer, one config"
    assert len(store.opened) == 3


def test_blobs_without_an_entry_are_not_sent_again(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path
) -> None:
    """As an interrupted push leaves them."""
    publish(remote, FakeStore(), tmp_path, "base")
    state.manifests.clear()
    state.asked.clear()
    publish(again(remote, said), FakeStore(), tmp_path, "base")
    layers = {layer["digest"] for _, body in state.manifests.values() for layer in json.loads(body)["layers"]}
    assert layers
    assert not [path for path in state.requests("PUT") if any(digest in path for digest in layers)]


def test_the_first_stays(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path
) -> None:
    """Two runners made other bytes under one key. Neither knows of the other until it looks again."""
    publish(remote, FakeStore(), tmp_path)
    theirs = dict(state.manifests)
    mine = FakeStore({"one": tar(("one", b"made by another run"))})
    late = again(remote, said)
    publish(late, mine, tmp_path)
    assert state.manifests == theirs
    assert late.digests.keys() == {key(name) for name in mine.order}


def test_a_refresh_replaces(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path
) -> None:
    publish(remote, FakeStore(), tmp_path)
    mine = FakeStore({"one": tar(("one", b"made anew"))})
    publish(again(remote, said, reads=False), mine, tmp_path, refresh=True)
    entry_now = found(again(remote, said), "two")
    assert entry_now is not None
    assert b"made anew" in content(entry_now.image.layers[1])


def test_layers_of_two_builds_are_never_mixed(
    remote: CacheRepository, said: io.StringIO, tmp_path: Path
) -> None:
    """`one` is there by another run, whose bytes are not those that our `two` stands on."""
    publish(remote, FakeStore(), tmp_path, "base", "one")
    mine = FakeStore({"one": tar(("one", b"made by another run"))})
    late = again(remote, said)
    late.look([key(name) for name in mine.order])
    publish(late, mine, tmp_path)
    two = found(again(remote, said), "two")
    assert two is not None
    assert b"another run" in content(two.image.layers[1])


def test_a_base_in_the_same_registry_is_taken_over(
    remote: CacheRepository, state: RegistryState, repository: ImageName, said: io.StringIO, tmp_path: Path
) -> None:
    store = FakeStore()
    where = again(remote, said, name=dataclasses.replace(repository, repository="bases"))
    publish(where, store, tmp_path, "base")
    base = found(again(remote, said, name=where.name), "base")
    assert base is not None
    store.opened.clear()
    with Publisher(
        [remote],
        store,
        UploadOptions(directory=tmp_path, compression="zstd", origins=[(where.name, base.image)]),
        refresh=False,
        report=remote.report,
    ) as publishing:
        publishing.add(item(store, "base"))
    assert store.opened == []
    assert state.requests("mount=")
    assert found(again(remote, said), "base") is not None


def test_a_secret_stays(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path
) -> None:
    store = FakeStore({"one": tar(("opt/key", PRIVATE_KEY))})
    publish(remote, store, tmp_path)
    assert {tag for _, tag in state.manifests if ":" not in tag} == {f"k-{key('base')}"}
    assert said.getvalue().count("warning") == 1
    assert "one has /opt/key: a private key" in said.getvalue()
    assert "local: true" in said.getvalue()
    assert len(state.blobs) == 2, "the base's layer and config"


@pytest.mark.parametrize("fault", [401, 403, 404, 413, 429, 500, 507, "drop"])
@pytest.mark.parametrize("at", ["POST", "PUT /v2/cache/blobs", "PUT /v2/cache/manifests"])
def test_what_cannot_be_stored_is_one_warning(
    remote: CacheRepository,
    state: RegistryState,
    said: io.StringIO,
    tmp_path: Path,
    fault: int | str,
    at: str,
) -> None:
    state.always(at, fault)
    publish(remote, FakeStore(), tmp_path)
    text = said.getvalue()
    assert text.count("warning") == 1, text
    assert "not stored in" in text
    assert "base; one; two" in text
    assert state.manifests == {}
    assert len(state.requests(at)) <= 3, "the others are not tried"


@pytest.mark.parametrize("fault", [401, 403, 429, 500, "drop"])
def test_a_registry_that_cannot_be_read_is_one_warning(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path, fault: int | str
) -> None:
    state.always("HEAD", fault)
    caches = Caches([remote])
    caches.look([key(str(number)) for number in range(20)])
    assert caches.image(key("1")) is None
    publish(remote, FakeStore(), tmp_path)
    assert said.getvalue().count("the cache") == 1
    assert ("docker login" in said.getvalue()) == (fault in (401, 403))
    assert len(state.requests("HEAD /v2/cache/manifests")) <= 6


def test_an_engine_that_gives_nothing_is_a_warning(
    remote: CacheRepository, said: io.StringIO, tmp_path: Path
) -> None:
    class Broken(FakeStore):
        def image(self, wanted: str) -> Image:
            raise EngineError("no")

    publish(remote, Broken(), tmp_path)
    assert "not stored in" in said.getvalue()


def test_a_layer_that_reads_as_another_is_not_sent(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path
) -> None:
    class Lying(FakeStore):
        def image(self, wanted: str) -> Image:
            image = super().image(wanted)
            wrong = dataclasses.replace(image.layers[0], diff_id=f"sha256:{'0' * 64}")
            return dataclasses.replace(image, layers=(wrong,))

    publish(remote, Lying(), tmp_path)
    assert "reads as" in said.getvalue()
    assert state.blobs == {}


def test_layers_before_a_failed_hook_are_stored(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path
) -> None:
    store = FakeStore()
    with pytest.raises(HookFailed), publisher([remote], store, tmp_path) as publishing:
        publishing.add(item(store, "base"))
        raise HookFailed("hook")
    assert (remote.name.repository, f"k-{key('base')}") in state.manifests


def test_an_interrupted_build_does_not_wait(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path
) -> None:
    store = FakeStore()
    state.always("POST", "slow:0.3")
    before = datetime.now(tz=UTC)
    with pytest.raises(Interrupted), publisher([remote], store, tmp_path) as publishing:
        for name in store.order:
            publishing.add(item(store, name))
        raise Interrupted(2)
    assert datetime.now(tz=UTC) - before < timedelta(seconds=10)
    assert [each.name for each in threading.enumerate() if each.name == "cache"] == []
    assert state.manifests == {}


def damage_manifest(state: RegistryState, name: str, **changes: object) -> None:
    kind, body = state.manifests["cache", f"k-{key(name)}"]
    state.manifests["cache", f"k-{key(name)}"] = (kind, json.dumps({**json.loads(body), **changes}).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": []},
        {"layers": "x"},
        {"config": {}},
        {"config": {"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": 1}},
        {"mediaType": "text/plain"},
        {"manifests": []},
        {"layers": [{"mediaType": "x", "digest": "sha256:../../x", "size": -1}]},
    ],
)
def test_a_wrong_manifest_is_not_used(
    remote: CacheRepository,
    state: RegistryState,
    said: io.StringIO,
    tmp_path: Path,
    changes: dict[str, object],
) -> None:
    publish(remote, FakeStore(), tmp_path)
    damage_manifest(state, "two", **changes)
    later = again(remote, said)
    assert found(later, "two") is None
    assert "has an entry that cannot be used" in said.getvalue()
    assert found(later, "one") is not None, "one bad entry says nothing of others"


def test_an_entry_of_another_key_or_architecture_is_not_used(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path
) -> None:
    publish(remote, FakeStore(), tmp_path)
    state.manifests["cache", f"k-{key('x')}"] = state.manifests["cache", f"k-{key('one')}"]
    assert found(again(remote, said), "x") is None
    other = dataclasses.replace(again(remote, said), architecture="arm64")
    assert found(other, "one") is None


def test_use_is_marked_once_a_day(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path
) -> None:
    publish(remote, FakeStore(), tmp_path)
    later = again(remote, said)
    one = found(later, "one")
    assert one is not None
    for _ in range(2):
        later.mark(one)
    marks = [tag for _, tag in state.manifests if entry.mark_in(tag)]
    assert marks == [entry.mark_of(key("one"), datetime.now(tz=UTC))]
    assert len([path for path in state.requests("PUT") if "/t-" in path]) == 1
    dataclasses.replace(later, writes=False).mark(one)


def test_who_may_not_read_may_write(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path
) -> None:
    """Some registries say 401 or 403 of a repository that the first push makes."""
    state.inject("HEAD", 403)
    remote.look([key("base")])
    assert remote.off
    publish(remote, FakeStore(), tmp_path)
    assert "stored 3 layers" in said.getvalue()


def test_after_some_bad_entries_a_registry_is_not_read(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, tmp_path: Path
) -> None:
    names = [f"n{number}" for number in range(9)]
    for name in names:
        state.manifests["cache", f"k-{key(name)}"] = ("x", b"{}")
    later = again(remote, said)
    later.look([key(name) for name in names])
    assert [later.find(key(name)) for name in names] == [None] * 9
    assert len(state.requests("GET")) == 3
    assert said.getvalue().count("warning") == 1


# Looking after


def age(state: RegistryState, name: str, days: int) -> None:
    """Make an entry `days` older."""
    made = f"{NOW - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
    _, body = state.manifests["cache", f"k-{key(name)}"]
    manifest = json.loads(body)
    manifest["annotations"][entry.CREATED] = made
    state.put_manifest("cache", f"k-{key(name)}", manifest)


def test_list(remote: CacheRepository, state: RegistryState, repository: ImageName, tmp_path: Path) -> None:
    publish(remote, FakeStore(), tmp_path)
    age(state, "base", 40)
    age(state, "one", 3)
    state.put_manifest("cache", "web", {"layers": []})
    state.manifests["cache", f"k-{key('bad')}"] = ("x", b"{")
    contents = maintenance.contents(repository, now=NOW)
    assert [each.title for each in contents.entries] == ["two", "one", "base"]
    two = contents.entries[0]
    layer = dict(two.blobs)
    assert two.unique == sum(
        size for digest, size in layer.items() if digest in {two.blobs[0][0], two.blobs[-1][0]}
    )
    text = maintenance.describe(contents, now=NOW)
    assert "40 d" in text
    assert "3 layers, " in text
    assert "tags that are not dibo's: 1" in text
    assert text.split()[:3] == ["KEY", "SIZE", "FREES"]
    assert f"{key('bad')[:12]}  damaged" in text


def test_a_repository_without_anything(repository: ImageName) -> None:
    contents = maintenance.contents(repository, now=NOW)
    text = "0 layers: the repository is empty, or the registry has none of that name"
    assert maintenance.describe(contents, now=NOW) == text


def test_prune_by_age_and_by_use(
    remote: CacheRepository, state: RegistryState, said: io.StringIO, repository: ImageName, tmp_path: Path
) -> None:
    publish(remote, FakeStore(), tmp_path)
    for name, days in (("base", 90), ("one", 60), ("two", 10)):
        age(state, name, days)
    used = found(again(remote, said), "one")
    assert used is not None
    again(remote, said).mark(used)
    contents = maintenance.contents(repository, now=NOW + timedelta(seconds=1))

    def doomed(older_than: int | None, *kept: str) -> set[str]:
        kept_keys = {key(name) for name in kept}
        found = maintenance.doomed(contents, older_than=older_than, kept=kept_keys, now=NOW)
        return {each.title for each in found}

    assert doomed(30) == {"base"}
    assert doomed(5) == {"base", "two"}
    assert doomed(5, "base") == {"two"}
    assert doomed(None, "two") == {"base", "one"}
    assert doomed(1000) == set()
    base, one, two = sorted(contents.entries, key=lambda each: each.size)
    assert maintenance.freed(contents, [two, one, base]) == contents.size
    assert maintenance.freed(contents, [base]) == base.unique < base.size, "its layer is in the others too"


def test_prune_removes_what_it_says_and_nothing_else(
    remote: CacheRepository, state: RegistryState, repository: ImageName, tmp_path: Path
) -> None:
    publish(remote, FakeStore(), tmp_path)
    state.put_manifest("cache", "web", {"layers": []})
    state.manifests["cache", "keep-me"] = state.manifests["cache", f"k-{key('one')}"]
    contents = maintenance.contents(repository, now=NOW)
    (one,) = (each for each in contents.entries if each.title == "one")
    assert one.foreign == "keep-me"
    doomed = maintenance.doomed(contents, older_than=None, kept={key("base")}, now=NOW)
    removed: list[str] = []
    maintenance.remove(repository, doomed, removed=lambda each: removed.append(each.title))
    assert removed == ["two"]
    tags = {tag for _, tag in state.manifests if ":" not in tag}
    assert tags == {f"k-{key('base')}", f"k-{key('one')}", "keep-me", "web"}


def test_prune_where_nothing_can_be_deleted(
    remote: CacheRepository, state: RegistryState, repository: ImageName, tmp_path: Path
) -> None:
    publish(remote, FakeStore(), tmp_path)
    state.always("DELETE", 405)
    contents = maintenance.contents(repository, now=NOW)
    with pytest.raises(RegistryError) as caught:
        maintenance.remove(repository, contents.entries, removed=lambda _: None)
    assert "remove tags k-*, t-*, r-* and f-*" in caught.value.hint


def test_verify(remote: CacheRepository, state: RegistryState, repository: ImageName, tmp_path: Path) -> None:
    publish(remote, FakeStore(), tmp_path)
    assert verify(repository, Trust(), on_progress=lambda _: None) == (3, ())
    manifest = json.loads(state.manifests["cache", f"k-{key('two')}"][1])
    layer = manifest["layers"][1]["digest"]
    blob = state.blobs["cache", layer]
    state.blobs["cache", layer] = blob[:-1] + bytes([blob[-1] ^ 1])
    config = manifest["config"]["digest"]
    del state.blobs["cache", config]
    count, damaged = verify(repository, Trust(), on_progress=lambda _: None)
    assert count == 3
    assert len(damaged) == 2
    assert {text.split(":")[0].split(" ")[0] for text in damaged} == {key("one")[:12], key("two")[:12]}


def test_verify_sees_a_moved_entry(
    remote: CacheRepository, state: RegistryState, repository: ImageName, tmp_path: Path
) -> None:
    publish(remote, FakeStore(), tmp_path)
    state.manifests["cache", f"k-{key('x')}"] = state.manifests["cache", f"k-{key('one')}"]
    _, damaged = verify(repository, Trust(), on_progress=lambda _: None)
    assert len(damaged) == 1
    assert "something else" in damaged[0]


def test_an_image_for_a_store_that_has_nothing_yet(
    remote: CacheRepository, said: io.StringIO, tmp_path: Path
) -> None:
    publish(remote, FakeStore(), tmp_path)
    later = again(remote, said)
    two = found(later, "two")
    assert two is not None
    later.forget(key("two"), VerificationFailed("bad"))
    assert later.find(key("two")) is None
    assert later.find(key("one")) is None, "not looked for"
    later.look([key("one")])
    later.report.warn("x")
    assert "in a state that cannot be used" in said.getvalue()
