"""`dibo convert --kit` as a user types it, with a kit whose programs are none: what the disk holds. That disks with a
real kit boot is shown by tests/boot/test_kit.py."""

from __future__ import annotations

import filecmp
import gzip
import json
import re
import subprocess
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from dibo.errors import ImageError, RootNotBootable, UsageError
from dibo.formats.ext4.reader import Ext
from dibo.formats.partitions import gpt
from dibo.formats.source import Window
from dibo.images.layers.spool import Spool
from dibo.inspect.open_image import FileSource
from dibo.kits.layer import save_kit, write_layer
from dibo.kits.make import Kit
from tests.support import user
from tests.support.disks.boot_disks import read
from tests.support.images.application_images import application
from tests.support.kernel_images import VMLINUX, bzimage
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT
from tests.unit.kits.test_make import EPOCH, ROOT, VERSION, made

pytestmark = pytest.mark.integration

SERVICE = "usr/lib/dibo/service"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout of a kit."""
    return saved(made(), tmp_path_factory.mktemp("kits"))


def saved(kit: Kit, directory: Path) -> Path:
    with tempfile.TemporaryFile() as file:
        save_kit(write_layer(kit, Spool(file), directory / "layer", epoch=EPOCH), directory / "kit")
    return directory / "kit"


def convert(
    image: Path,
    kit: Path,
    out: Path,
    types: str = "raw",
    path: str = "/nonexistent",
    options: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """With no program on PATH, unless the converter of a type is one."""
    need("busybox")
    argv = [user.program("dibo"), "convert", f"oci:{image}", "--kit", f"oci:{kit}", "-t", types]
    argv += ["-o", str(out / "disk"), "--cache-dir", str(out / "cache"), *options]
    environment = {"PATH": path}
    return subprocess.run(argv, capture_output=True, text=True, env=environment, check=False, timeout=TIMEOUT)


def test_a_type_that_no_kit_helps_is_refused_before_a_disk_is_made(kit: Path, tmp_path: Path) -> None:
    done = convert(application(tmp_path / "image"), kit, tmp_path, "raw,uki")
    assert done.returncode == UsageError.exit_code
    assert "uki cannot be made with a kit: a kit has no systemd-stub" in done.stderr
    assert "boot files" not in done.stderr


def test_a_kit_takes_no_flavours_that_lay_out_disks(tmp_path: Path) -> None:
    argv = [user.program("dibo"), "build", "--kit", "cloud", "vm", "-o", str(tmp_path / "kit")]
    argv += ["--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == UsageError.exit_code, done.stderr
    assert "the flavour vm lays out disks, and a kit does so itself" in done.stderr


def test_an_application_and_a_kit_on_one_disk(kit: Path, tmp_path: Path) -> None:
    done = convert(application(tmp_path / "image"), kit, tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^kit: done .*, Linux {re.escape(VERSION)}, runs ", done.stderr, re.MULTILINE), (
        done.stderr
    )
    about = json.loads((tmp_path / "disk.manifest.json").read_text())["kit"]
    assert (about["kernel"], about["program"]) == (VERSION, "/srv/bin/serve")
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


def test_a_kit_that_is_taken_for_an_image(kit: Path, tmp_path: Path) -> None:
    argv = [user.program("dibo"), "convert", f"oci:{kit}", "-o", str(tmp_path / "disk"), "-t"]
    at = ["--cache-dir", str(tmp_path / "cache")]
    said = [
        subprocess.run(
            [*argv, types, *at], capture_output=True, text=True, check=True, timeout=TIMEOUT
        ).stderr
        for types in ("raw", "tar")
    ]
    warning = f"oci:{kit} is a kit, which runs nothing by itself"
    assert [warning in text for text in said] == [True, False]


def test_a_kit_that_is_not_there(tmp_path: Path) -> None:
    """The error says how to make it."""
    done = convert(application(tmp_path / "image"), tmp_path / "kit", tmp_path)
    assert done.returncode == ImageError.exit_code, done.stderr
    assert f"dibo build --kit cloud -a amd64 -o {tmp_path}/kit\n" in done.stderr


def test_types_that_a_kit_is_not_for(kit: Path, tmp_path: Path) -> None:
    done = convert(application(tmp_path / "image"), kit, tmp_path, "erofs,tar")
    assert done.returncode == UsageError.exit_code, done.stderr
    assert "for disks and microvm, and -t asks for neither: erofs, tar" in done.stderr


@pytest.mark.parametrize("loader", ["systemd-boot", "uki", "none"])
def test_a_boot_loader_that_the_kit_has_not(kit: Path, tmp_path: Path, loader: str) -> None:
    """It is refused: the disk would have GRUB."""
    done = convert(application(tmp_path / "image"), kit, tmp_path, options=("--boot", loader))
    assert done.returncode == UsageError.exit_code, done.stderr
    assert f"--boot {loader} is not possible: the kit oci:{kit} has its boot files already" in done.stderr
    assert " …" not in done.stderr, "nothing is read before"
    assert not (tmp_path / "disk.raw").exists()


def test_the_kit_of_a_variable_for_a_microvm(tmp_path: Path) -> None:
    """That the image has no kernel is no failure of a type."""
    kernel = bzimage(gzip.compress(VMLINUX), size=None)
    kit = saved(made({**ROOT, f"boot/vmlinuz-{VERSION}": kernel}), tmp_path)
    argv = [user.program("dibo"), "convert", f"oci:{application(tmp_path / 'image')}", "-t", "microvm"]
    argv += ["-o", str(tmp_path / "disk"), "--cache-dir", str(tmp_path / "cache")]
    environment = {"PATH": "/nonexistent", "DIBO_KIT": f"oci:{kit}"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert "the root has no kernel; the kit of DIBO_KIT brings one" in done.stderr
    assert "failed" not in done.stderr
    assert done.stderr.count("microvm …") == 1


def test_a_microvm_alone_is_that_beside_a_disk(tmp_path: Path) -> None:
    kernel = bzimage(gzip.compress(VMLINUX), size=None)
    kit = saved(made({**ROOT, f"boot/vmlinuz-{VERSION}": kernel}), tmp_path)
    image = application(tmp_path / "image")
    for name, types in (("alone", "microvm"), ("beside", "raw,microvm")):
        (tmp_path / name).mkdir()
        done = convert(image, kit, tmp_path / name, types)
        assert done.returncode == 0, done.stderr
    alone, beside = (tmp_path / name / "disk.microvm" for name in ("alone", "beside"))
    assert {path.name for path in alone.iterdir()} == {path.name for path in beside.iterdir()}
    for path in alone.iterdir():
        assert filecmp.cmp(path, beside / path.name, shallow=False), path.name
    with closing(FileSource(alone / "root.ext4")) as source:
        assert "/srv/bin/serve" in read(Ext(source), f"{SERVICE}/run").decode()


def test_a_microvm_without_a_kernel_asks_for_a_kit(tmp_path: Path) -> None:
    argv = [user.program("dibo"), "convert", f"oci:{application(tmp_path / 'image')}", "-t", "microvm"]
    argv += ["-o", str(tmp_path / "disk"), "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(argv, capture_output=True, text=True, env={}, check=False, timeout=TIMEOUT)
    assert done.returncode == RootNotBootable.exit_code, done.stderr
    assert "    dibo build --kit cloud -o kit\n  and add it to this command: --kit oci:kit\n" in done.stderr


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
