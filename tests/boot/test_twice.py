"""Whole images again: what an ordinary user built with buildah, root builds with docker, elsewhere and later, from
nothing, and it is the same byte by byte. `dibo verify` does it, and is itself tried in tests/integration.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.boot.conftest import BUILD_SECONDS, FLAVOURS, Disks
from tests.support import user
from tests.support.dockerd import dockerd
from tests.support.parts import need, unmet

pytestmark = pytest.mark.boot


def again(image: Path) -> str:
    """What `dibo verify` by root, with a daemon and a cache of their own, says of an image that is the same."""
    need("dockerd", "mmdebstrap")
    if os.geteuid() != 0:
        unmet("another user than the one who built is wanted, and only root has one")
    if not list(image.parent.glob("*.manifest.json")):
        unmet(f"{image} was built elsewhere, and its manifest is not beside it")
    with dockerd() as daemon, tempfile.TemporaryDirectory(prefix="dibo-twice-", dir="/var/tmp") as cache:
        argv = [user.program("dibo"), "verify", "--engine", "docker", "--flavours-path", str(FLAVOURS)]
        environment = {"PATH": os.environ["PATH"], "HOME": "/root", "IMG_PATH": cache, **daemon.environment}
        done = subprocess.run(
            [*argv, str(image)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            cwd="/",
        )
    if "\npackage " in f"\n{done.stdout}":
        unmet(f"the archive has moved since layers of {image.name} were built:\n{done.stdout}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_disk(disks: Disks) -> None:
    assert "1 artefacts are the same" in again(disks.built)


def test_a_ramdisk_and_its_kernel(ramdisk: Path) -> None:
    assert "2 artefacts are the same" in again(ramdisk.with_name(f"{ramdisk.name}.manifest.json"))
