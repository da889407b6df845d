"""What the docker engine makes of answers that a daemon gives only on bad days."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dibo.errors import EngineError
from dibo.system.docker_api import connected
from tests.support.servers.loopback_http import Loopback, QuietHandler

GONE = "unrecognized image ID sha256:0000"


class Handler(QuietHandler):
    """A daemon that removes nothing, and says `words` of it."""

    words: str

    def do_GET(self) -> None:
        self._answer(200, {"ApiVersion": "1.41", "Version": "20.10.24"})

    def do_DELETE(self) -> None:
        self._answer(500, {"message": self.words})

    def _answer(self, status: int, document: dict[str, str]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_an_image_that_somebody_else_just_removed_is_gone(tmp_path: Path) -> None:
    with (
        Loopback(Handler, words=GONE) as server,
        connected(scratch=tmp_path, host=f"tcp://{server.host}") as daemon,
    ):
        daemon.discard("sha256:0000")
        daemon.untag("localhost/dibo/layer:k-0")


def test_an_image_that_cannot_be_removed_is_an_error(tmp_path: Path) -> None:
    with (
        Loopback(Handler, words="the disk is on fire") as server,
        connected(scratch=tmp_path, host=f"tcp://{server.host}") as daemon,
        pytest.raises(EngineError, match="asked to remove sha256:0000: the disk is on fire"),
    ):
        daemon.discard("sha256:0000")


def test_a_full_disk_of_the_daemon_says_where_to_look(tmp_path: Path) -> None:
    words = "write /var/lib/docker/tmp/x: no space left on device"
    with (
        Loopback(Handler, words=words) as server,
        connected(scratch=tmp_path, host=f"tcp://{server.host}") as daemon,
        pytest.raises(EngineError, match="/var/lib/docker/tmp/x") as caught,
    ):
        daemon.discard("sha256:0000")
    assert "the daemon's disk is full: `docker info` names its directory" in caught.value.hint
