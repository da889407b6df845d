"""Questions to a registry on its good and its bad days."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import threading
from pathlib import Path

import pytest

from dibo.errors import RegistryError, Unreachable, VerificationFailed
from dibo.images.image import Reader
from dibo.images.manifest import OCI_MANIFEST, digest_of
from dibo.images.reference import ImageName, parse_image_name
from dibo.images.registry import api
from dibo.images.registry import client as distribution
from dibo.images.registry.client import Client
from dibo.system.retry import RetryPolicy
from tests.support.servers.fake_registry import FakeRegistry, RegistryState
from tests.support.servers.fake_web_server import make_certificate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pauses")]

CONTENT = bytes(range(256)) * 4096 * 5  # five times what is read at once
REPO = "team/app"
client_of = distribution._client_of


@pytest.fixture
def name(server: FakeRegistry) -> ImageName:
    return parse_image_name(f"{server.host}/{REPO}:1")


def read(name: ImageName, digest: str, size: int) -> bytes:
    with api.open_blob(name, digest, size) as stream:
        return b"".join(iter(lambda: stream.read(1 << 20), b""))


def image(*layers: str) -> dict[str, object]:
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [{"digest": each} for each in layers]}


# Manifests


def test_no_manifest(state: RegistryState, name: ImageName, pauses: list[float]) -> None:
    assert api.head(name) is None
    with pytest.raises(RegistryError, match="answered 404") as caught:
        api.manifest(name)
    assert caught.value.status == 404
    assert pauses == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b"[" * 100_000, b"<html>"])
def test_what_is_no_manifest(state: RegistryState, name: ImageName, body: bytes) -> None:
    state.manifests[REPO, "1"] = (OCI_MANIFEST, body)
    with pytest.raises(RegistryError):
        api.manifest(name)


def test_a_manifest_of_other_bytes(state: RegistryState, name: ImageName) -> None:
    digest = state.put_manifest(REPO, "1", image())
    state.manifests[REPO, digest] = (OCI_MANIFEST, b'{"layers": []}')
    with pytest.raises(VerificationFailed):
        api.manifest(name.at(digest))


def test_a_manifest_too_large(state: RegistryState, name: ImageName) -> None:
    state.manifests[REPO, "1"] = (OCI_MANIFEST, b" " * (5 << 20))
    with pytest.raises(RegistryError, match="larger than any manifest"):
        api.manifest(name)


def test_tags_come_in_pages(state: RegistryState, name: ImageName) -> None:
    assert api.tags(name) == ()
    for tag in "abcde":
        state.put_manifest(REPO, tag, {**image(), "n": tag})
    assert api.tags(name) == tuple("abcde")
    assert len(state.requests("/tags/list")) == 4


def test_delete(state: RegistryState, name: ImageName) -> None:
    digest = state.put_manifest(REPO, "1", image())
    assert api.delete(name.at(digest))
    assert not api.delete(name.at(digest))
    assert api.head(name) is None
    state.always("DELETE", 405)
    with pytest.raises(RegistryError) as caught:
        api.delete(name.at(digest))
    assert caught.value.status == 405


# Blobs


def test_a_small_blob_is_checked(state: RegistryState, name: ImageName) -> None:
    digest = state.put(REPO, b"{}")
    assert api.read_small(name, digest, limit=2) == b"{}"
    with pytest.raises(RegistryError, match="larger than 1 bytes"):
        api.read_small(name, digest, limit=1)
    state.inject("GET", "wrong")
    with pytest.raises(VerificationFailed, match="other bytes"):
        api.read_small(name, digest, limit=2)


def test_a_blob_streams(state: RegistryState, name: ImageName) -> None:
    digest = state.put(REPO, CONTENT)
    assert read(name, digest, len(CONTENT)) == CONTENT
    assert api.exists(name, digest)
    assert not api.exists(name, digest_of(b"other"))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_blob_goes_on(state: RegistryState, name: ImageName, ranges: bool) -> None:
    state.ranges = ranges
    digest = state.put(REPO, CONTENT)
    state.inject("GET", f"cut:{3 << 20}", f"cut:{1 << 20}" if ranges else f"cut:{4 << 20}")
    assert read(name, digest, len(CONTENT)) == CONTENT
    asked = [headers.get("Range") for _, _, headers in state.asked]
    assert asked == [None, f"bytes={3 << 20}-{len(CONTENT) - 1}", f"bytes={4 << 20}-{len(CONTENT) - 1}"]


def test_a_blob_that_is_always_cut(state: RegistryState, name: ImageName, pauses: list[float]) -> None:
    digest = state.put(REPO, CONTENT)
    state.always("GET", "cut:10")
    with pytest.raises((RegistryError, Unreachable)):
        read(name, digest, len(CONTENT))
    assert len(state.asked) == 3
    assert len(pauses) == 2


def test_a_blob_of_another_size(state: RegistryState, name: ImageName) -> None:
    """Shorter than the manifest says, or longer: neither is read."""
    digest = state.put(REPO, b"content")
    for size in (6, 8):
        with pytest.raises(RegistryError, match=f"has 7 bytes .*, wanted {size}"):
            read(name, digest, size)


def test_a_blob_too_slow_to_wait_for(state: RegistryState, name: ImageName) -> None:
    digest = state.put(REPO, CONTENT)
    now = iter(range(0, 1_000_000, 1000))
    asked = distribution.client(name)
    asked.policy = dataclasses.replace(asked.policy, clock=lambda: next(now), slowest=1 << 20)
    with pytest.raises(Unreachable, match=r"sends [0-9]+ B/s and is given up"):
        read(name, digest, len(CONTENT))


def content(data: bytes) -> io.BytesIO:
    return io.BytesIO(data)


def test_push(state: RegistryState, name: ImageName) -> None:
    digest = digest_of(CONTENT)
    assert api.push_blob(name, digest, len(CONTENT), lambda: content(CONTENT))
    assert state.blobs[REPO, digest] == CONTENT
    assert api.push_blob(name, digest_of(b""), 0, lambda: content(b""))
    body = json.dumps(image(digest)).encode()
    assert api.push_manifest(name, body, OCI_MANIFEST) == digest_of(body)
    assert api.manifest(name) == (digest_of(body), image(digest))


def test_a_push_is_tried_again_from_the_start(state: RegistryState, name: ImageName) -> None:
    digest = digest_of(CONTENT)
    state.inject("PUT", 503, "drop")
    opened: list[Reader] = []

    def source() -> io.BytesIO:
        opened.append(content(CONTENT))
        return opened[-1]  # type: ignore[return-value]

    assert api.push_blob(name, digest, len(CONTENT), source)
    assert state.blobs[REPO, digest] == CONTENT
    assert len(opened) == 3


def test_a_mounted_blob_is_not_sent(state: RegistryState, name: ImageName) -> None:
    digest = state.put("other/place", CONTENT)

    def push() -> bool:
        return api.push_blob(name, digest, len(CONTENT), lambda: content(CONTENT), mount_from="other/place")

    assert not push()
    assert state.requests("PUT") == []
    assert api.exists(name, digest)
    del state.blobs["other/place", digest]
    assert push()


def test_what_is_sent_must_be_all(state: RegistryState, name: ImageName) -> None:
    with pytest.raises(RegistryError, match="ended 1 bytes early"):
        api.push_blob(name, digest_of(b"abc"), 3, lambda: content(b"ab"))
    assert state.blobs == {}


# What may pass, and what will not


@pytest.mark.parametrize("fault", [408, 429, 500, 502, 503, 504, "drop"])
def test_what_may_pass_is_tried_again(
    state: RegistryState, name: ImageName, fault: int | str, pauses: list[float]
) -> None:
    digest = state.put_manifest(REPO, "1", image())
    state.inject("manifests", fault, fault)
    assert api.head(name) == digest
    assert len(pauses) == 2
    state.always("manifests", fault)
    with pytest.raises((RegistryError, Unreachable)):
        api.head(name)
    assert len(state.asked) == 6


@pytest.mark.parametrize("status", [400, 403, 405, 413, 451])
def test_what_will_not_pass_is_not(
    state: RegistryState, name: ImageName, status: int, pauses: list[float]
) -> None:
    state.always("manifests", status)
    with pytest.raises(RegistryError, match=f"answered {status} for .*: a fault") as caught:
        api.manifest(name)
    assert caught.value.status == status
    assert (len(state.asked), pauses) == (1, [])


def test_a_registry_that_asks_to_wait(state: RegistryState, name: ImageName, pauses: list[float]) -> None:
    digest = state.put_manifest(REPO, "1", image())
    state.inject("manifests", (429, {"Retry-After": "7"}))
    assert api.head(name) == digest
    assert pauses == [7.0]
    state.inject("manifests", (429, {"Retry-After": "3600"}))
    with pytest.raises(RegistryError, match="answered 429"):
        api.head(name)


def test_a_registry_that_does_not_answer(state: RegistryState, name: ImageName, pauses: list[float]) -> None:
    asked = distribution.client(name)
    asked.policy = dataclasses.replace(asked.policy, read=0.2)
    state.always("HEAD", "slow:0.6")
    with pytest.raises(Unreachable, match="timed out"):
        api.head(name)
    assert pauses == [], "who is slow once is slow again"


def test_nobody_there() -> None:
    with pytest.raises(Unreachable, match=r"registry 127.0.0.1:1 cannot be reached: .*refused"):
        api.manifest(parse_image_name("127.0.0.1:1/x"))


# Logins


def log_in(tmp_path: Path, key: str, login: str) -> None:
    auths = {key: {"auth": base64.b64encode(login.encode()).decode()}}
    (tmp_path / "auth.json").write_text(json.dumps({"auths": auths}))


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("path", ["", "/team", "/team/app"])
def test_a_login(state: RegistryState, name: ImageName, tmp_path: Path, tokens: bool, path: str) -> None:
    state.login, state.tokens = "me:secret", tokens
    digest = state.put_manifest(REPO, "1", image())
    log_in(tmp_path, f"{name.host}{path}", "me:secret")
    assert api.head(name) == digest
    assert api.head(name) == digest
    assert api.push_blob(name, digest_of(b"x"), 1, lambda: content(b"x"))
    logins = state.requests("/token")
    assert len(logins) == (2 if tokens else 0), "one for pull, one for push"


def test_tokens_without_a_login(state: RegistryState, name: ImageName) -> None:
    state.tokens = True
    digest = state.put_manifest(REPO, "1", image())
    assert api.head(name) == digest
    assert "scope=repository%3Ateam%2Fapp%3Apull" in state.requests("/token")[0]


def test_a_wrong_login_is_not_tried_again(
    state: RegistryState, name: ImageName, tmp_path: Path, pauses: list[float]
) -> None:
    state.login = "me:secret"
    log_in(tmp_path, name.host, "me:wrong")
    with pytest.raises(RegistryError, match="answered 401") as caught:
        api.head(name)
    assert "login" in caught.value.hint
    assert (len(state.asked), pauses) == (2, [])


def test_a_token_that_expired(state: RegistryState, name: ImageName) -> None:
    state.tokens = True
    digest = state.put_manifest(REPO, "1", image())
    assert api.head(name) == digest
    distribution.client(name)._granted[REPO, "pull"] = "Bearer old"
    assert api.head(name) == digest


def test_a_credential_helper(
    state: RegistryState, name: ImageName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.login = "me:secret"
    digest = state.put_manifest(REPO, "1", image())
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        '#!/bin/sh\nread host\n[ "$1" = get ] && echo "{\\"Username\\": \\"me\\", \\"Secret\\": \\"secret\\"}"\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "auth.json").write_text(json.dumps({"credHelpers": {name.host: "test"}}))
    assert api.head(name) == digest


def test_credentials_do_not_follow_a_redirect(state: RegistryState, name: ImageName, tmp_path: Path) -> None:
    state.login = "me:secret"
    log_in(tmp_path, name.host, "me:secret")
    with FakeRegistry() as other:
        digest = other.state.put(REPO, CONTENT)
        state.put(REPO, CONTENT)
        state.inject("GET", 401, f"to:http://{other.host}/v2/{REPO}/blobs/{digest}")
        state.faults[0] = ("GET", (401, {"WWW-Authenticate": 'Basic realm="x"'}), False)
        assert read(name, digest, len(CONTENT)) == CONTENT
        assert "Authorization" in state.asked[1][2]
        assert "Authorization" not in other.state.asked[0][2]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_what_a_redirect_leads_to_asks_for_no_login(
    state: RegistryState, name: ImageName, tmp_path: Path, status: int
) -> None:
    """Neither directly nor by a token server of its own (CVE-2020-15157)."""
    log_in(tmp_path, name.host, "me:secret")
    with FakeRegistry() as other:
        realm = f'Bearer realm="http://{other.host}/token",service="x",scope="y"'
        other.state.always("/token", 200)
        other.state.always("/blobs", (401, {"WWW-Authenticate": realm}))
        state.always("/blobs", (status, {"Location": f"http://{other.host}/v2/{REPO}/blobs/x"}))
        with pytest.raises(RegistryError, match="answered 401"):
            read(name, digest_of(b"x"), 1)
        assert [path for _, path, _ in other.state.asked] == [f"/v2/{REPO}/blobs/x"]
        assert all("Authorization" not in headers for _, _, headers in other.state.asked)


def test_an_identity_token_is_not_sent_on(state: RegistryState, name: ImageName, tmp_path: Path) -> None:
    auths = {name.host: {"identitytoken": "secret"}}
    (tmp_path / "auth.json").write_text(json.dumps({"auths": auths}))
    state.tokens = True
    with FakeRegistry() as other:
        state.always("POST /token", f"to:http://{other.host}/token")
        with pytest.raises(RegistryError, match="sends a login on"):
            api.head(name)
        assert other.state.asked == []


def test_a_login_is_not_sent_through_a_proxy_to_loopback(
    state: RegistryState, name: ImageName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY", raising=False)
    state.login = "me:secret"
    log_in(tmp_path, name.host, "me:secret")
    digest = state.put_manifest(REPO, "1", image())
    with FakeRegistry() as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
        assert api.head(name) == digest
        assert proxy.state.asked == []


def test_netrc_is_nobodys_login(
    state: RegistryState, name: ImageName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    api.head(name)
    assert "Authorization" not in state.asked[0][2]


@pytest.mark.parametrize("location", ["http://[", "http://127.0.0.1:port/", "//["])
def test_a_redirect_to_no_address(state: RegistryState, name: ImageName, location: str) -> None:
    state.always("GET", f"to:{location}")
    with pytest.raises(RegistryError, match="what is no address"):
        api.manifest(name)


def test_numbers_that_are_none(state: RegistryState, name: ImageName, pauses: list[float]) -> None:
    """`²` is a digit to str.isdigit, and no number to int and float."""
    digest = state.put_manifest(REPO, "1", image())
    state.inject("manifests", (429, {"Retry-After": "\xb2"}))
    assert api.head(name) == digest
    assert len(pauses) == 1


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("<http://[>", "which is no address"),
        ("</v2/team/app/tags/list?n=1000>", "without end"),
        ("</v2/team/app/tags/list?n=1000&last=a>", "without end"),
    ],
)
def test_a_list_of_tags_that_does_not_end(
    state: RegistryState, name: ImageName, link: str, message: str
) -> None:
    state.put_manifest(REPO, "a", image())
    state.tags_link = f'{link}; rel="next"'
    with pytest.raises(RegistryError, match=message):
        api.tags(name)
    assert len(state.asked) <= 3


def test_redirects_without_end(server: FakeRegistry, state: RegistryState, name: ImageName) -> None:
    state.always("GET", f"to:http://{server.host}/v2/{REPO}/manifests/1")
    with pytest.raises(RegistryError, match="without end"):
        api.manifest(name)


@pytest.mark.parametrize("url", ["http://registry.example/x", "ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_redirects_that_are_not_followed(state: RegistryState, name: ImageName, url: str) -> None:
    state.always("GET", f"to:{url}")
    with pytest.raises(RegistryError, match="where dibo does not follow"):
        api.manifest(name)


def test_a_registry_outside_sends_nobody_inside() -> None:
    client = Client("registry.example", plain_http=False)
    client._check_address("https://elsewhere.example/x")
    for url in (
        "https://127.0.0.1/x",
        "http://registry.example/x",
        "https://me@registry.example/",
        "https://localhost:5000/",
    ):
        with pytest.raises(RegistryError, match="where dibo does not follow"):
            client._check_address(url)


def test_a_realm_gets_no_password_in_the_clear(state: RegistryState, name: ImageName, tmp_path: Path) -> None:
    state.login, state.tokens, state.realm = "me:secret", True, "http://tokens.example/token"
    log_in(tmp_path, name.host, "me:secret")
    with pytest.raises(RegistryError, match="where dibo does not follow"):
        api.head(name)


def test_an_upload_place_keeps_tls() -> None:
    client = Client("registry.example", plain_http=False)
    name = parse_image_name("registry.example/a/b")
    base = "https://registry.example/v2/a/b/blobs/uploads/"
    assert client.place_of("http://registry.example/v2/a/b/blobs/uploads/1", name) == f"{base}1"
    assert client.place_of("/v2/a/b/blobs/uploads/2?state=x", name) == f"{base}2?state=x"
    assert client.place_of("https://store.example/y", name) == "https://store.example/y"


def test_threads_share_a_client(state: RegistryState, name: ImageName) -> None:
    digest = state.put(REPO, CONTENT)
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(read(name, digest, len(CONTENT)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each == CONTENT for each in found] == [True] * 4


def test_retries_are_bounded() -> None:
    """At its worst dibo waits for less than half a minute between tries, and not the two minutes of oras."""
    policy = RetryPolicy()
    assert sum(policy.pauses) * 1.5 < 30
    assert policy.longest_wait <= 30


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("registry:5000/x", True),
        ("other.example/x", True),
        ("registry:5001/x", False),
        ("ghcr.io/x", False),
        ("http://registry:5001/x", True),
        ("https://registry:5000/x", False),
        ("docker://https://localhost:1/x", False),
    ],
)
def test_plain_http_is_spoken_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, name: str, plain: bool
) -> None:
    monkeypatch.setattr(distribution, "_client_of", client_of.__wrapped__)
    monkeypatch.setenv("DIBO_PLAIN_HTTP", "registry:5000, other.example")
    assert distribution.speaks_plain_http(parse_image_name(name)) == plain
    monkeypatch.delenv("DIBO_PLAIN_HTTP")
    assert distribution.speaks_plain_http(parse_image_name(name)) == name.startswith("http:")


def test_a_registry_on_loopback_is_asked_over_tls_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(distribution, "_client_of", client_of.__wrapped__)
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with FakeRegistry() as server:
        server.secure(certificate)
        digest = server.state.put_manifest(REPO, "1", image())
        assert api.head(parse_image_name(f"localhost:{server.port}/{REPO}:1")) == digest
        with pytest.raises((RegistryError, Unreachable)):
            api.head(parse_image_name(f"http://localhost:{server.port}/{REPO}:1"))
        with pytest.raises(RegistryError, match=r"certificate .* does not hold"):
            api.head(parse_image_name(f"127.0.0.1:{server.port}/{REPO}:1"))
    with FakeRegistry() as plain:
        digest = plain.state.put_manifest(REPO, "1", image())
        assert api.head(parse_image_name(f"{plain.host}/{REPO}:1")) == digest


def test_plain_http_goes_nowhere_but_to_the_registry_itself() -> None:
    client = Client("registry:5000", plain_http=True)
    assert client.base == "http://registry:5000/v2/"
    client._check_address("http://registry:5000/v2/x")
    client._check_address("https://elsewhere.example/x")
    for place in ("http://127.0.0.1:80/", "https://localhost/", "http://elsewhere.example/x"):
        with pytest.raises(RegistryError, match="where dibo does not follow"):
            client._check_address(place)
