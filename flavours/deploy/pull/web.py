"""HTTP: one request at a time, and streams that go on where they broke off.

What may pass (no connection, a reset, silence, 408, 429, 5xx) is tried again a few times; what will not (a
certificate, other 4xx) is not. A login goes to the origin that it is for, never along a redirect, and there is no way
from TLS to plain HTTP.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

from pull.errors import Passing, PullError

CHUNK = 1 << 20
_T = TypeVar("_T")
_REDIRECTS = (301, 302, 303, 307, 308)
_MAY_PASS = (408, 429, 500, 502, 503, 504)
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True)
class Patience:
    """Seconds to wait for a connection and for bytes on it; the pauses before further tries, which begin anew after
    `progress` bytes."""

    connect: float = 15.0
    silence: float = 30.0
    pauses: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    progress: int = 1 << 20
    sleep: Callable[[float], None] = time.sleep
    tell: Callable[[str], None] = lambda _: None
    """Is told why something is tried again."""

    def wait(self, passing: Passing, pause: float) -> None:
        """Before the next try."""
        self.tell(f"{passing}; trying again in {pause:.0f} s")
        self.sleep(pause)

    def patiently(self, once: Callable[[], _T]) -> _T:
        """`once`, and again while it raises Passing."""
        for pause in self.pauses:
            try:
                return once()
            except Passing as passing:
                self.wait(passing, pause)
        return once()


class Answer:
    """Of a server. Whoever takes it closes it."""

    def __init__(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, url: str
    ) -> None:
        self._connection, self._response = connection, response
        self.url, self.status = url, response.status

    def header(self, name: str) -> str:
        return self._response.headers.get(name, "") or ""

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the server says so."""
        text = self.header("Content-Length")
        return int(text) if text.isdecimal() else None

    @property
    def span(self) -> tuple[int, int | None] | None:
        """Of a 206: the first byte, and the size of the whole."""
        match = _RANGE.fullmatch(self.header("Content-Range"))
        return (int(match[1]), None if match[3] == "*" else int(match[3])) if match else None

    def read(self, size: int) -> bytes:
        """Bytes as they come, at most `size`; none at the end. Raises Passing."""
        try:
            return self._response.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> Passing:
        return Passing(f"{host_of(self.url)} broke off: {_cause(error)}")

    def whole(self, limit: int) -> bytes:
        """The body, or its first `limit` bytes. Raises Passing."""
        try:
            found = self._response.read(limit)
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error
        if len(found) < min(limit, self.length or 0):
            raise Passing(f"{host_of(self.url)} broke off")
        return found

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client:
    """`authorities` is a file of certificates, PEM."""

    def __init__(self, patience: Patience, authorities: str | None = None) -> None:
        self.patience = patience
        self._authorities = authorities
        self._context: ssl.SSLContext | None = None

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        login: str = "",
        follow: bool = True,
    ) -> Answer:
        """One answer, whatever its status but those that may pass. `login` is an Authorization header for the
        origin of `url`. Raises Passing, PullError."""
        origin = urlsplit(url)[:2]
        for _ in range(6):
            own = {"Authorization": login} if login and urlsplit(url)[:2] == origin else {}
            answer = self._once(method, url, {**(headers or {}), **own}, body)
            if answer.status in _MAY_PASS:
                with answer:
                    raise Passing(f"{host_of(url)} answered {answer.status}")
            if answer.status not in _REDIRECTS or not follow:
                return answer
            with answer:
                new = urljoin(url, answer.header("Location"))
            if urlsplit(new).scheme != "https" and (urlsplit(url).scheme, urlsplit(new).scheme) != (
                "http",
                "http",
            ):
                raise PullError(f"{host_of(url)} sends to {host_of(new)} without TLS: not followed")
            url = new
        raise PullError(f"{host_of(url)} sends from one address to the next without end")

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = self._connection(parts.scheme, parts.hostname or "", parts.port)
        sent = {"User-Agent": "dibo-deploy", "Accept-Encoding": "identity", "Connection": "close"}
        try:
            connection.connect()
            connection.sock.settimeout(self.patience.silence)
            connection.request(method, target, body=body, headers={**sent, **headers})
            return Answer(connection, connection.getresponse(), url)
        except ssl.SSLCertVerificationError as error:
            connection.close()
            why = f"the certificate of {host_of(url)} does not hold: {error.verify_message}"
            raise PullError(f"{why}; check the clock, and the authorities in the ramdisk") from error
        except UnicodeError as error:
            connection.close()
            raise PullError(f"{host_of(url)} is no name of a host: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Passing(f"{host_of(url)} cannot be reached: {_cause(error)}") from error
        except BaseException:
            connection.close()
            raise

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self.patience.connect)
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self._authorities)
        return http.client.HTTPSConnection(host, port, timeout=self.patience.connect, context=self._context)


Request = Callable[[int, "int | None"], Answer]
"""Asks for the bytes from the first on, to the last where one is named; the status is 200, 206 or 416. Raises
Passing, PullError."""


class Stream:
    """The bytes of a file in order, from the first to the last; a cut is mended by a further request."""

    def __init__(self, request: Request, patience: Patience, size: int | None, host: str) -> None:
        """`size` where it is known already."""
        self._request, self._patience, self._host = request, patience, host
        self.size = size
        self._at = self._cut_at = self._cuts = 0
        self._answer: Answer | None = None

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end. Raises PullError after several cuts in a row."""
        while self.size is None or self._at < self.size:
            try:
                data = self._once(size)
            except Passing as passing:
                self.close()
                self._cut(passing)
                continue
            self._at += len(data)
            return data
        return b""

    def _once(self, size: int) -> bytes:
        if self._answer is None:
            self._answer = self._connect()
        wanted = size if self.size is None else min(size, self.size - self._at)
        data = self._answer.read(wanted)
        if not data and self.size is not None:
            raise Passing(f"{self._host} broke off after {self._at} of {self.size} bytes")
        return data

    def _cut(self, passing: Passing) -> None:
        if self._at - self._cut_at >= self._patience.progress:
            self._cuts = 0
        self._cut_at = self._at
        if self._cuts >= len(self._patience.pauses):
            raise PullError(f"{passing}; tried {self._cuts + 1} times") from passing
        self._patience.wait(passing, self._patience.pauses[self._cuts])
        self._cuts += 1

    def _connect(self) -> Answer:
        """An answer that goes on at the place of the cut, also from a server that sends all from the start."""
        answer = self._request(self._at, None)
        try:
            if answer.status == 206:
                if answer.span is None or answer.span[0] != self._at:
                    raise PullError(f"{self._host} sent another range than asked for")
            elif answer.status == 200:
                self._check_size(answer.length)
                self._skip(answer, self._at)
            else:
                raise PullError(f"{self._host} has no byte {self._at}: the image changed meanwhile")
        except BaseException:
            answer.close()
            raise
        return answer

    def _check_size(self, length: int | None) -> None:
        if self.size is None:
            self.size = length
        elif length not in (None, self.size):
            raise PullError(
                f"{self._host} has {length} bytes, wanted {self.size}: not the image that was meant"
            )

    def _skip(self, answer: Answer, left: int) -> None:
        while left:
            piece = answer.read(min(left, CHUNK))
            if not piece:
                raise Passing(f"{self._host} broke off again")
            left -= len(piece)

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None


def read_range(request: Request, patience: Patience, first: int, size: int, host: str) -> bytes:
    """Those bytes, all of them. Raises PullError for a server that gives no ranges."""

    def once() -> bytes:
        with request(first, first + size - 1) as answer:
            if answer.status != 206 or answer.span is None or answer.span[0] != first:
                raise PullError(
                    f"{host} gives no ranges of a file (RFC 9110), which a qcow2 needs: take another server, or a raw"
                    " image, compressed by zstd"
                )
            found = answer.whole(size)
        if len(found) != size:
            raise Passing(f"{host} broke off within a range")
        return found

    return patience.patiently(once)


def ranged(first: int, last: int | None) -> dict[str, str]:
    """The header that asks for a range, unless it is all."""
    return {"Range": f"bytes={first}-{'' if last is None else last}"} if first or last is not None else {}


def host_of(url: str) -> str:
    """For messages."""
    return urlsplit(url).netloc.rpartition("@")[2] or "the server"


def _cause(error: BaseException) -> str:
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "it does not answer"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
