"""Both sides of the protocol: the ramdisk's program, and dibo boot-server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dibo.deploy.machines import parse_machines
from dibo.deploy.server import BootServer, ServerSettings
from pull.main import Machine, deploy
from pull.web import Patience
from tests.support.disks.gpt_disks import MIB, make_disk, problems_of
from tests.support.servers.fake_web_server import FakeWebServer

KEY = "open+sesame&more=%41"
QUICK = Patience(connect=5.0, silence=5.0, pauses=(0.0,), sleep=lambda _: None)


class Lab:
    """Machine 7, its image, and a boot server that knows both."""

    def __init__(self, directory: Path, web: FakeWebServer) -> None:
        self.disk = directory / "disk"
        self.disk.write_bytes(bytes(20 * MIB))
        image = make_disk(directory / "image", 16, {"root": (1, 8)})
        web.site.files["/web%20image.raw"] = image
        self.url = f"{web.url}/web%20image.raw"
        self.digest = f"sha256:{hashlib.sha256(image).hexdigest()}"
        machines = {"7": {"key": KEY, "image": self.url, "method": "pull"}}
        settings = ServerSettings(listen="127.0.0.1", port=0, state_file=directory / "state")
        self.lines: list[str] = []
        self.server = BootServer(
            settings,
            lambda: parse_machines({"machines": machines}, origin="machines", directory=directory),
            self.lines.append,
        )

    def deploy(self, key: str = KEY, **given: str) -> str:
        machine = Machine(
            disk=str(self.disk),
            wanted_disks="vda",
            address="127.0.0.1",
            boot_server="127.0.0.1",
            port=self.server.port,
            patience=QUICK,
            telling=QUICK,
            every=0.0,
        )
        words = {"image": self.url, "image_digest": self.digest, "deployment_id": "7", "deployment_key": key}
        return deploy({**words, **given}, machine, lambda _: None)

    @property
    def shown(self) -> dict[str, Any]:
        (document,) = self.server.documents()
        return document


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with FakeWebServer() as web:
        lab = Lab(tmp_path, web)
        with lab.server:
            yield lab


def test_a_pull_is_followed_to_its_end(lab: Lab) -> None:
    assert lab.deploy() == ""
    assert (lab.shown["state"], lab.shown["digest"]) == ("done", lab.digest)
    assert problems_of(lab.disk) == ""


def test_a_wrong_key_is_refused_and_nothing_is_written(lab: Lab) -> None:
    why = lab.deploy(key="guess")
    assert why.startswith("the boot server refused this machine (400)") and why.endswith("is as it was")
    assert lab.shown["state"] == "waiting"
    assert lab.disk.read_bytes() == bytes(20 * MIB)


@pytest.mark.parametrize("given", [{"image_digest": f"sha256:{'0' * 64}"}, {"image_format": "vmdk"}])
def test_what_failed_is_known_to_the_server(lab: Lab, given: dict[str, str]) -> None:
    """Also before anything has begun."""
    why = lab.deploy(**given)
    assert why and (lab.shown["state"], lab.shown["error"]) == ("failed", why)
