"""A registry in memory on loopback whose moods tests can set: what a real one does only on bad days.

A mood belongs to the next requests whose "METHOD path" contains a text. It is a status, optionally with headers:
`429`, `(429, {"Retry-After": "1"})`; or a word: `cut:N` sends N bytes of the body and closes, `wrong` flips its first
byte, `slow:S` waits S seconds, `drop` closes without an answer, `to:URL` redirects there. Moods are used up one by one;
one set with `always` stays.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from tests.support.loopback import Loopback, QuietHandler

Mood = int | str | tuple[int, dict[str, str]]


@dataclass
class Shelf:
    """What the registry holds, and what it was asked for."""

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """By (repository, digest)."""
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    """(media type, body) by (repository, tag or digest)."""
    moods: list[tuple[str, Mood, bool]] = field(default_factory=list)
    login: str = ""
    """`user:password` that is asked for; with `tokens`, by the token server, which is this one too."""
    tokens: bool = False
    realm: str = ""
    ranges: bool = True
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """(method, path, headers) of every request."""

    def requests(self, text: str = "") -> list[str]:
        """`METHOD path` of the requests so far that contain `text`."""
        return [f"{m} {p}" for m, p, _ in self.asked if text in f"{m} {p}"]

    def mood(self, text: str, *moods: Mood) -> None:
        self.moods += [(text, mood, False) for mood in moods]

    def always(self, text: str, mood: Mood) -> None:
        self.moods.append((text, mood, True))

    def put(self, repository: str, content: bytes) -> str:
        """Put a blob; its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[repository, digest] = content
        return digest

    def put_manifest(self, repository: str, tag: str, document: dict[str, Any]) -> str:
        """Put a manifest or index; its digest."""
        body = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        kind = str(document.get("mediaType", "application/vnd.oci.image.manifest.v1+json"))
        for reference in {tag, digest} - {""}:
            self.manifests[repository, reference] = (kind, body)
        return digest


class Moody(Loopback):
    """The server; a context manager."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        super().__init__(_Handler, shelf=self.shelf)


class _Handler(QuietHandler):
    shelf: Shelf
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        shelf, path = self.shelf, self.path
        shelf.asked.append((self.command, path, dict(self.headers)))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        mood = self._mood()
        if isinstance(mood, int | tuple):
            status, headers = mood if isinstance(mood, tuple) else (mood, {})
            self._send(status, b'{"errors": [{"message": "a mood"}]}', headers)
            return
        if mood == "drop":
            self.close_connection = True
            return
        if mood.startswith("slow:"):
            time.sleep(float(mood[5:]))
        if mood.startswith("to:"):
            self._send(307, b"", {"Location": mood[3:]})
            return
        if path.startswith("/token"):
            self._token()
        elif self._admitted():
            self._answer(body, mood)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

    def _mood(self) -> Mood:
        for place, (text, mood, stays) in enumerate(self.shelf.moods):
            if text in f"{self.command} {self.path}":
                if not stays:
                    del self.shelf.moods[place]
                return mood
        return ""

    def _basic(self) -> str:
        return f"Basic {base64.b64encode(self.shelf.login.encode()).decode()}"

    def _token(self) -> None:
        if self.shelf.login and self.headers.get("Authorization") != self._basic():
            self._send(401, b"{}")
        else:
            scope = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get("scope", [""])[0]
            self._send(200, json.dumps({"token": f"for {scope}"}).encode())

    def _admitted(self) -> bool:
        shelf, given = self.shelf, self.headers.get("Authorization", "")
        if shelf.tokens:
            repository = self.path.removeprefix("/v2/").rpartition("/manifests")[0]
            repository = repository or self.path.removeprefix("/v2/").rpartition("/blobs")[0]
            what = "pull" if self.command in ("GET", "HEAD") else "pull,push"
            scope = f"repository:{repository}:{what}"
            if given == f"Bearer for {scope}":
                return True
            realm = shelf.realm or f"http://{self.headers['Host']}/token"
            self._send(
                401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}",service="moody",scope="{scope}"'}
            )
            return False
        if not shelf.login or given == self._basic():
            return True
        self._send(401, b"", {"WWW-Authenticate": 'Basic realm="moody"'})
        return False

    def _answer(self, body: bytes, mood: str) -> None:
        shelf = self.shelf
        url = urllib.parse.urlsplit(self.path)
        repository, _, what = url.path.removeprefix("/v2/").rpartition("/")
        query = dict(urllib.parse.parse_qsl(url.query))
        if repository.endswith("/manifests"):
            self._manifest(repository.removesuffix("/manifests"), what, body, mood)
        elif repository.endswith("/blobs/uploads"):
            self._upload(repository.removesuffix("/blobs/uploads"), query, body)
        elif repository.endswith("/blobs"):
            key = (repository.removesuffix("/blobs"), what)
            self._content(shelf.blobs.get(key), mood, {})
        elif repository.endswith("/tags"):
            own = repository.removesuffix("/tags")
            tags = sorted(tag for held, tag in shelf.manifests if held == own and ":" not in tag)
            after = [tag for tag in tags if tag > query.get("last", "")]
            page = after[:2]
            more = {"Link": f'</v2/{own}/tags/list?n=2&last={page[-1]}>; rel="next"'} if after[2:] else {}
            self._send(200, json.dumps({"name": own, "tags": page}).encode(), more)
        else:
            self._send(200 if self.path == "/v2/" else 404, b"{}")

    def _manifest(self, repository: str, reference: str, body: bytes, mood: str) -> None:
        held = self.shelf.manifests
        if self.command == "PUT":
            digest = self.shelf.put_manifest(repository, reference, json.loads(body))
            self._send(201, b"", {"Docker-Content-Digest": digest})
        elif self.command == "DELETE":
            found = held.get((repository, reference))
            for key in [key for key, each in held.items() if key[0] == repository and each == found]:
                del held[key]
            self._send(202 if found else 404, b"")
        else:
            kind, content = held.get((repository, reference), ("", None))
            digest = f"sha256:{hashlib.sha256(content or b'').hexdigest()}"
            self._content(content, mood, {"Docker-Content-Digest": digest, "Content-Type": kind})

    def _upload(self, repository: str, query: dict[str, str], body: bytes) -> None:
        blobs = self.shelf.blobs
        if self.command == "POST":
            other = blobs.get((query.get("from", ""), query.get("mount", "")))
            if other is not None:
                blobs[repository, query["mount"]] = other
                self._send(201, b"")
            else:
                self._send(202, b"", {"Location": f"/v2/{repository}/blobs/uploads/?id=1"})
        elif query["digest"] != f"sha256:{hashlib.sha256(body).hexdigest()}":
            self._send(400, b'{"errors": [{"code": "DIGEST_INVALID"}]}')
        else:
            blobs[repository, query["digest"]] = body
            self._send(201, b"")

    def _content(self, content: bytes | None, mood: str, headers: dict[str, str]) -> None:
        if content is None:
            self._send(404, b'{"errors": [{"code": "UNKNOWN"}]}')
            return
        if mood == "wrong":
            content = bytes([content[0] ^ 1]) + content[1:]
        start = self.headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
        status, first = 200, 0
        if start and self.shelf.ranges:
            status, first = 206, int(start)
            headers = {**headers, "Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
        cut = int(mood[4:]) if mood.startswith("cut:") else None
        self._send(status, content[first:], headers, cut)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None
    ) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = self.close_connection or cut is not None

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()
