"""An HTTP server for strangers: so many connections at once, and on each a request within so many seconds.

The standard library's server gives each connection a thread. A client that says nothing, or a byte at a time, would
keep one for ever; and so would many clients keep many.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import shutil
import socket
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from dibo.deploy.tls import ServerCertificate
from dibo.system.report import Say

SEND_SECONDS: Final = 60.0
"""Within which a client must take something of an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What clients may use."""

    connections: int
    """At once; more are closed."""
    connections_per_address: int
    request_seconds: float
    """Within which a request must be here."""


class Listener(ThreadingHTTPServer):
    """Listens on IPv4, or, for an IPv6 address, on both. `say` gets messages about defects. Raises OSError."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        address: str,
        port: int,
        handler: type[Handler],
        *,
        limits: ConnectionLimits,
        say: Say,
        tls: ServerCertificate | None = None,
    ) -> None:
        self.request_seconds, self.tls, self._say = limits.request_seconds, tls, say
        self._limits = limits
        self._lock = threading.Lock()
        self._connections: Counter[str] = Counter()
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._take(client_address[0]):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def _take(self, address: str) -> bool:
        """Whether there is room for one more connection of that address."""
        with self._lock:
            busy = self._connections.total() >= self._limits.connections
            if busy or self._connections[address] >= self._limits.connections_per_address:
                return False
            self._connections[address] += 1
            return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connections[client_address[0]] -= 1
                if not self._connections[client_address[0]]:
                    del self._connections[client_address[0]]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (its signature)
        """A connection that broke, or was too slow, is nothing to tell."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self._say(f"dibo failed: {error!r}")


class Handler(BaseHTTPRequestHandler):
    """One request. Subclasses have do_GET and the like, and call `heard` when they have read it."""

    server: Listener
    server_version = "dibo"
    sys_version = ""

    def setup(self) -> None:
        if self.server.tls is not None:  # the alarm covers the handshake
            self.request = self.server.tls.wrap(self.request)
        super().setup()
        self._alarm = threading.Timer(self.server.request_seconds, self._too_slow)
        self._alarm.daemon = True
        self._alarm.start()

    def _too_slow(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        self._alarm.cancel()
        super().finish()
        if self.server.tls is not None:
            self.connection.close()

    def heard(self) -> None:
        """The request is here; now the answer may take its time, as long as it goes on."""
        self._alarm.cancel()
        self.connection.settimeout(SEND_SECONDS)

    def own_address(self) -> str:
        """Of this side."""
        return str(self.connection.getsockname()[0])

    def has_token(self, token: str) -> bool:
        """Whether the client sent the token; False for an empty one."""
        given = self.headers.get("Authorization", "")
        expected = f"Bearer {token}".encode()
        return bool(token) and hmac.compare_digest(expected, given.encode("utf-8", "replace"))

    def answer(self, status: int, text: str, *, kind: str = "text/plain; charset=utf-8") -> None:
        body = f"{text}\n".encode() if text and not text.endswith("\n") else text.encode()
        self._head(status, kind, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_file(self, path: Path) -> None:
        try:
            file = path.open("rb")
        except OSError as error:
            self.answer(500, f"cannot read {path.name}: {error.strerror}")
            return
        with file:
            self._head(200, "application/octet-stream", os.fstat(file.fileno()).st_size)
            if self.command != "HEAD":
                shutil.copyfileobj(file, self.wfile, 1 << 18)

    def _head(self, status: int, kind: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence: what matters is said where it is decided."""
