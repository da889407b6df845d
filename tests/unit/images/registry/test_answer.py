"""Registries that send a byte now and then: they are given up, and a signal ends the wait for them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dibo.errors import RegistryError, Unreachable
from dibo.images.image import Reader
from dibo.images.manifest import digest_of
from dibo.images.reference import ImageName, parse_image_name
from dibo.images.registry import api
from dibo.images.registry import client as registry_client
from dibo.system import waits
from dibo.system.retry import RetryPolicy
from tests.support.servers.fake_registry import FakeRegistry
from tests.support.servers.plain_http import speak_plain_http
from tests.support.timeouts import TIMEOUT, wait_until

pytestmark = pytest.mark.slow

CONTENT = bytes(1 << 20)
SLOW = "trickle:100:0.02"


@pytest.fixture
def name(server: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> ImageName:
    speak_plain_http(monkeypatch, RetryPolicy(read=0.4, sleep=lambda _: None))
    return parse_image_name(f"{server.host}/team/app:1")


def blob(name: ImageName, digest: str) -> AbstractContextManager[Reader]:
    return api.open_blob(name, digest, len(CONTENT))


def test_a_blob_that_trickles(server: FakeRegistry, name: ImageName) -> None:
    digest = server.state.put("team/app", CONTENT)
    server.state.always("GET", SLOW)
    with pytest.raises(Unreachable, match=r"sends [0-9]+ B/s and is given up"), blob(name, digest) as stream:
        stream.read(len(CONTENT))
    assert len(server.state.asked) == 1


def test_a_manifest_that_trickles(server: FakeRegistry, name: ImageName) -> None:
    server.state.put_manifest("team/app", "1", {"layers": ["x" * 1000]})
    server.state.always("GET", SLOW)
    with pytest.raises(Unreachable, match="is given up"):
        api.manifest(name)


def test_a_transfer_that_becomes_slow(server: FakeRegistry, name: ImageName) -> None:
    """What came fast before does not make up for it."""
    digest = server.state.put("team/app", CONTENT)
    server.state.always("GET", f"trickle:{len(CONTENT) - 1000}:0.02")
    with pytest.raises(Unreachable, match="is given up"), api.open_blob(name, digest, len(CONTENT)) as stream:
        while stream.read(1 << 16):
            pass


def test_a_rate_that_the_caller_wants(server: FakeRegistry, name: ImageName) -> None:
    """A cache at 5 kB/s is slower than building: what is fast enough for others is not for it."""
    digest = server.state.put("team/app", CONTENT)
    registry_client.client(name).policy = RetryPolicy(read=0.4, slowest=1)
    server.state.always("GET", SLOW)
    with api.open_blob(name, digest, len(CONTENT)) as stream:
        assert len(stream.read(150)) == 150
    cache = api.open_blob(name, digest, len(CONTENT), slowest=64 << 10)
    with pytest.raises(Unreachable, match="is given up"), cache as stream:
        stream.read(len(CONTENT))


def test_headers_that_trickle(server: FakeRegistry, name: ImageName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "ANSWER_SECONDS", 0.2)
    registry_client.client(name).policy = RetryPolicy(read=TIMEOUT)
    server.state.always("HEAD", "headers:0.02")
    with pytest.raises((Unreachable, RegistryError), match="timed out"):
        api.head(name)


PROGRAM = """
import sys
from dibo.errors import Interrupted
from dibo.images.reference import parse_image_name
from dibo.images.registry import api
from dibo.images.image import Layer
from dibo.images.layers.load import load
from dibo.system.signals import interruptible
from dibo.tree.sinks import Nowhere
from functools import partial

name, digest, size = parse_image_name(sys.argv[1]), sys.argv[2], int(sys.argv[3])
opener = partial(api.open_blob, name, digest, size)
try:
    with interruptible():
        load((Layer(open=opener, digest=digest, size=size, diff_id=None),), Nowhere())
except Interrupted as stop:
    sys.exit(100 + stop.signum)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait(server: FakeRegistry, tmp_path: Path, signum: int) -> None:
    """The bytes of a layer are read by another thread than the one that gets the signal."""
    server.state.put("team/app", CONTENT)
    server.state.always("/blobs/", SLOW)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    argv = [
        sys.executable,
        str(program),
        f"http://{server.host}/team/app",
        digest_of(CONTENT),
        str(len(CONTENT)),
    ]
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as running:
        wait_until(lambda: bool(server.state.requests("/blobs/")), "the layer is asked for")
        time.sleep(0.5)
        running.send_signal(signum)
        began = time.monotonic()
        assert running.wait(60) == 100 + signum, running.stderr
        assert time.monotonic() - began < 15
