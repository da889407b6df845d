"""`dibo convert --kit` as a user types it, with a kit whose programs are none: what the disk holds. That disks with a
real kit boot is shown by tests/boot/test_kit.py."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from dibo.errors import ImageError
from dibo.formats.ext4.reader import Ext
from dibo.formats.partitions import gpt
from dibo.formats.source import Window
from dibo.images.layers.spool import Spool
from dibo.inspect.open_image import FileSource
from dibo.kits.layer import save_kit, write_layer
from tests.support import user
from tests.support.disks.boot_disks import read
from tests.support.images.application_images import application
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT
from tests.unit.kits.test_make import EPOCH, VERSION, made

pytestmark = pytest.mark.integration

SERVICE = "usr/lib/dibo/service"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout of a kit."""
    directory = tmp_path_factory.mktemp("kits")
    with tempfile.TemporaryFile() as file:
        save_kit(write_layer(made(), Spool(file), directory / "layer", epoch=EPOCH), directory / "kit")
    return directory / "kit"


def convert(
    image: Path, kit: Path, out: Path, types: str = "raw", path: str = "/nonexistent"
) -> subprocess.CompletedProcess[str]:
    """With no program on PATH, unless the converter of a type is one."""
    need("busybox")
    argv = [user.program("dibo"), "convert", f"oci:{image}", "--kit", f"oci:{kit}", "-t", types]
    argv += ["-o", str(out / "disk"), "--cache-dir", str(out / "cache")]
    environment = {"PATH": path}
    return subprocess.run(argv, capture_output=True, text=True, env=environment, check=False, timeout=TIMEOUT)


def test_an_application_and_a_kit_on_one_disk(kit: Path, tmp_path: Path) -> None:
    done = convert(application(tmp_path / "image"), kit, tmp_path)
    assert done.returncode == 0, done.stderr
    disk = tmp_path / "disk.raw"
    with disk.open("rb") as file:
        parts = {part.name: part for part in gpt.decode(file).entries}
    with closing(FileSource(disk)) as source:
        root = Ext(Window(source, parts["root"].offset, parts["root"].size))
        state = Ext(Window(source, parts["persistent-state"].offset, parts["persistent-state"].size))
        assert read(root, f"boot/vmlinuz-{VERSION}") == f"kernel {VERSION}".encode()
        assert read(root, "usr/lib/dibo/kit/bin/mount") == read(root, "usr/lib/dibo/kit/bin/busybox")
        assert b"app:" in read(root, "srv/bin/serve")
        run = read(root, f"{SERVICE}/run").decode()
        assert "/srv/bin/serve" in run
        assert "cd '/srv/new/place'" in run
        assert "stop_signal=USR1" in read(root, f"{SERVICE}/conf").decode()
        assert read(root, f"{SERVICE}/volumes") == b"/data\n"
        assert state.names(state.root) == (b"lost+found",)


def test_an_image_that_is_no_kit(tmp_path: Path) -> None:
    image = application(tmp_path / "image")
    done = convert(image, image, tmp_path)
    assert done.returncode == ImageError.exit_code, done.stderr
    assert "is no kit" in done.stderr
    assert not (tmp_path / "disk.raw").exists()


def test_an_archive_beside_a_disk(kit: Path, tmp_path: Path) -> None:
    """It has what the layers have, and the application as the disk has it."""
    done = convert(application(tmp_path / "image"), kit, tmp_path, "raw,tar", "/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "disk.tar") as tar:
        members = {member.name.removeprefix("./"): member for member in tar.getmembers()}
        run = tar.extractfile(members[f"{SERVICE}/run"])
        assert run is not None
        assert b"/srv/bin/serve" in run.read()
    assert {"srv/bin/serve", "usr/lib/dibo/kit/start", f"{SERVICE}/conf", f"{SERVICE}/volumes"} <= set(
        members
    )
    assert members["etc/resolv.conf"].linkname == "/run/dibo/resolv.conf"
    assert members["srv/new/place"].isdir()
