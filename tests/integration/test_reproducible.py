"""The same bytes twice: by two engines, in two caches, at two times; and `dibo verify`, which tells when they are not.

The base is busybox alone (tests/support/host/build_env.py). A whole Debian is built twice in tests/boot.
"""

from __future__ import annotations

import json
import re
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo import errors
from dibo.artefacts.manifest_schema import MANIFEST_SCHEMA
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult
from tests.support.host.docker_build_env import docker_build_env, ok
from tests.support.requirements import need
from tests.support.schemas import validate

pytestmark = pytest.mark.integration

SH = "#!/bin/sh\nset -e\n"
EPOCH = 1_793_491_200  # of 2026-11
NOISE = """
mkdir -p /etc/ssh /var/log/apt /var/cache/ldconfig /var/lib/systemd /d/e
date +%s%N | tee /etc/ssh/ssh_host_test_key /var/log/dpkg.log /var/log/apt/term.log /var/cache/ldconfig/aux-cache \\
    /var/lib/systemd/random-seed /etc/machine-id /etc/passwd- > /tmp/now
echo one > /d/one; ln /d/one /d/e/hard; ln -s ../one /d/e/link; mkfifo /d/fifo; chmod 0640 /d/one
echo two > /d/two; chmod 4755 /d/two
echo $SOURCE_DATE_EPOCH > /d/epoch
mkdir -p /var/lib/dpkg
printf 'Package: tiny\\nStatus: install ok installed\\nArchitecture: all\\nVersion: 1.2-3\\n' > /var/lib/dpkg/status
"""
CHANGES = (
    "rm -r /d/e; mkdir /d/e; echo new > /d/e/new; rm /bin/zcat; echo more >> /d/one; chown 7:8 /d/epoch\n"
)


@pytest.fixture(scope="module")
def place() -> Iterator[BuildEnv]:
    need("qemu-img")
    who = user.need_ordinary_user()
    with docker_build_env(who) as (made, _):
        write_flavour(made.flavours, "noisy", {"install.d/10-noise": SH + NOISE})
        write_flavour(made.flavours, "quiet", {"install.d/50-changes": SH + CHANGES}, yaml="needs: [noisy]\n")
        write_flavour(made.flavours, "clock", {"install.d/10-clock": SH + "date +%s%N > /etc/built\n"})
        yield made


def create(place: BuildEnv, name: str, *flavours: str, engine: str = "buildah", **environment: str) -> Path:
    """A directory of artefacts `x`, built by an engine."""
    directory = place.directory / name
    place.run("mkdir", directory)
    argv = ["--engine", engine, "--image-size", "0.06", "-t", "raw,qcow2,tar", "-o", str(directory / "x")]
    ok(place.run("disk-image-create", *argv, "--no-base", *flavours, environment=environment))
    return directory


def verify(place: BuildEnv, path: Path, *options: str) -> CommandResult:
    return place.run("dibo", "verify", "--engine", "buildah", *options, path)


@pytest.fixture(scope="module")
def built(place: BuildEnv) -> Path:
    return create(place, "one", "quiet")


def manifest_of(directory: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((directory / "x.manifest.json").read_text())
    return found


def test_the_same_bytes_by_two_engines(place: BuildEnv, built: Path) -> None:
    time.sleep(1.1)  # times of files have seconds
    other = create(place, "two", "quiet", engine="docker", IMG_PATH=str(place.directory / "cache-two"))
    for name in ("x.raw", "x.qcow2", "x.tar", "x.raw.sha256", "x.manifest.json"):
        assert (other / name).read_bytes() == (built / name).read_bytes(), name


def test_a_layer_is_no_younger_than_its_epoch_and_has_no_traces_of_its_step(
    place: BuildEnv, built: Path
) -> None:
    image = ok(place.run("dibo", "build", "--engine", "buildah", "--no-base", "quiet"))
    with tarfile.open(place.tree(image)) as tar:
        found = {member.name: member for member in tar}
    times = {name: found[f"./{name}"].mtime for name in ("d", "d/one", "d/e", "d/e/new", "d/fifo", "d/epoch")}
    assert set(times.values()) == {EPOCH}, times
    assert found["./etc/machine-id"].size == 0
    for path in (
        "etc/ssh/ssh_host_test_key",
        "etc/passwd-",
        "var/log/dpkg.log",
        "var/log/apt/term.log",
        "var/cache/ldconfig/aux-cache",
        "var/lib/systemd/random-seed",
    ):
        assert f"./{path}" not in found, path


def test_the_manifest_says_what_is_in_it_and_nothing_of_this_machine(place: BuildEnv, built: Path) -> None:
    manifest = manifest_of(built)
    validate(manifest, MANIFEST_SCHEMA)
    text = (built / "x.manifest.json").read_text()
    for word in (str(place.directory), place.user.pw_name, "buildah", "docker"):
        assert word not in text, word
    assert manifest["packages"] == [{"name": "tiny", "version": "1.2-3", "architecture": "all"}]
    assert [flavour["name"] for flavour in manifest["flavours"]] == ["noisy", "quiet"]  # type: ignore[attr-defined]
    layers = [(layer["title"], layer["digest"]) for layer in manifest["layers"]]  # type: ignore[attr-defined]
    assert [title for title, _ in layers] == [
        "base.tar",
        "noisy install.d: 10-noise",
        "quiet install.d: 50-changes",
        "finalise",
    ]
    assert len({digest for _, digest in layers}) == 4


def test_artefacts_that_nobody_changed_are_left_alone(place: BuildEnv) -> None:
    directory = create(place, "standing", "quiet")
    names = ("x.raw", "x.qcow2", "x.raw.sha256", "x.manifest.json")
    before = {name: (directory / name).stat().st_ino for name in names}
    create(place, "standing", "quiet")
    assert {name: (directory / name).stat().st_ino for name in names} == before
    bytes_of_disk = (directory / "x.raw").read_bytes()
    with (directory / "x.raw").open("r+b") as disk:
        disk.write(b"changed")
    create(place, "standing", "quiet")
    assert (directory / "x.raw").read_bytes() == bytes_of_disk
    assert (directory / "x.qcow2").stat().st_ino != before["x.qcow2"]
    create(place, "standing", "quiet", "noisy", engine="docker")
    assert manifest_of(directory)["flavours"][0]["asked"]  # type: ignore[index]


def test_what_is_the_same_is_said_to_be(place: BuildEnv, built: Path) -> None:
    said = verify(place, built / "x.qcow2")
    assert "4 layers and 1 artefact are the same" in ok(said)
    assert ok(verify(place, built / "x.manifest.json", "--cached")).endswith("3 artefacts are the same")
    assert place.left() == []


@pytest.mark.parametrize("artefact", ["x.qcow2", "x.tar", "x.manifest.json"])
def test_artefacts_of_one_image_have_the_same_contents(place: BuildEnv, built: Path, artefact: str) -> None:
    said = place.run("dibo", "diff", "-q", built / "x.raw", built / artefact)
    assert ok(said).startswith("the images have the same contents")


def test_images_of_two_stacks_differ_in_what_a_flavour_adds(place: BuildEnv, built: Path) -> None:
    noisy = create(place, "noisy-alone", "noisy")
    said = place.run("dibo", "diff", "-q", "--only", "files,packages", noisy / "x.raw", built / "x.tar")
    assert said.code == errors.Differs.exit_code, said.err
    changed = {tuple(line.split()[:2]) for line in said.out.splitlines() if line.startswith("  ")}
    assert {("~", "/d/one"), ("~", "/d/epoch"), ("-", "/bin/zcat"), ("+", "/d/e/new")} <= changed
    assert not any(path.startswith(("/var/log", "/etc/machine-id")) for _, path in changed)


def test_a_disk_that_somebody_changed_is_told_with_the_file(place: BuildEnv, built: Path) -> None:
    directory = create(place, "tampered", "quiet")
    raw = (directory / "x.raw").read_bytes()
    at = raw.index(b"one\nmore\n")
    (directory / "x.raw").write_bytes(raw[:at] + b"ONE" + raw[at + 3 :])
    said = verify(place, directory / "x.raw", "--cached")
    assert said.code == errors.Differs.exit_code, said.err
    assert "its sha256 is another" in said.err
    assert f"x.raw differs from byte {at} on" in said.out
    assert "~ /d/one  other content (9 B)" in said.out
    assert said.out.count("\n") < 6, said.out
    assert ok(verify(place, directory / "x.qcow2", "--cached"))


def test_a_directory(place: BuildEnv) -> None:
    """Of files, links and a pipe; named itself, and by its manifest."""
    directory = place.directory / "directory"
    place.run("mkdir", directory)
    argv = ["--engine", "buildah", "-t", "directory", "-o", str(directory / "x")]
    ok(place.run("disk-image-create", *argv, "--no-base", "quiet"))
    made = directory / "x.directory"
    assert (made / "d/one").read_text() == "one\nmore\n"
    assert "4 layers and 1 artefact are the same" in ok(verify(place, made, "--cached"))
    (made / "d/one").write_text("ONE\nmore\n")
    (made / "bin/zcat").symlink_to("busybox")
    (made / "d/e/new").unlink()
    said = verify(place, directory / "x.manifest.json", "--cached")
    assert said.code == errors.Differs.exit_code, said.err
    assert f"{made} is not the directory that x.manifest.json describes" in said.err
    lines = said.out.splitlines()
    assert lines[0] == f"{made} differs"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["-", "/bin/zcat"],
        ["+", "/d/e/new"],
        ["~", "/d/one"],
    ]
    assert "other content (9 B)" in lines[3]
    assert place.left() == []


def test_a_flavour_that_looks_at_the_clock_is_found(place: BuildEnv) -> None:
    directory = create(place, "clock", "clock", "quiet")
    said = verify(place, directory / "x.qcow2")
    assert said.code == errors.Differs.exit_code, said.err
    assert "the first layer that differs: clock install.d: 10-clock" in said.out
    assert re.search("~ /etc/built +other content", said.out)
    assert "/d/one" not in said.out


def test_only_what_starts_from_the_same_is_built(place: BuildEnv) -> None:
    write_flavour(place.flavours, "moving", {"install.d/10-moving": SH + "echo 1 > /m\n"})
    directory = create(place, "moving", "moving")
    write_flavour(place.flavours, "moving", {"install.d/10-moving": SH + "echo 2 > /m\n"})
    said = verify(place, directory / "x.raw")
    assert said.code == errors.ManifestError.exit_code, said.err
    assert "the flavour 'moving'" in said.error


def test_each_layer_of_a_base_is_in_the_manifest(place: BuildEnv) -> None:
    layout, output = place.directory / "several", place.directory / "upper.qcow2"
    write_flavour(place.flavours, "upper", {"install.d/50-upper": SH + "echo upper > /d/upper\n"})
    ok(place.run("dibo", "build", "--engine", "buildah", "--no-base", "--tag", "localhost/several", "quiet"))
    ok(place.run("buildah", "push", "--quiet", "localhost/several", f"oci:{layout}:1"))
    argv = ["--engine", "buildah", "--base", f"oci:{layout}:1", "--image-size", "0.06", "-o", str(output)]
    ok(place.run("disk-image-create", *argv, "--no-base", "upper"))
    manifest = json.loads(output.with_name("upper.manifest.json").read_text())
    titles = [layer["title"] for layer in manifest["layers"]]
    assert titles.count(titles[0]) == len(titles) - 2 > 1  # then the hook's, and the last one
    assert all(layer["digest"].startswith("sha256:") for layer in manifest["layers"])
    said = ok(verify(place, output, "--cached", "--base", f"oci:{layout}:1"))
    assert f"{len(titles)} layers and 1 artefact are the same" in said


def test_an_image_without_a_manifest(place: BuildEnv, built: Path) -> None:
    lone = place.directory / "lone.raw"
    place.run("cp", built / "x.raw", lone)
    said = verify(place, lone)
    assert said.code == errors.ManifestError.exit_code
    assert "no manifest beside" in said.error
