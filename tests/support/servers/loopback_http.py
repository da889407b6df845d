"""An HTTP server on a free port of loopback, in threads of this process."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self


class QuietHandler(http.server.BaseHTTPRequestHandler):
    """One that writes no log, and sends each answer at once: clients would wait 40 ms for the second packet."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Who greets with TLS (a handshake record begins with 0x16) gets no answer, as from a server that has none."""
        plain = not isinstance(self.connection, ssl.SSLSocket)
        if not (plain and self.connection.recv(1, socket.MSG_PEEK) == b"\x16"):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Loopback:
    """A context manager. Each request gets a `handler`, whose class has the `attributes`."""

    def __init__(self, handler: type[QuietHandler], **attributes: object) -> None:
        own = type("Handler", (handler,), attributes)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), own)
        self._server.daemon_threads = True
        self._secure = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def host(self) -> str:
        """As references and URLs have it, with the port."""
        return f"127.0.0.1:{self.port}"

    def secure(self, certificate: Path) -> None:
        """Speak TLS, with what `make_certificate` made."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_name("key.pem"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._secure = True

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
