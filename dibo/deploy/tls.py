"""TLS for the boot server: a certificate, and sockets that speak with it."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from dibo.errors import BootServerError


class ServerCertificate:
    """Raises BootServerError for a certificate that cannot be used. `key` is in the same file where it is None."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            self._context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise BootServerError(f"cannot use the certificate {certificate}: {error}") from error

    def wrap(self, connection: socket.socket) -> socket.socket:
        """The connection with TLS; the handshake comes with the first byte that is read."""
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
