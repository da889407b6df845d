"""The door to HTTP, against a real server on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import multiprocessing
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.errors import BaseError, OutputError, Unreachable, VerificationFailed
from dibo.system import http as fetch
from dibo.system.retry import RetryPolicy
from tests.support.servers.fake_web_server import FakeWebServer
from tests.support.timeouts import TIMEOUT

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def web() -> Iterator[FakeWebServer]:
    with FakeWebServer() as server:
        server.site.files["/file"] = BODY
        yield server


@pytest.fixture
def naps() -> list[float]:
    return []


@pytest.fixture
def policy(naps: list[float]) -> RetryPolicy:
    return RetryPolicy(read=TIMEOUT, pauses=(0.5, 2.0, 6.0), sleep=naps.append, jitter=lambda: 1.0)


def nowhere() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/file"


def test_get_and_get_again_unchanged(web: FakeWebServer, policy: RetryPolicy) -> None:
    first = fetch.get(f"{web.url}/file", policy=policy)
    assert first is not None
    assert first.body == BODY
    assert fetch.get(f"{web.url}/file", known=first.validators, policy=policy) is None
    web.site.files["/file"] = b"new"
    again = fetch.get(f"{web.url}/file", known=first.validators, policy=policy)
    assert again is not None
    assert again.body == b"new"


def test_a_text_has_a_limit(web: FakeWebServer, policy: RetryPolicy) -> None:
    with pytest.raises(BaseError, match=r"larger than 1000 B"):
        fetch.get(f"{web.url}/file", limit=1000, policy=policy)


def test_what_passes_is_tried_again(web: FakeWebServer, policy: RetryPolicy, naps: list[float]) -> None:
    web.site.inject("/file", 503, "cut:10", 429)
    found = fetch.get(f"{web.url}/file", policy=policy)
    assert found is not None
    assert found.body == BODY
    assert naps == [0.5, 2.0, 6.0]


def test_what_does_not_pass_ends(web: FakeWebServer, policy: RetryPolicy, naps: list[float]) -> None:
    web.site.inject("/file", 500, 500, 500, 500)
    with pytest.raises(Unreachable, match=r"/file failed 4 times: the server answered 500"):
        fetch.get(f"{web.url}/file", policy=policy)
    assert len(naps) == 3


@pytest.mark.parametrize("status", [403, 404, 410])
def test_refusals_are_final(web: FakeWebServer, policy: RetryPolicy, naps: list[float], status: int) -> None:
    web.site.inject("/file", status)
    with pytest.raises(BaseError, match=f"/file: the server answered {status}") as caught:
        fetch.get(f"{web.url}/file", policy=policy)
    assert not isinstance(caught.value, Unreachable)
    assert naps == []


def test_nobody_there_is_known_at_once(policy: RetryPolicy, naps: list[float]) -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        fetch.get(nowhere(), policy=policy)
    assert naps == []


def test_a_server_that_says_nothing_times_out(naps: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        with pytest.raises(Unreachable, match="failed 2 times: timed out"):
            fetch.get(url, policy=RetryPolicy(read=0.1, pauses=(1.0,), sleep=naps.append))


def test_other_schemes_are_refused() -> None:
    with pytest.raises(BaseError, match="neither an http nor an https"):
        fetch.get("file:///etc/passwd")


@pytest.mark.parametrize("url", ["http://[::1", "https://h\u2100.example/", "http://host:port/"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(BaseError, match="is no address"):
        fetch.get(url)


def test_a_proxy_is_asked(web: FakeWebServer, policy: RetryPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", web.url)
    web.site.files["http://elsewhere.invalid/x"] = b"through the proxy"
    found = fetch.get("http://elsewhere.invalid/x", policy=policy)
    assert found is not None
    assert found.body == b"through the proxy"


def test_a_login_is_for_that_server_alone_and_not_shown(web: FakeWebServer, policy: RetryPolicy) -> None:
    address = web.url.replace("http://", "http://me:s%40cret@")
    with FakeWebServer() as elsewhere:
        elsewhere.site.files["/file"] = b"there"
        web.site.redirects["/moved"] = f"{elsewhere.url}/file"
        answer = fetch.get(f"{address}/moved", policy=policy)
        assert answer is not None
        assert answer.body == b"there"
        (_, headers), (_, theirs) = web.site.asked[-1], elsewhere.site.asked[-1]
    assert headers["Authorization"] == f"Basic {base64.b64encode(b'me:s@cret').decode()}"
    assert "Authorization" not in theirs
    for failing in ("/none", "/moved"):
        with pytest.raises(BaseError) as caught:
            fetch.get(f"{address}{failing}", policy=policy)
        assert "cret" not in f"{caught.value.message} {caught.value.hint}"
    with pytest.raises(BaseError, match=r"^http://127\.0\.0\.1:\d+/file is larger"):
        fetch.get(f"{address}/file", limit=10, policy=policy)


def test_download(web: FakeWebServer, policy: RetryPolicy, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    fetch.download(
        f"{web.url}/file", tmp_path / "f", sha256=SHA, policy=policy, progress=lambda *a: told.append(a)
    )
    assert (tmp_path / "f").read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".f.lock", "f"]
    fetch.download(f"{web.url}/file", tmp_path / "f", sha256=SHA, policy=policy)
    assert web.site.paths() == ["/file"], "what is here is not asked for again"


def test_a_damaged_file_is_replaced(web: FakeWebServer, policy: RetryPolicy, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(BODY[:-1])
    fetch.download(f"{web.url}/file", tmp_path / "f", sha256=SHA, policy=policy)
    assert (tmp_path / "f").read_bytes() == BODY


def test_resumes_where_it_broke_off(web: FakeWebServer, policy: RetryPolicy, tmp_path: Path) -> None:
    web.site.inject("/file", "cut:500000", "cut:100000")
    fetch.download(f"{web.url}/file", tmp_path / "f", sha256=SHA, policy=policy)
    assert (tmp_path / "f").read_bytes() == BODY
    assert [headers.get("Range") for _, headers in web.site.asked] == [None, "bytes=500000-", "bytes=600000-"]


def test_nothing_stays_of_a_download_that_failed(web: FakeWebServer, tmp_path: Path) -> None:
    web.site.inject("/file", "cut:500000")
    with pytest.raises(Unreachable, match="the connection ended after 488 KiB of 1 MiB"):
        fetch.download(f"{web.url}/file", tmp_path / "f", sha256=SHA, policy=RetryPolicy(pauses=()))
    assert [path.name for path in tmp_path.iterdir()] == [".f.lock"]


def killed_download(web: FakeWebServer, tmp_path: Path, data: bytes) -> None:
    """What is there after SIGKILL."""
    (tmp_path / "f.part").write_bytes(data)
    etag = f'"{hashlib.sha256(BODY).hexdigest()[:16]}"'
    (tmp_path / "f.part.json").write_text(json.dumps({"url": f"{web.url}/file", "version": etag}))


def test_resumes_what_a_killed_run_left(web: FakeWebServer, tmp_path: Path) -> None:
    killed_download(web, tmp_path, BODY[:500000])
    fetch.download(f"{web.url}/file", tmp_path / "f", sha256=SHA)
    assert web.site.asked[-1][1]["Range"] == "bytes=500000-"
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_server_that_trickles_is_given_up(web: FakeWebServer, tmp_path: Path) -> None:
    slow = RetryPolicy(read=0.3, sleep=lambda _: None)
    web.site.inject("/file", "trickle:100", "trickle:100")
    with pytest.raises(Unreachable, match=r"comes with [0-9]+ B/s and is given up"):
        fetch.download(f"{web.url}/file", tmp_path / "f", sha256=SHA, policy=slow)
    with pytest.raises(Unreachable, match="is given up"):
        fetch.get(f"{web.url}/file", policy=slow)
    assert [path.name for path in tmp_path.iterdir()] == [".f.lock"]


def test_loopback_is_not_proxied(web: FakeWebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, nowhere())
    answer = fetch.get(f"{web.url}/file")
    assert answer is not None
    assert answer.body == BODY


@pytest.mark.parametrize("lacking", ["ranges", "validators"])
def test_starts_again_where_a_server_cannot_resume(
    web: FakeWebServer, policy: RetryPolicy, tmp_path: Path, lacking: str
) -> None:
    setattr(web.site, lacking, False)
    web.site.inject("/file", "cut:500000")
    fetch.download(f"{web.url}/file", tmp_path / "f", sha256=SHA, policy=policy)
    assert (tmp_path / "f").read_bytes() == BODY


def test_starts_again_when_the_partial_is_damaged(web: FakeWebServer, tmp_path: Path) -> None:
    killed_download(web, tmp_path, b"x" * 500000)
    fetch.download(f"{web.url}/file", tmp_path / "f", sha256=SHA)
    assert (tmp_path / "f").read_bytes() == BODY


def test_another_file_than_wanted_leaves_nothing(
    web: FakeWebServer, policy: RetryPolicy, tmp_path: Path
) -> None:
    with pytest.raises(VerificationFailed, match=f"has the sha256 {SHA}, wanted 000"):
        fetch.download(f"{web.url}/file", tmp_path / "f", sha256="0" * 64, policy=policy)
    assert [path.name for path in tmp_path.iterdir()] == [".f.lock"]


def test_a_directory_that_cannot_be_written(web: FakeWebServer, policy: RetryPolicy, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        fetch.download(f"{web.url}/file", tmp_path / "missing" / "f", sha256=SHA, policy=policy)


def _download(url: str, target: str) -> None:
    fetch.download(url, Path(target), sha256=SHA, policy=RetryPolicy(pauses=(0.01,) * 8))


def test_two_processes_want_the_same_file(web: FakeWebServer, tmp_path: Path) -> None:
    web.site.inject("/file", "cut:300000", "cut:300000")
    context = multiprocessing.get_context("spawn")
    both = [
        context.Process(target=_download, args=(f"{web.url}/file", str(tmp_path / "f"))) for _ in range(2)
    ]
    for each in both:
        each.start()
    for each in both:
        each.join(20)
    assert [each.exitcode for each in both] == [0, 0]
    assert (tmp_path / "f").read_bytes() == BODY
    assert len(web.site.paths()) == 3, "one of them downloaded, the other one waited"


def test_more_than_the_limit_is_refused(web: FakeWebServer, tmp_path: Path, policy: RetryPolicy) -> None:
    for web.site.lengths in (True, False):
        with pytest.raises(BaseError, match=r"/file is larger than 1024 KiB"):
            fetch.download(
                f"{web.url}/file", tmp_path / "file", sha256=SHA, policy=policy, limit=len(BODY) - 1
            )
        assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    fetch.download(f"{web.url}/file", tmp_path / "file", sha256=SHA, policy=policy, limit=len(BODY))


def test_a_redirect_to_ftp_is_not_followed(web: FakeWebServer, tmp_path: Path, policy: RetryPolicy) -> None:
    web.site.redirects["/moved"] = "ftp://127.0.0.1/file"
    with pytest.raises(BaseError, match=r"a server leads to ftp://127.0.0.1/file, which is neither"):
        fetch.download(f"{web.url}/moved", tmp_path / "file", sha256=SHA, policy=policy)


def test_a_proxys_login_goes_to_no_other_server(
    web: FakeWebServer, tmp_path: Path, policy: RetryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeWebServer() as proxy:
        proxy.site.redirects["http://example.org/file"] = f"{web.url}/file"
        monkeypatch.setenv("http_proxy", proxy.url.replace("http://", "http://user:word@"))
        fetch.download("http://example.org/file", tmp_path / "file", sha256=SHA, policy=policy)
        assert "Proxy-Authorization" in proxy.site.asked[0][1]
    assert [headers.get("Proxy-Authorization") for _, headers in web.site.asked] == [None]
