"""A proxy in front of a registry that counts what travels, and can die."""

from __future__ import annotations

import http.client
import http.server
import time
from dataclasses import dataclass

from tests.support.servers.loopback_http import Loopback, QuietHandler
from tests.support.timeouts import TIMEOUT


@dataclass(frozen=True)
class ProxiedRequest:
    method: str
    path: str
    status: int
    received: int
    sent: int
    """Bytes of bodies: from the client, to the client."""


class CountingProxy(Loopback):
    """A context manager. After `die_after` requests whose `METHOD path` contains `die_at` it answers nobody."""

    def __init__(self, upstream: str) -> None:
        self.asked: list[ProxiedRequest] = []
        self.die_at = ""
        self.die_after = 0
        self.dead = False
        self.refuse = 0
        """The status with which to refuse all that writes."""
        self.slow_at = ""
        self.slow = 0.0
        """Seconds to hold back requests that contain `slow_at`."""
        super().__init__(_Handler, proxy=self, upstream=upstream)

    def paths(self, method: str, text: str = "") -> list[str]:
        return [each.path for each in self.asked if each.method == method and text in each.path]

    def sent(self, method: str) -> int:
        """Bytes that clients sent with this method."""
        return sum(each.received for each in self.asked if each.method == method)

    def blobs(self, method: str) -> list[ProxiedRequest]:
        return [each for each in self.asked if each.method == method and "/blobs/" in each.path]

    def dies(self, line: str) -> bool:
        if self.die_at and self.die_at in line:
            self.die_after -= 1
            self.dead = self.dead or self.die_after < 0
        return self.dead


class _Handler(QuietHandler):
    proxy: CountingProxy
    upstream: str
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.proxy.dies(f"{self.command} {self.path}"):
            self.close_connection = True
            return
        if self.proxy.refuse and self.command not in ("GET", "HEAD"):
            self.send_response(self.proxy.refuse)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.proxy.slow_at and self.proxy.slow_at in f"{self.command} {self.path}":
            time.sleep(self.proxy.slow)
        connection = http.client.HTTPConnection(self.upstream, timeout=TIMEOUT)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        asked = ProxiedRequest(self.command, self.path, answer.status, len(body), len(content))
        self.proxy.asked.append(asked)
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _any
