"""The metadata of a machine in EC2, as its server answers with version 2: only to who brings a token."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.servers.loopback_http import Loopback, QuietHandler

ADDRESS = "169.254.169.254"
TOKEN = "a-token"


class MetadataServer(Loopback):
    """`files` by their path below /latest/. `asked` are the paths so far."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.asked: list[str] = []
        super().__init__(_Handler, files=files, asked=self.asked)

    @property
    def network(self) -> str:
        """For QEMU's user network: the server at its address."""
        command = f"busybox nc 127.0.0.1 {self.port}"
        return f"net=169.254.169.0/24,guestfwd=tcp:{ADDRESS}:80-cmd:{command}"


class _Handler(QuietHandler):
    files: Mapping[str, str]
    asked: list[str]

    def do_PUT(self) -> None:
        allowed = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._answer(200 if allowed else 403, TOKEN if allowed else "")

    def do_GET(self) -> None:
        self.asked.append(self.path)
        text = self.files.get(self.path.removeprefix("/latest/"))
        if self.headers["X-aws-ec2-metadata-token"] != TOKEN:
            self._answer(401, "")
        else:
            self._answer(404 if text is None else 200, text or "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
