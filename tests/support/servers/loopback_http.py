"""An HTTP server on a free port of loopback, in threads of this process."""

from __future__ import annotations

import http.server
import threading
from types import TracebackType
from typing import Self


class QuietHandler(http.server.BaseHTTPRequestHandler):
    """One that writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class Loopback:
    """A context manager. Each request gets a `handler`, whose class has the `attributes`."""

    def __init__(self, handler: type[QuietHandler], **attributes: object) -> None:
        own = type("Handler", (handler,), attributes)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), own)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def host(self) -> str:
        """As references and URLs have it, with the port."""
        return f"127.0.0.1:{self.port}"

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
