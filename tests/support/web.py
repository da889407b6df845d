"""A web server on loopback whose moods tests can set: ranges or none, breaking off, failing for a while."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass
class Site:
    """`files` by path. `moods` of a path are used up one by one: a status to answer with, or `cut:N`, which
    sends N bytes of the body and closes. `asked` has (method, path, headers) of each request."""

    files: dict[str, bytes] = field(default_factory=dict)
    moods: dict[str, deque[int | str]] = field(default_factory=dict)
    ranges: bool = True
    validators: bool = True
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def mood(self, path: str, *moods: int | str) -> None:
        self.moods[path] = deque(moods)


class Web:
    """The server; a context manager."""

    def __init__(self) -> None:
        self.site = Site()
        site = self.site

        class Handler(_Handler):
            pass

        Handler.site = site
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.asked.append((self.path, dict(self.headers)))
        moods = site.moods.get(self.path)
        mood = moods.popleft() if moods else None
        body = site.files.get(self.path)
        if isinstance(mood, int) or body is None:
            self.send_error(mood if isinstance(mood, int) else 404)
            return
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if site.validators and self.headers.get("If-None-Match") == etag:
            self.send_response(304)
            self.end_headers()
            return
        self._send(body, etag, int(mood.partition(":")[2]) if mood else None)

    def _send(self, body: bytes, etag: str, cut: int | None) -> None:
        wanted = self.headers.get("Range", "").removeprefix("bytes=").rstrip("-")
        start = int(wanted) if wanted and self.site.ranges and self.headers.get("If-Range") == etag else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if self.site.validators:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:] if cut is None else body[start : start + cut])

    def log_message(self, format: str, *args: object) -> None:
        pass
