"""GRUB's core image of Debian 13's files, beside the one of Debian 13's own grub-mkimage.

tests/unit/formats/test_grub_core.py does so with the GRUB of this machine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.formats import grub_core
from tests.support import user
from tests.support.requirements import need
from tests.unit.formats.test_grub_core import require_same_payload

pytestmark = [pytest.mark.integration, pytest.mark.long]

LIBRARIES = "usr/lib/x86_64-linux-gnu"
SECONDS = 1200.0


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """With GRUB's files, its grub-mkimage, and the libraries that this needs."""
    need("mmdebstrap", "newuidmap", "tar")
    builder = user.need_ordinary_user()
    directory = user.directory_of(builder)
    try:
        tar = directory / "packages.tar"
        options = ("--quiet", "--mode=unshare", "--variant=extract", "--include=grub-pc-bin")
        argv = user.as_user(builder, ["mmdebstrap", *options, "--architectures=amd64", "trixie", str(tar)])
        done = subprocess.run(argv, capture_output=True, text=True, cwd="/", timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        names = ("./usr/lib/grub/i386-pc", "./usr/bin/grub-mkimage", f"./{LIBRARIES}")
        subprocess.run(["tar", "-C", tmp_path, "--no-same-owner", "-xf", tar, *names], check=True)
        yield tmp_path
    finally:
        subprocess.run(["rm", "-rf", directory], check=True)


def test_the_payload_of_grub_2_12(root: Path, tmp_path: Path) -> None:
    package, libraries = root / "usr/lib/grub/i386-pc", root / LIBRARIES
    loader = (str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries))
    mkimage = (*loader, str(root / "usr/bin/grub-mkimage"), "-d", str(package))
    said = subprocess.run([*mkimage, "--version"], capture_output=True, text=True, check=True).stdout
    assert " 2.12" in said
    files = {path.name: path.read_bytes() for path in package.iterdir() if path.is_file()}
    assert grub_core.KERNEL in files
    require_same_payload(files, mkimage, tmp_path)
