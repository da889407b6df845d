"""HTTP against real servers with bad days."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from pull.errors import Passing, PullError
from pull.web import Answer, Client, Patience, Stream, ranged, read_range
from tests.support.machines.direct_boot import free_port
from tests.support.servers.fake_web_server import FakeWebServer, make_certificate

BODY = random.Random(7).randbytes(300_000)
QUICK = Patience(connect=5.0, silence=5.0, pauses=(0.0, 0.0, 0.0), progress=1000, sleep=lambda _: None)


@pytest.fixture
def web() -> Iterator[FakeWebServer]:
    with FakeWebServer() as server:
        server.site.files["/file"] = BODY
        yield server


def stream(web: FakeWebServer, *, size: int | None = None, patience: Patience = QUICK) -> Stream:
    client = Client(patience)

    def request(first: int, last: int | None) -> Answer:
        return client.ask("GET", f"{web.url}/file", headers=ranged(first, last))

    return Stream(request, patience, size, "host")


def whole(found: Stream) -> bytes:
    return b"".join(iter(lambda: found.read(10_000), b""))


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_a_stream_goes_on_after_cuts_and_bad_answers(web: FakeWebServer, ranges: bool) -> None:
    web.site.ranges = ranges
    web.site.inject("/file", "cut:100000", 503, "cut:150000", 429)
    assert whole(stream(web)) == BODY
    assert len(web.site.asked) == 5
    assert web.site.asked[1][1]["Range"] == "bytes=100000-"


def test_cuts_without_progress_end_it(web: FakeWebServer) -> None:
    web.site.inject("/file", "cut:5000", *["cut:10"] * 9)
    with pytest.raises(PullError, match=r"host broke off after 50\d\d of 300000 bytes; tried 4 times"):
        whole(stream(web))


def test_a_server_that_is_gone(web: FakeWebServer) -> None:
    web.close()
    with pytest.raises(PullError, match=r"cannot be reached: Connection refused; tried 4 times"):
        whole(stream(web))


def test_a_server_that_never_answers() -> None:
    patience = Patience(connect=1.0, silence=0.2, pauses=(0.0,), sleep=lambda _: None)
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), BaseHTTPRequestHandler
    )  # it listens, and nobody takes the calls
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        with pytest.raises(Passing, match="cannot be reached: it does not answer"):
            patience.patiently(lambda: Client(patience).ask("GET", url))
    finally:
        server.server_close()


def test_another_size_than_the_registry_said(web: FakeWebServer) -> None:
    with pytest.raises(PullError, match="has 300000 bytes, wanted 299999"):
        whole(stream(web, size=299_999))


def test_ranges(web: FakeWebServer) -> None:
    client = Client(QUICK)

    def request(first: int, last: int | None) -> Answer:
        return client.ask("GET", f"{web.url}/file", headers=ranged(first, last))

    web.site.inject("/file", 500, "cut:10")
    assert read_range(request, QUICK, 1000, 70_000, "host") == BODY[1000:71_000]
    web.site.ranges = False
    with pytest.raises(PullError, match="host gives no ranges of a file"):
        read_range(request, QUICK, 1000, 70_000, "host")


class Redirects:
    """Sends everything to one place, and keeps what it was asked."""

    def __init__(self, place: str) -> None:
        asked: list[dict[str, str]] = []
        self.asked = asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(dict(self.headers))
                self.send_response(307)
                self.send_header("Location", place or self.path)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/x"

    def __enter__(self) -> Redirects:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_login_does_not_follow_to_somebody_else(web: FakeWebServer) -> None:
    with Redirects(f"{web.url}/file") as first:
        with Client(QUICK).ask("GET", first.url, login="Basic c2VjcmV0") as answer:
            assert answer.whole(1 << 20) == BODY
        assert first.asked[0]["Authorization"] == "Basic c2VjcmV0"
    assert "Authorization" not in web.site.asked[0][1]


def test_redirects_without_end() -> None:
    with Redirects("") as circle, pytest.raises(PullError, match="without end"):
        Client(QUICK).ask("GET", circle.url)


def test_a_redirect_to_no_web_address() -> None:
    with (
        Redirects("file:///etc/passwd") as place,
        pytest.raises(PullError, match="without TLS: not followed"),
    ):
        Client(QUICK).ask("GET", place.url)


def test_certificates_are_checked(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with FakeWebServer() as web:
        web.secure(certificate)
        web.site.files["/file"] = BODY
        url = f"{web.url}/file"
        with Client(QUICK, str(certificate)).ask("GET", url) as answer:
            assert answer.whole(1 << 20) == BODY
        for authorities, place in ((None, url), (str(certificate), url.replace("localhost", "127.0.0.1"))):
            with pytest.raises(PullError, match=r"the certificate of .* does not hold") as raised:
                Client(QUICK, authorities).ask("GET", place)
            assert not isinstance(raised.value, Passing)


def test_names_that_nobody_knows() -> None:
    with pytest.raises(Passing, match=r"nowhere\.invalid:\d+ cannot be reached: its name is not known"):
        Client(QUICK).ask("GET", f"http://nowhere.invalid:{free_port()}/")


def test_a_length_that_is_no_number() -> None:
    """`²` is a digit to str.isdigit, and no number to int."""
    answer = Answer.__new__(Answer)
    answer._response = SimpleNamespace(headers={"Content-Length": "\xb2"})  # type: ignore[assignment]
    assert answer.length is None
