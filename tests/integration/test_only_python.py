"""`dibo convert` to bootable disks as a user with no subordinate ids, with a PATH that has only Python: strace sees no
other program start. That such disks boot is shown by tests/boot/test_shapes.py and tests/boot/test_kit.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from dibo.images.layers.spool import Spool
from dibo.kits.layer import save_kit, write_layer
from tests.integration.test_convert_shapes import GRUB, files_of, image_of
from tests.support.host import confine
from tests.support.host.installed_dibo import installed_dibo
from tests.support.images.application_images import application
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT
from tests.unit.boot.test_initramfs import BUSYBOX, VERSION
from tests.unit.kits.test_make import EPOCH, made

pytestmark = pytest.mark.integration

USER: int = 61_234  # in neither /etc/passwd nor /etc/subuid
SIGNED = (Path("/usr/lib/grub/x86_64-efi-signed"), Path("/usr/lib/shim"))
TYPES = "raw,qcow2"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A directory that every user may enter, and what is converted there."""

    directory: Path
    path: Path
    """A directory with Python alone."""
    python: Path

    def convert(self, *arguments: str, name: str) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
        """Convert to `name`; what was said, and the programs that started."""
        out, log = self.directory / "out", self.directory / "strace"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        before: Sequence[str] = ()
        if os.geteuid() == 0:
            os.chown(out, USER, USER)
            confiner = shutil.copy(confine.__file__, self.directory / "confine.py")
            before = (sys.executable, str(confiner), "--id", str(USER), "--no-containers", "--")
        strace = (str(shutil.which("strace")), "-f", "-qq", "-e", "trace=execve,execveat", "-o", str(log))
        argv = [*strace, *before, str(self.python), "-m", "dibo", "convert", *arguments]
        done = subprocess.run(
            [*argv, "-o", str(out / name), "--cache-dir", str(out / "cache")],
            capture_output=True,
            text=True,
            env={"PATH": str(self.path)},
            cwd=out,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, done.stderr
        started = re.findall(r'execve(?:at)?\(.*?"([^"]+)".* = 0$', log.read_text(), re.MULTILINE)
        return done, [Path(program) for program in started[1 if before else 0 :]]


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    need("strace", "busybox")
    python = installed_dibo() / "python"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "bin").mkdir()
        (directory / "bin" / "python3").symlink_to(python)
        with tempfile.TemporaryFile() as file:
            save_kit(write_layer(made(), Spool(file), directory / "layer", epoch=EPOCH), directory / "kit")
        application(directory / "application")
        files = files_of(GRUB)
        for place in SIGNED:
            files |= files_of(place)
        (directory / "with-grub").mkdir()
        image_of(directory / "with-grub", programs=BUSYBOX, more=files)
        subprocess.run(["chmod", "-R", "a+rX", name], check=True)
        yield Ground(directory=directory, path=directory / "bin", python=python)


def test_a_root_with_grub_for_bios_and_uefi(ground: Ground) -> None:
    done, started = ground.convert(f"oci:{ground.directory}/with-grub/image", "-t", TYPES, name="web")
    assert f"Linux {VERSION}, initramfs made, GRUB for BIOS, GRUB with shim for UEFI" in done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert started == [ground.python]


def test_an_application_with_a_kit(ground: Ground) -> None:
    done, started = ground.convert(
        f"oci:{ground.directory}/application",
        "--kit",
        f"oci:{ground.directory}/kit",
        "-t",
        TYPES,
        name="app",
    )
    assert len(done.stdout.splitlines()) == 2
    assert started == [ground.python]


def test_several_images(ground: Ground) -> None:
    """Python starts Python: the workers."""
    (ground.directory / "list").write_text(
        f"oci:{ground.directory}/with-grub/image one\noci:{ground.directory}/with-grub/image two\n"
    )
    done, started = ground.convert(
        "--images-from", f"{ground.directory}/list", "-t", "raw", "--json", name="."
    )
    assert len(json.loads(done.stdout)["images"]) == 2
    assert {program.name for program in started} <= {
        "python",
        Path(sys.executable).name,
        ground.python.resolve().name,
    }
    first, second = (ground.directory / "out" / f"{name}.raw" for name in ("one", "two"))
    subprocess.run(["cmp", str(first), str(second)], check=True)
