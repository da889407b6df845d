"""Several images in one command: each becomes what it becomes alone, whatever the others do."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.api import Conversion, ConvertOptions, DiskOptions, convert, convert_many
from dibo.cli.main import dibo
from dibo.errors import LayerError, SomeFailed, UsageError, VerificationFailed
from tests.support.images.oci_layouts import LayerTar, OciLayout, Tar
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

TAGS = ("one", "two", "three")
OPTIONS = ["--bare", "-t", "raw", "--image-size", "0.1"]


def base(directory: Path) -> LayerTar:
    tar = Tar(directory / "base.tar")
    tar.directory("d")
    chance = random.Random(3)
    for number in range(40):
        tar.add(f"d/{number}", chance.randbytes(chance.randrange(60_000)))
    tar.add("d/zeros", bytes(200_000))
    tar.add("etc/os-release", b"ID=made\n")
    return LayerTar(tar=tar.close(), compression="zstd")


def own(directory: Path, name: str) -> LayerTar:
    tar = Tar(directory / f"{name}.tar")
    tar.add("name", name.encode())
    tar.add("d/7", name.encode() * 3000)
    tar.whiteout(f"d/{len(name)}")
    return LayerTar(tar=tar.close())


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Three images on one base."""
    made = OciLayout(tmp_path / "images")
    below = base(tmp_path)
    made.write_index({tag: made.image([below, own(tmp_path, tag)]) for tag in TAGS})
    return made.directory


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing is left there, and nothing beside the outputs."""
    monkeypatch.setenv("IMG_PATH", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    assert list((tmp_path / "cache" / "runs").glob("*")) == []
    assert list(tmp_path.rglob("*.part")) == []


def damage(layout: Path, tag: str) -> None:
    """One byte of the image's own layer is another one."""
    index = json.loads((layout / "index.json").read_text())
    blobs = layout / "blobs" / "sha256"
    entry = next(each for each in index["manifests"] if tag in each["annotations"].values())
    manifest = json.loads((blobs / entry["digest"][7:]).read_text())
    blob = blobs / manifest["layers"][-1]["digest"][7:]
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)


def test_each_is_what_it_is_alone(layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        dibo(["convert", *(f"oci:{layout}:{tag}" for tag in TAGS), "-o", str(tmp_path / "out"), *OPTIONS])
        == 0
    )
    answer = capsys.readouterr()
    assert [line.split()[0] for line in answer.out.splitlines()] == [
        str(tmp_path / "out" / f"images-{tag}.raw") for tag in TAGS
    ]
    assert "3 images, 1 shared layer" in answer.err
    for tag in TAGS:
        assert dibo(["convert", f"oci:{layout}:{tag}", "-o", str(tmp_path / tag), *OPTIONS]) == 0
        for ending in (".raw", ".manifest.json"):
            together = (tmp_path / "out" / f"images-{tag}{ending}").read_bytes()
            alone = (tmp_path / f"{tag}{ending}").read_bytes()
            assert together == alone.replace(f'"{tag}.raw"'.encode(), f'"images-{tag}.raw"'.encode())


def test_one_that_fails_stops_no_other(
    layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(layout, "two")
    names = [f"oci:{layout}:{tag}" for tag in (*TAGS, "none")]
    code = dibo(["convert", *names, "-o", str(tmp_path / "out"), "--json", "-j1", *OPTIONS])
    assert code == SomeFailed.exit_code
    answer = capsys.readouterr()
    images = json.loads(answer.out)["images"]
    assert [image["reference"] for image in images] == names
    assert [image["error"] and image["error"]["kind"] for image in images] == [
        None,
        "VerificationFailed",
        None,
        "ImageError",
    ]
    assert [len(image["artefacts"]) for image in images] == [1, 0, 1, 0]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.raw")) == [
        "images-one.raw",
        "images-three.raw",
    ]
    error = json.loads(answer.err.splitlines()[-1])["error"]
    assert error["message"] == "2 of 4 images could not be converted"
    assert len(error["details"]) == 2


def test_what_several_lack_is_said_once() -> None:
    same = UsageError("it has no kernel", hint="make a kit\n  dibo build --kit cloud")
    errors = [("one", same), ("two", UsageError("it is damaged")), ("three", same)]
    error = SomeFailed.of(errors, 4)
    assert error.message == "3 of 4 images could not be converted"
    assert error.hint.splitlines() == [
        *("one,", "three: it has no kernel", "  make a kit", "    dibo build --kit cloud"),
        "two: it is damaged",
    ]
    assert len(error.details) == 3


def test_a_damaged_layer_that_they_share_is_each_ones_error(layout: Path, tmp_path: Path) -> None:
    largest = max((layout / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    results = convert_many(
        [
            Conversion(
                image=f"oci:{layout}:{tag}",
                output=tmp_path / tag,
                options=ConvertOptions(bare=True, cache_dir=tmp_path / "cache"),
                disk=DiskOptions(types=("raw",), size=0.1),
            )
            for tag in TAGS
        ],
        jobs=2,
    )
    assert all(isinstance(result.error, VerificationFailed | LayerError) for result in results)
    assert not list(tmp_path.glob("*.raw"))


def test_options_of_each(layout: Path, tmp_path: Path) -> None:
    """As a program names them: other types, sizes and limits."""
    cache = tmp_path / "cache"
    conversions = [
        Conversion(
            image=f"oci:{layout}:one",
            output=tmp_path / "a",
            options=ConvertOptions(bare=True, cache_dir=cache),
            disk=DiskOptions(types=("raw", "tar"), size=0.1),
        ),
        Conversion(
            image=f"oci:{layout}:two",
            output=tmp_path / "b",
            options=ConvertOptions(bare=True, cache_dir=cache, max_entries=3),
            disk=DiskOptions(types=("raw",)),
        ),
    ]
    lines: list[str] = []
    first, second = convert_many(conversions, jobs=1, progress=lines.append)
    assert first.artefacts == (tmp_path / "a.raw", tmp_path / "a.tar")
    assert (first.error, first.conversion) == (None, conversions[0])
    assert isinstance(second.error, LayerError)
    alone = conversions[0]
    convert(alone.image, tmp_path / "alone", options=alone.options, disk=alone.disk)
    for kind in ("raw", "tar"):
        assert (tmp_path / f"alone.{kind}").read_bytes() == (tmp_path / f"a.{kind}").read_bytes()
    assert any(line.startswith(f"oci:{layout}:one: done") for line in lines), lines


def test_a_list(layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list").write_text("# ours\noci:images:one first\n\n'oci:images:two'   # under its own name\n")
    assert dibo(["convert", "--images-from", "list", *OPTIONS]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.raw")) == ["first.raw", "images-two.raw"]


def test_two_of_one_name_are_refused(tmp_path: Path, layout: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "dibo", "convert", "oci:a/web:1", "oci:b/web:1", "-o", tmp_path / "out"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == UsageError.exit_code
    assert "oci:a/web:1 and oci:b/web:1 would both be written to" in result.stderr
    assert "--images-from" in result.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "cache" / "runs").mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_interrupted(layout: Path, tmp_path: Path, signum: int) -> None:
    """Nothing is left, no process either: what it writes to would stay open."""
    names = [f"oci:{layout}:{tag}" for tag in TAGS]
    command = [sys.executable, "-m", "dibo", "convert", *names, "-o", str(tmp_path / "out"), *OPTIONS]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("oci:"):
                break
        child.send_signal(signum)
        assert child.stderr.read().endswith("nothing was left behind\n")
        assert child.wait(TIMEOUT) == 128 + signum
    left = {path.name.partition(".")[2] for path in (tmp_path / "out").iterdir()}
    assert left <= {"raw", "manifest.json"}, "only images that were done before"


def test_a_worker_that_is_killed(layout: Path, tmp_path: Path) -> None:
    """Its image fails, the others do not."""
    names = [f"oci:{layout}:{tag}" for tag in TAGS]
    command = [sys.executable, "-m", "dibo", "convert", "-j1", *names, "-o", str(tmp_path / "out"), *OPTIONS]
    said = ""
    while not said:  # on a busy machine all may be made before this process goes on
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as child:
            assert child.stderr is not None
            for line in child.stderr:
                if line.startswith("oci:"):
                    break
            children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
            if child.poll() is None and (workers := children.read_text().split()):
                os.kill(int(workers[0]), signal.SIGKILL)
                said = child.stderr.read()
                assert child.wait(TIMEOUT) == SomeFailed.exit_code, said
                assert len(workers) == 1
            else:
                child.stderr.read()
                shutil.rmtree(tmp_path / "out")
    assert "1 of 3 images could not be converted" in said
    assert "was killed by SIGKILL" in said
    assert "--jobs" in said
    assert len(list((tmp_path / "out").glob("*.raw"))) == 2
    dibo(["flavours"])
    assert dibo(["convert", names[0], "-o", str(tmp_path / "again"), *OPTIONS]) == 0  # sweeps
