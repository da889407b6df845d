"""A web server on loopback with injected faults: ranges or none, breaking off, failing for a while."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.requirements import need
from tests.support.servers.loopback_http import Loopback, QuietHandler


@dataclass
class Site:
    """`files` by path, and paths that `redirects` lead to others. `faults` of a path are used up one by one: a status
    to answer with, or `cut:N`, which sends N bytes of the body and closes, or `hang:N`, which sends N bytes and then
    nothing until the server is closed, or `trickle:N`, which sends N bytes and then one 20 times a second. `asked` has
    (method, path, headers) of each request."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, deque[int | str]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    validators: bool = True
    lengths: bool = True
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def inject(self, path: str, *faults: int | str) -> None:
        self.faults[path] = deque(faults)


class FakeWebServer(Loopback):
    """The server; a context manager."""

    def __init__(self) -> None:
        self.site = Site()
        super().__init__(_Handler, site=self.site)

    @property
    def url(self) -> str:
        place = "https://localhost" if self._secure else "http://127.0.0.1"
        return f"{place}:{self.port}"

    def close(self) -> None:
        self.site.closed.set()
        super().close()


def make_certificate(directory: Path) -> Path:
    """One for localhost that nobody signed, cert.pem; key.pem is beside it."""
    need("openssl")
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    argv += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(argv, cwd=directory, check=True, capture_output=True)
    return directory / "cert.pem"


class _Handler(QuietHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.asked.append((self.path, dict(self.headers)))
        faults = site.faults.get(self.path)
        fault = faults.popleft() if faults else None
        if self.path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = site.files.get(self.path)
        if isinstance(fault, int) or body is None:
            self.send_error(fault if isinstance(fault, int) else 404)
            return
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if site.validators and self.headers.get("If-None-Match") == etag:
            self.send_response(304)
            self.end_headers()
            return
        self._send(body, etag, int(fault.partition(":")[2]) if fault else None)
        if fault and fault.startswith("hang"):
            self.wfile.flush()
            site.closed.wait()
        if fault and fault.startswith("trickle"):
            with contextlib.suppress(ConnectionError):
                while not site.closed.wait(0.05):
                    self.wfile.write(b"x")

    def _send(self, body: bytes, etag: str, cut: int | None) -> None:
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        fits = self.site.ranges and self.headers.get("If-Range", etag) == etag
        start, end = 0, len(body)
        if first and fits:
            start, end = int(first), min(end, int(last) + 1) if last else end
        self.send_response(206 if first and fits else 200)
        if first and fits:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
        if self.site.validators:
            self.send_header("ETag", etag)
        if self.site.lengths:
            self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self.wfile.write(body[start:end] if cut is None else body[start : min(end, start + cut)])
