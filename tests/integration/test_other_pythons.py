"""The same bytes with another Python and with other versions of the libraries that compress."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from tests.support.host.installed_dibo import PROJECT, installed_dibo
from tests.support.images.application_images import application
from tests.support.requirements import need, unmet
from tests.support.timeouts import TIMEOUT

pytestmark = [pytest.mark.integration, pytest.mark.long]

OLDEST = ("deflate==0.8.1", "isal==1.7.0", "zlib-ng==1.0.0", "zstandard==0.23.0")
TYPES = "raw,qcow2,vmdk,vhd,vdi,tar,tgz,squashfs,erofs,raw.gz,raw.zst,raw.xz,containerdisk,ova,gce,vagrant-libvirt"
OF_A_LIBRARY = {"x.raw.zst", "x.raw.tar.gz", "x.manifest.json"}
"""zstd and zlib-ng say what streams and tars are packed into; the manifest names their versions."""


def other_python() -> Path:
    """A Python of another minor version than this one, on PATH or of pyenv(1)."""
    names = [f"python3.{minor}" for minor in (13, 12, 11) if minor != sys.version_info.minor]
    found = [Path(path) for name in names if (path := shutil.which(name))]
    if pyenv := shutil.which("pyenv"):
        root = Path(subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip())
        found += [path for name in names for path in root.glob(f"versions/*/bin/{name}")]
    works = [path for path in found if subprocess.run([path, "-c", "import ensurepip"]).returncode == 0]
    return works[0] if works else unmet(f"none of {', '.join(names)} is installed")


def pip(python: Path, *arguments: str | Path) -> None:
    argv = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *map(str, arguments),
    ]
    subprocess.run(argv, check=True, timeout=TIMEOUT)


def converted(programs: Path, image: Path, target: Path) -> dict[str, bytes]:
    """All that `dibo` of a directory of programs makes of an image."""
    target.mkdir()
    options = ["--bare", "-q", "--image-size", "0.1", "--cache-dir", str(target / "cache")]
    argv = [
        *(str(programs / "dibo"), "convert", *options, "-t", TYPES, "-o", str(target / "x")),
        f"oci:{image}:latest",
    ]
    subprocess.run(argv, check=True, timeout=TIMEOUT)
    return {path.name: path.read_bytes() for path in target.glob("x.*")}


def test_another_python_and_the_oldest_libraries(tmp_path: Path) -> None:
    need("busybox")
    image = application(tmp_path / "image")
    ours = converted(installed_dibo(), image, tmp_path / "ours")
    assert len(ours) == len(TYPES.split(",")) + 1

    subprocess.run([str(other_python()), "-m", "venv", str(tmp_path / "venv")], check=True, timeout=TIMEOUT)
    programs = tmp_path / "venv" / "bin"
    here = json.loads(ours["x.manifest.json"])["made-by"]
    pip(programs / "python", PROJECT, *same_libraries())
    other = converted(programs, image, tmp_path / "other")
    assert {name for name in ours if ours[name] != other[name]} == {"x.manifest.json"}
    there = json.loads(other["x.manifest.json"])["made-by"]
    assert {name for name in here if here[name] != there[name]} == {"python"}

    pip(programs / "python", *OLDEST)
    old = converted(programs, image, tmp_path / "old")
    assert {name for name in ours if ours[name] != old[name]} <= OF_A_LIBRARY
    there = json.loads(old["x.manifest.json"])["made-by"]
    assert {name for name in here if here[name] != there[name]} == {"python", "deflate", "zlib-ng", "zstd"}
    for name, unpack in (("x.raw.zst", unzstd), ("x.raw.tar.gz", gzip.decompress)):
        assert unpack(ours[name]) == unpack(old[name])


def same_libraries() -> list[str]:
    """Those of dibo as it is installed for tests, as pip takes them."""
    options = ["--format=freeze", "--disable-pip-version-check"]
    argv = [str(installed_dibo() / "python"), "-m", "pip", "list", *options]
    listed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    names = {line.partition("=")[0] for line in OLDEST}
    chosen = [line for line in listed if line.partition("=")[0] in names]
    assert len(chosen) == len(names)
    return chosen


def unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
