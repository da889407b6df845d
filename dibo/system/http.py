"""The door to HTTP: the only file that asks web servers for something.

Two questions: `get` for a small text that may not have changed, `download` for a large file whose sha256 is
known beforehand. A download is kept as `NAME.part` below its final directory and goes on where it broke off
(RFC 9110, Range and If-Range); two processes that want the same file take turns by flock(2); nothing has
the final name before its sha256 was right.

What may pass (a reset, a time-out while reading, a short read, 408, 429, 5xx) is tried again, three times
in ten seconds. What will not (other 4xx, a certificate) is not, and neither is a server that nobody can
reach: offline is a normal state, and callers have an answer to it. Proxies come from the environment
(http_proxy and its family).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.client as http_client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Final, TypeVar

from dibo.errors import BaseError, OutputError, Unreachable, VerificationFailed
from dibo.units import human_size

_CHUNK: Final = 1 << 20
_PASSING_STATUS: Final = (408, 429, 500, 502, 503, 504)
_AGENT: Final = "dibo"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """How patiently to ask: seconds for one answer, and the pauses before each further try."""

    timeout: float = 30.0
    pauses: tuple[float, ...] = (0.5, 2.0, 6.0)
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What a server said of a text's version, in order to ask later whether it changed (RFC 9110, 8.8)."""

    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    body: bytes
    validators: Validators


class _Passing(Exception):
    """Something that may go better the next time."""


def get(
    url: str, *, known: Validators | None = None, limit: int = 4 << 20, http: Http | None = None
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
        with _open(url, headers, http) as response:
            if response.status == 304:
                return None
            body = _read_whole(response, limit + 1)
            if len(body) > limit:
                raise BaseError(f"{url} is larger than {human_size(limit)}", hint="check the address")
            return Text(body=body, validators=_validators(response.headers))

    return _patiently(url, once, http)


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    http: Http | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> None:
    """Make `target` the file at `url`, whose sha256 (hex) is known. A right `target` is left as it is.

    `progress` is told bytes so far and, where the server says so, in all. Raises Unreachable,
    VerificationFailed, BaseError, OutputError.
    """
    with _writing(target), _turn(target):
        if target.exists():
            if digest_of(target) == sha256:
                return
            target.unlink()
        part = _Part(target.with_name(f"{target.name}.part"))
        resumed = part.size() > 0
        found = _patiently(url, lambda: part.fetch(url, http, progress), http)
        if found != sha256 and resumed:  # what was there before may have been another version
            part.forget()
            found = _patiently(url, lambda: part.fetch(url, http, progress), http)
        if found != sha256:
            part.forget()
            raise VerificationFailed(
                f"{url} has the sha256 {found}, wanted {sha256}",
                hint="it was changed on its way or on the server; try again, or take another mirror",
            )
        part.path.replace(target)
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

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version = path.with_name(f"{path.name}.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)

    def fetch(self, url: str, http: Http | None, progress: Callable[[int, int | None], None] | None) -> str:
        """Get what is missing; the sha256 of the whole."""
        version, have = self._known(url), self.size()
        headers = {"Range": f"bytes={have}-", "If-Range": version} if have and version else {}
        with _open(url, headers, http) as response:
            if response.status == 416:  # nothing beyond what is here, or less: only a new start tells
                self.forget()
                raise _Passing("the server has no such range")
            start = have if response.status == 206 and _range_start(response.headers) == have else 0
            if response.status == 206 and start != have:
                self.forget()
                raise _Passing("the server sent another range than asked for")
            with self.path.open("r+b" if start else "wb") as file:
                digest = _digest_so_far(file) if start else hashlib.sha256()
                self._remember(url, response.headers)
                _copy(response, file, digest.update, start, progress)
        return digest.hexdigest()

    def _known(self, url: str) -> str:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(self._version.read_text())
            if note["url"] == url:
                return str(note["version"])
        return ""

    def _remember(self, url: str, headers: Message) -> None:
        found = _validators(headers)  # If-Range wants a strong one (RFC 9110, 13.1.5)
        version = found.modified if found.etag.startswith("W/") or not found.etag else found.etag
        self._version.write_text(json.dumps({"url": url, "version": version}))


def _copy(
    response: http_client.HTTPResponse,
    file: IO[bytes],
    update: Callable[[bytes], None],
    start: int,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    """Append the body to `file`, which stands at `start`. Raises _Passing for a body that ends early."""
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdigit() else None
    done = start
    while chunk := response.read(_CHUNK):
        file.write(chunk)
        update(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, total)
    if (
        total is not None and done < total
    ):  # read(n) ends early in silence: HTTPResponse.read, CPython issue 50386
        raise _Passing(f"the connection ended after {human_size(done)} of {human_size(total)}")


def _range_start(headers: Message) -> int:
    unit, _, span = headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else -1


def _read_whole(response: http_client.HTTPResponse, limit: int) -> bytes:
    pieces, size = [], 0
    while size < limit and (piece := response.read(limit - size)):
        pieces.append(piece)
        size += len(piece)
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and size < min(int(length), limit):
        raise _Passing(f"the connection ended after {size} of {length} bytes")
    return b"".join(pieces)


def _validators(headers: Message) -> Validators:
    return Validators(etag=headers.get("ETag", ""), modified=headers.get("Last-Modified", ""))


@contextlib.contextmanager
def _open(url: str, headers: dict[str, str], http: Http | None) -> Iterator[http_client.HTTPResponse]:
    """One request; statuses that are answers (200, 206, 304, 416) are returned, all others raised."""
    if not url.startswith(("http://", "https://")):
        raise BaseError(f"{url!r} is neither an http nor an https address")
    agent = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers={**agent, **headers})  # noqa: S310 - the scheme is checked above
    timeout = (http or Http()).timeout
    try:
        with urllib.request.build_opener().open(request, timeout=timeout) as response:  # proxies of now
            yield response
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (304, 416):
                yield _as_response(error)
                return
            raise _refused(url, error) from error
    except urllib.error.URLError as error:
        raise _not_reached(url, error.reason) from error


def _as_response(error: urllib.error.HTTPError) -> http_client.HTTPResponse:
    response: http_client.HTTPResponse = error  # type: ignore[assignment]  # it has status, headers and read
    return response


def _refused(url: str, error: urllib.error.HTTPError) -> Exception:
    if error.code in _PASSING_STATUS:
        return _Passing(f"the server answered {error.code} {error.reason}")
    hint = {
        404: "check the name, the release and the address of the server",
        407: "the proxy wants a login: put it into http_proxy and https_proxy",
    }.get(error.code, "check the address, and whether you may read it")
    return BaseError(f"{url}: the server answered {error.code} {error.reason}", hint=hint)


def _not_reached(url: str, reason: object) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return BaseError(
            f"{url}: the server's certificate does not hold: {reason.verify_message}",
            hint="check the clock and the address; SSL_CERT_FILE names a file with further authorities",
        )
    if isinstance(reason, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLError)):
        return _Passing(str(reason))
    return Unreachable(f"{url} cannot be reached: {reason}", hint=_OFFLINE)


_OFFLINE: Final = "check the network, the address, and the proxies (http_proxy, https_proxy, no_proxy)"


def _patiently(url: str, once: Callable[[], _T], http: Http | None) -> _T:
    how = http or Http()
    pauses = list(how.pauses)
    while True:
        try:
            return once()
        except (_Passing, ConnectionError, TimeoutError, http_client.HTTPException) as error:
            if not pauses:
                why = f"{error}" or type(error).__name__
                raise Unreachable(
                    f"{url} failed {len(how.pauses) + 1} times: {why}", hint=_OFFLINE
                ) from error
            how.sleep(pauses.pop(0))


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
        hint = "free some space, or set IMG_PATH to a larger disk" if error.errno == errno.ENOSPC else ""
        raise OutputError(f"cannot write {target}: {error.strerror or error}", hint=hint) from error
