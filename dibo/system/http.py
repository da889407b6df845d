"""The door to HTTP: the only file that asks web servers for something.

Two questions: `get` for a small text that may not have changed, `download` for a large file whose sha256 is
known beforehand. A download is kept as `NAME.part` beside its final name and goes on where it broke off
(RFC 9110, Range and If-Range); two processes that need the same file take turns by flock(2); nothing has
the final name before its sha256 was right.

What may pass (a reset, a time-out while reading, a short read, 408, 429, 5xx) is tried again, three times
in ten seconds. What will not (other 4xx, a certificate) is not, and neither is a server that cannot be
reached, or that sends too slowly: offline is a normal state, and callers have an answer to it. A download that fails
leaves nothing; what a killed process left is taken up. Proxies come from the environment (dibo.system.proxies).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client as http_client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any, Final, TypeVar
from urllib.parse import urlsplit

from dibo.errors import BaseError, OutputError, Unreachable, VerificationFailed
from dibo.system import disk_space
from dibo.system.proxies import proxy_for, split_login
from dibo.system.retry import TRANSIENT_STATUS, RateGuard, RetryPolicy, Transient, with_retries
from dibo.system.waits import WatchedConnection
from dibo.units import human_size

_CHUNK: Final = 1 << 20
_AGENT: Final = "dibo"
_T = TypeVar("_T")
Progress = Callable[[int, int | None], None]
"""Is told bytes so far and, where the server says so, in all."""


LARGEST_DOWNLOAD: Final = 64 << 30
"""Bytes; a server that sends more is given up."""
DOWNLOADS: Final = RetryPolicy(connect=30.0, pauses=(0.5, 2.0, 6.0))
"""The default policy for downloads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What a server said of a text's version, in order to ask later whether it changed (RFC 9110, 8.8)."""

    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    body: bytes
    validators: Validators


def get(
    url: str, *, known: Validators | None = None, limit: int = 4 << 20, policy: RetryPolicy = DOWNLOADS
) -> Text | None:
    """The body at `url`, or None when it is still what `known` tells of.

    Raises Unreachable; BaseError for a refusal or more than `limit` bytes.
    """
    headers = {}
    if known is not None and known.etag:
        headers["If-None-Match"] = known.etag
    if known is not None and known.modified:
        headers["If-Modified-Since"] = known.modified

    def once() -> Text | None:
        with _open(url, headers, policy) as response:
            if response.status == 304:
                return None
            body = _read_whole(_Body(url, response, policy), limit + 1)
            if len(body) > limit:
                raise _too_large(url, limit)
            return Text(body=body, validators=_validators(response.headers))

    return with_retries(once, policy)


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    policy: RetryPolicy = DOWNLOADS,
    progress: Progress | None = None,
    limit: int = LARGEST_DOWNLOAD,
) -> None:
    """Make `target` the file at `url`, whose sha256 (hex) is known, and which has at most `limit` bytes. A right
    `target` is left as it is.

    Raises Unreachable, VerificationFailed, BaseError, OutputError.
    """
    with _writing(target), _turn(target):
        if target.exists():
            if digest_of(target) == sha256:
                return
            target.unlink()
        part = _Part(target.with_name(f"{target.name}.part"), limit)
        try:
            resumed = part.size() > 0
            actual = with_retries(lambda: part.fetch(url, policy, progress), policy)
            if actual != sha256 and resumed:  # what was there before may have been another version
                part.forget()
                actual = with_retries(lambda: part.fetch(url, policy, progress), policy)
            if actual != sha256:
                raise VerificationFailed(
                    f"{split_login(url)[0]} has the sha256 {actual}, wanted {sha256}",
                    hint="it was changed on its way or on the server; try again, or take another mirror",
                )
            part.path.replace(target)
        finally:
            part.forget()


def digest_of(path: Path) -> str:
    """The sha256 of a file, in hex. Raises BaseError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BaseError(f"cannot read {path}: {error.strerror}") from error


def _digest_so_far(file: IO[bytes]) -> hashlib._Hash:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest


class _Part:
    """A download under way: the bytes so far, and beside them which version of the file they are of."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self._limit = limit
        self._version = path.with_name(f"{path.name}.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)

    def fetch(self, url: str, policy: RetryPolicy, progress: Progress | None) -> str:
        """Get what is missing; the sha256 of the whole."""
        version, have = self._known(url), self.size()
        headers = {"Range": f"bytes={have}-", "If-Range": version} if have and version else {}
        with _open(url, headers, policy) as response:
            if response.status == 416:  # nothing beyond what is here, or less: only a new start tells
                self.forget()
                raise _transient(url, "the server has no such range", policy)
            start = have if response.status == 206 and _range_start(response.headers) == have else 0
            if response.status == 206 and start != have:
                self.forget()
                raise _transient(url, "the server sent another range than asked for", policy)
            with self.path.open("r+b" if start else "wb") as file:
                digest = _digest_so_far(file) if start else hashlib.sha256()
                self._remember(url, response.headers)
                file.seek(start)
                for size in _copy(_Body(url, response, policy), file, digest.update, progress):
                    if size > self._limit:
                        raise _too_large(url, self._limit)
        return digest.hexdigest()

    def _known(self, url: str) -> str:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(self._version.read_text())
            if note["url"] == url:
                return str(note["version"])
        return ""

    def _remember(self, url: str, headers: Message) -> None:
        validators = _validators(headers)  # If-Range wants a strong one (RFC 9110, 13.1.5)
        version = (
            validators.modified
            if validators.etag.startswith("W/") or not validators.etag
            else validators.etag
        )
        self._version.write_text(json.dumps({"url": url, "version": version}))


class _Body:
    """The body of a response, read no more slowly than the policy allows, and up to the allowed size."""

    def __init__(self, url: str, response: http_client.HTTPResponse, policy: RetryPolicy) -> None:
        self._url = url
        self._response = response
        self._guard = RateGuard(policy)

    @property
    def length(self) -> int | None:
        """Bytes, as the server says."""
        text = self._response.headers.get("Content-Length", "")
        return int(text) if text.isdecimal() else None

    def read(self, size: int) -> bytes:
        """What comes at once, at most `size` bytes; nothing at the end, also where it is too early."""
        data, too_slow = self._guard.is_too_slow(lambda: self._response.read1(size))
        if too_slow:
            url, _ = split_login(self._url)
            raise Unreachable(f"{url} comes with {self._guard.rate} and is given up", hint=_OFFLINE)
        return data


def _too_large(url: str, limit: int) -> BaseError:
    return BaseError(f"{split_login(url)[0]} is larger than {human_size(limit)}", hint="check the address")


def _copy(
    body: _Body, file: IO[bytes], update: Callable[[bytes], None], progress: Progress | None
) -> Iterator[int]:
    """Append the body to `file`, which stands where it begins, a piece at a time; before each how many bytes that
    makes, at first those that the server promises. Raises EOFError for a body that ends early."""
    done = file.tell()
    total = None if body.length is None else done + body.length
    yield total or done
    while chunk := body.read(_CHUNK):
        done += len(chunk)
        yield done
        file.write(chunk)
        update(chunk)
        if progress is not None:
            progress(done, total)
    if (
        total is not None and done < total
    ):  # reads end early in silence: HTTPResponse.read, CPython issue 50386
        raise EOFError(f"the connection ended after {human_size(done)} of {human_size(total)}")


def _range_start(headers: Message) -> int:
    unit, _, span = headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else -1


def _read_whole(body: _Body, limit: int) -> bytes:
    pieces, size = [], 0
    while size < limit and (piece := body.read(limit - size)):
        pieces.append(piece)
        size += len(piece)
    if body.length is not None and size < min(body.length, limit):
        raise EOFError(f"the connection ended after {size} of {body.length} bytes")
    return b"".join(pieces)


def _validators(headers: Message) -> Validators:
    return Validators(etag=headers.get("ETag", ""), modified=headers.get("Last-Modified", ""))


class _Http(WatchedConnection, http_client.HTTPConnection):
    pass


class _Https(WatchedConnection, http_client.HTTPSConnection):
    pass


class _Connections(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Connections that a signal ends."""

    def __init__(self) -> None:
        urllib.request.HTTPSHandler.__init__(self)

    def http_open(self, request: urllib.request.Request) -> http_client.HTTPResponse:
        return self.do_open(_Http, request)

    def https_open(self, request: urllib.request.Request) -> http_client.HTTPResponse:
        return self.do_open(_Https, request, context=ssl.create_default_context())


class _Proxies(urllib.request.BaseHandler):
    """Chooses the proxy of each request, those that redirects make included."""

    handler_order = 100  # before the connections

    def http_open(self, request: urllib.request.Request) -> None:
        proxy = proxy_for(request.full_url, os.environ)
        if proxy is None:
            return
        shown, login = split_login(proxy)
        if login is not None:  # not for a server that another leads to, and that is asked without the proxy
            request.add_unredirected_header("Proxy-Authorization", login)
        request.set_proxy(urlsplit(shown).netloc, "http")

    https_open = http_open

    def ftp_open(self, request: urllib.request.Request) -> None:
        raise BaseError(
            f"a server leads to {request.full_url}, which is neither an http nor an https address"
        )


@contextlib.contextmanager
def _open(url: str, headers: dict[str, str], policy: RetryPolicy) -> Iterator[http_client.HTTPResponse]:
    """One request; statuses that are answers (200, 206, 304, 416) are returned, all others raised."""
    if not url.startswith(("http://", "https://")):
        raise BaseError(f"{url!r} is neither an http nor an https address")
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise BaseError(f"{url!r} is no address: {error}") from error
    url, login = split_login(url)
    agent = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers={**agent, **headers})  # noqa: S310 - the scheme is checked above
    if login is not None:
        request.add_unredirected_header("Authorization", login)  # for that server alone
    no_other: Any = urllib.request.ProxyHandler({})
    opener = urllib.request.build_opener(no_other, _Proxies(), _Connections())
    try:
        with _opened(opener, request, policy) as response:
            yield response
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (304, 416):
                yield _as_response(error)
                return
            raise _refused(url, error, policy) from error
    except urllib.error.URLError as error:
        raise _not_reached(url, error.reason, policy) from error
    except (ConnectionError, TimeoutError, http_client.HTTPException, EOFError) as error:
        raise _transient(url, str(error) or type(error).__name__, policy) from error


def _opened(
    opener: urllib.request.OpenerDirector, request: urllib.request.Request, policy: RetryPolicy
) -> http_client.HTTPResponse:
    try:
        response: http_client.HTTPResponse = opener.open(request, timeout=policy.read)
    except ValueError as error:  # of an address that the server sends to
        if isinstance(error, OSError):
            raise
        raise BaseError(f"{request.full_url} leads to what is no address: {error}") from error
    return response


def _as_response(error: urllib.error.HTTPError) -> http_client.HTTPResponse:
    response: http_client.HTTPResponse = error  # type: ignore[assignment]  # it has status, headers and read
    return response


def _refused(url: str, error: urllib.error.HTTPError, policy: RetryPolicy) -> Exception:
    if error.code in TRANSIENT_STATUS:
        return _transient(url, f"the server answered {error.code} {error.reason}", policy)
    hint = {
        404: "check the name, the release and the address of the server",
        407: "the proxy needs a login: put it into http_proxy and https_proxy",
    }.get(error.code, "check the address, and whether you may read it")
    refusal = BaseError(f"{url}: the server answered {error.code} {error.reason}", hint=hint)
    refusal.status = error.code
    return refusal


def _not_reached(url: str, reason: object, policy: RetryPolicy) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return BaseError(
            f"{url}: the server's certificate does not hold: {reason.verify_message}",
            hint="check the clock and the address; SSL_CERT_FILE names a file with further authorities",
        )
    if isinstance(reason, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLError)):
        return _transient(url, str(reason), policy)
    return Unreachable(f"{url} cannot be reached: {reason}", hint=_OFFLINE)


def _transient(url: str, problem: str, policy: RetryPolicy) -> Transient:
    return Transient(Unreachable(f"{url} failed {policy.tries} times: {problem}", hint=_OFFLINE))


_OFFLINE: Final = "check the network, the address, and the proxies (http_proxy, https_proxy, no_proxy)"


@contextlib.contextmanager
def _turn(target: Path) -> Iterator[None]:
    """Wait until no other process downloads `target`."""
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn errors of the disk, not of the network (which are OSErrors too), into OutputError."""
    try:
        yield
    except OSError as error:
        hint = "free some space, or set IMG_PATH to a larger disk" if disk_space.is_full(error) else ""
        raise OutputError(f"cannot write {target}: {disk_space.reason(error, target)}", hint=hint) from error
