"""Whole images again: what an ordinary user built, root builds elsewhere and later, from nothing, once with docker and
once with buildah where it is forty days later, and it is the same byte by byte. `dibo verify` does it, and is itself
tried in tests/integration.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.boot.conftest import BUILD_SECONDS, FLAVOURS, Disks
from tests.support import user
from tests.support.host.fake_clock import buildah_forty_days_later
from tests.support.requirements import need, unmet
from tests.support.servers.dockerd import dockerd

pytestmark = pytest.mark.boot


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dibo-twice-", dir="/var/tmp") as name:
        yield Path(name)


def again(image: Path, directory: Path, environment: Mapping[str, str]) -> str:
    """What `dibo verify` by root says of an image that is the same."""
    need("mmdebstrap")
    if os.geteuid() != 0:
        unmet("another user than the one who built is wanted, and only root has one")
    if not list(image.parent.glob("*.manifest.json")):
        unmet(f"{image} was built elsewhere, and its manifest is not beside it")
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": "/root",
        "IMG_PATH": str(directory / "cache"),
        **environment,
    }
    done = subprocess.run(
        [user.program("dibo"), "verify", "--flavours-path", str(FLAVOURS), str(image)],
        env=variables,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        cwd="/",
    )
    if "\npackage " in f"\n{done.stdout}":
        pytest.skip(f"the archive has moved since layers of {image.name} were built:\n{done.stdout}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_disk_with_docker(disks: Disks, directory: Path) -> None:
    need("dockerd")
    with dockerd() as daemon:
        environment = {"DIBO_ENGINE": "docker", **daemon.environment}
        assert "1 artefact are the same" in again(disks.built, directory, environment)


@pytest.mark.long
def test_a_ramdisk_and_its_kernel_on_another_day(ramdisk: Path, directory: Path) -> None:
    need("buildah", "faketime")
    storage = directory / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/root"\nrunroot = "{directory}/run"\n'
    )
    environment = {
        "DIBO_ENGINE": "buildah",
        "CONTAINERS_STORAGE_CONF": str(storage),
        "PATH": f"{buildah_forty_days_later(directory)}:{os.environ['PATH']}",
    }
    manifest = ramdisk.with_name(f"{ramdisk.name}.manifest.json")
    assert "2 artefacts are the same" in again(manifest, directory, environment)
