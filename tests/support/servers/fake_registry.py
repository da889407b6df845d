"""A registry in memory on loopback with injected faults: what a real one does only on bad days.

A fault belongs to the next requests whose "METHOD path" contains a text. It is a status, optionally with headers:
`429`, `(429, {"Retry-After": "1"})`; or a word: `cut:N` sends N bytes of the body and closes, `trickle:N:S` sends N
bytes of it, then one each S seconds, `headers:S` sends a byte of a header each S seconds, `wrong` flips the first byte
of the body, `slow:S` waits S seconds, `drop` closes without an answer, `to:URL` redirects there. Faults are used up one
by one; one set with `always` stays.
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

from tests.support.servers.loopback_http import Loopback, QuietHandler

Fault = int | str | tuple[int, dict[str, str]]


@dataclass
class RegistryState:
    """What the registry holds, and what it was asked for."""

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """By (repository, digest)."""
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    """(media type, body) by (repository, tag or digest)."""
    faults: list[tuple[str, Fault, bool]] = field(default_factory=list)
    login: str = ""
    """`user:password` that is asked for; with `tokens`, by the token server, which is this one too."""
    tokens: bool = False
    realm: str = ""
    ranges: bool = True
    referrers: bool = False
    """Whether it has the referrers API (OCI distribution specification 1.1), two to a page."""
    tags_link: str = ""
    """The header Link of every page of tags, in place of the right one."""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """(method, path, headers) of every request."""

    def requests(self, text: str = "") -> list[str]:
        """`METHOD path` of the requests so far that contain `text`."""
        return [f"{m} {p}" for m, p, _ in self.asked if text in f"{m} {p}"]

    def inject(self, text: str, *faults: Fault) -> None:
        self.faults += [(text, fault, False) for fault in faults]

    def always(self, text: str, fault: Fault) -> None:
        self.faults.append((text, fault, True))

    def put(self, repository: str, content: bytes) -> str:
        """Put a blob; its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[repository, digest] = content
        return digest

    def put_manifest(self, repository: str, tag: str, document: dict[str, Any]) -> str:
        """Put a manifest or index; its digest."""
        return self.put_manifest_bytes(repository, tag, json.dumps(document).encode())

    def put_manifest_bytes(self, repository: str, tag: str, body: bytes) -> str:
        """Put a manifest or index as it is; its digest."""
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        kind = str(json.loads(body).get("mediaType", "application/vnd.oci.image.manifest.v1+json"))
        for reference in {tag, digest} - {""}:
            self.manifests[repository, reference] = (kind, body)
        return digest


class FakeRegistry(Loopback):
    """The server; a context manager."""

    def __init__(self) -> None:
        self.state = RegistryState()
        super().__init__(_Handler, state=self.state)


class _Handler(QuietHandler):
    state: RegistryState
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        state, path = self.state, self.path
        state.asked.append((self.command, path, dict(self.headers)))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self._fault()
        if isinstance(fault, int | tuple):
            status, headers = fault if isinstance(fault, tuple) else (fault, {})
            self._send(status, b'{"errors": [{"message": "a fault"}]}', headers)
            return
        if fault == "drop":
            self.close_connection = True
            return
        if fault.startswith("slow:"):
            time.sleep(float(fault[5:]))
        if fault.startswith("headers:"):
            with contextlib.suppress(ConnectionError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                while True:
                    self.wfile.write(b"x")
                    time.sleep(float(fault[8:]))
            self.close_connection = True
            return
        if fault.startswith("to:"):
            self._send(307, b"", {"Location": fault[3:]})
            return
        if path.startswith("/token"):
            self._token()
        elif self._admitted():
            self._answer(body, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

    def _fault(self) -> Fault:
        for place, (text, fault, stays) in enumerate(self.state.faults):
            if text in f"{self.command} {self.path}":
                if not stays:
                    del self.state.faults[place]
                return fault
        return ""

    def _basic(self) -> str:
        return f"Basic {base64.b64encode(self.state.login.encode()).decode()}"

    def _token(self) -> None:
        if self.state.login and self.headers.get("Authorization") != self._basic():
            self._send(401, b"{}")
        else:
            scope = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get("scope", [""])[0]
            self._send(200, json.dumps({"token": f"for {scope}"}).encode())

    def _admitted(self) -> bool:
        state, given = self.state, self.headers.get("Authorization", "")
        if state.tokens:
            repository = self.path.removeprefix("/v2/").rpartition("/manifests")[0]
            repository = repository or self.path.removeprefix("/v2/").rpartition("/blobs")[0]
            what = "pull" if self.command in ("GET", "HEAD") else "pull,push"
            scope = f"repository:{repository}:{what}"
            if given == f"Bearer for {scope}":
                return True
            realm = state.realm or f"http://{self.headers['Host']}/token"
            self._send(
                401,
                b"",
                {"WWW-Authenticate": f'Bearer realm="{realm}",service="fake_registry",scope="{scope}"'},
            )
            return False
        if not state.login or given == self._basic():
            return True
        self._send(401, b"", {"WWW-Authenticate": 'Basic realm="fake_registry"'})
        return False

    def _answer(self, body: bytes, fault: str) -> None:
        state = self.state
        url = urllib.parse.urlsplit(self.path)
        repository, _, what = url.path.removeprefix("/v2/").rpartition("/")
        query = dict(urllib.parse.parse_qsl(url.query))
        if repository.endswith("/manifests"):
            self._manifest(repository.removesuffix("/manifests"), what, body, fault)
        elif repository.endswith("/blobs/uploads"):
            self._upload(repository.removesuffix("/blobs/uploads"), query, body)
        elif repository.endswith("/blobs"):
            key = (repository.removesuffix("/blobs"), what)
            self._content(state.blobs.get(key), fault, {})
        elif repository.endswith("/tags"):
            own = repository.removesuffix("/tags")
            tags = sorted(tag for held, tag in state.manifests if held == own and ":" not in tag)
            after = [tag for tag in tags if tag > query.get("last", "")]
            page = after[:2]
            more = {"Link": f'</v2/{own}/tags/list?n=2&last={page[-1]}>; rel="next"'} if after[2:] else {}
            more = {"Link": state.tags_link} if state.tags_link else more
            self._send(200, json.dumps({"name": own, "tags": page}).encode(), more)
        elif repository.endswith("/referrers") and state.referrers:
            self._referrers(repository.removesuffix("/referrers"), what, int(query.get("page", "0")))
        else:
            self._send(200 if self.path == "/v2/" else 404, b"{}")

    def _referrers(self, repository: str, subject: str, page: int) -> None:
        entries = []
        for (place, reference), (kind, body) in sorted(self.state.manifests.items()):
            document = json.loads(body) if place == repository and ":" in reference else {}
            if document.get("subject", {}).get("digest") == subject:
                entries.append(
                    {
                        "mediaType": kind,
                        "digest": reference,
                        "size": len(body),
                        "artifactType": document.get("artifactType") or document["config"]["mediaType"],
                        "annotations": document.get("annotations", {}),
                    }
                )
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}
        after = f'</v2/{repository}/referrers/{subject}?page={page + 1}>; rel="next"'
        more = {"Link": after} if entries[2 * page + 2 :] else {}
        listed = entries[2 * page : 2 * page + 2]
        self._send(200, json.dumps({**index, "manifests": listed}).encode(), more)

    def _manifest(self, repository: str, reference: str, body: bytes, fault: str) -> None:
        held = self.state.manifests
        if self.command == "PUT":
            digest = self.state.put_manifest_bytes(repository, reference, body)
            subject = json.loads(body).get("subject") if self.state.referrers else None
            seen = {"OCI-Subject": subject["digest"]} if subject else {}
            self._send(201, b"", {"Docker-Content-Digest": digest, **seen})
        elif self.command == "DELETE":
            found = held.get((repository, reference))
            for key in [key for key, each in held.items() if key[0] == repository and each == found]:
                del held[key]
            self._send(202 if found else 404, b"")
        else:
            kind, content = held.get((repository, reference), ("", None))
            digest = f"sha256:{hashlib.sha256(content or b'').hexdigest()}"
            self._content(content, fault, {"Docker-Content-Digest": digest, "Content-Type": kind})

    def _upload(self, repository: str, query: dict[str, str], body: bytes) -> None:
        blobs = self.state.blobs
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

    def _content(self, content: bytes | None, fault: str, headers: dict[str, str]) -> None:
        if content is None:
            self._send(404, b'{"errors": [{"code": "UNKNOWN"}]}')
            return
        if fault == "wrong":
            content = bytes([content[0] ^ 1]) + content[1:]
        start = self.headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
        status, first = 200, 0
        if start and self.state.ranges:
            status, first = 206, int(start)
            headers = {**headers, "Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
        cut = int(fault[4:]) if fault.startswith("cut:") else None
        if fault.startswith("trickle:"):
            self._trickle(content, *map(float, fault.split(":")[1:]))
            return
        self._send(status, content[first:], headers, cut)

    def _trickle(self, content: bytes, at_once: float, seconds: float) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: int(at_once)])
            for at in range(int(at_once), len(content)):
                time.sleep(seconds)
                self.wfile.write(content[at : at + 1])
        self.close_connection = True

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
