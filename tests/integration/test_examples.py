"""Two of the example projects, baked as their READMEs say: one disk, and a set for bare metal. What they make is looked
at and booted; and what a bake says of a test that fails, and of ^C.

The third is in test_example_matrix.py, since each takes minutes without KVM.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.errors import SomeFailed
from dibo.system import process
from tests.support.host.example_lab import (
    BakedProject,
    ExampleLab,
    check_file_systems,
    example_lab,
    manifest_of,
)
from tests.support.timeouts import TIMEOUT

pytestmark = [pytest.mark.integration, pytest.mark.long]

BASE = "localhost/busybox"


@pytest.fixture(scope="module")
def lab() -> Iterator[ExampleLab]:
    with example_lab() as made:
        yield made


def unpacked(disk: Path) -> Path:
    """The raw disk of a compressed one, beside it."""
    raw = disk.with_suffix("")
    process.run(["zstd", "-dqf", str(disk), "-o", str(raw)])
    return raw


def packages_of(project: Path, image: str) -> set[str]:
    return {package["name"] for package in manifest_of(project, image)["packages"]}


def test_the_web_server(lab: ExampleLab, tmp_path: Path) -> None:
    project = lab.copy("web-server")
    baked = lab.bake(project)
    assert baked.code == 0, baked.text
    assert baked.outcomes == {"web-server": "done", "web-server: boot": "done"}
    assert "finalise" in baked.built
    assert set(baked.cases.values()) == {"passed"}
    assert baked.cases["web-server: test boot"] == "passed"
    disk = project / "images" / "web-server.qcow2"
    process.run(["qemu-img", "convert", "-O", "raw", str(disk), str(tmp_path / "disk")])
    check_file_systems(tmp_path / "disk", "root")
    assert "nginx" in packages_of(project, "web-server")

    made = disk.stat().st_mtime_ns
    file = project / "dibo.yaml"
    file.write_text(file.read_text().replace("is-active nginx", "is-active apache2"))
    failed = lab.bake(project)
    assert disk.stat().st_mtime_ns == made, "nothing of it has changed"
    assert_that_the_test_failed(failed, disk)

    with lab.start_bake(project) as child:
        assert child.stderr is not None
        assert any(line.startswith("web-server: test boot") for line in child.stderr)
        child.send_signal(signal.SIGINT)
        text = child.stderr.read()
        assert child.wait(TIMEOUT) == 128 + signal.SIGINT
    assert "web-server: test boot: interrupted" in text
    assert text.endswith("dibo: interrupted by SIGINT; nothing was left behind\n")
    assert lab.env.left() == []


def assert_that_the_test_failed(baked: BakedProject, disk: Path) -> None:
    """In the report, in events, in JUnit and in the error, which says what the command in the machine printed."""
    assert baked.code == SomeFailed.exit_code
    assert baked.built == []
    assert baked.outcomes == {"web-server": "failed", "web-server: boot": "failed"}
    (image,) = baked.document["images"]
    assert image["failed"] == "test boot"
    assert [Path(artefact["path"]) for artefact in image["artefacts"]] == [disk]
    assert image["error"]["kind"] == "CommandFailed"
    assert "systemctl is-active apache2" in image["error"]["message"]
    assert "inactive" in image["error"]["hint"]
    ended = [event for event in baked.events if event["document"] == "task-ended"]
    assert [(event["task"], event["outcome"]) for event in ended] == [
        ("image:web-server", "done"),
        ("test:web-server:boot", "failed"),
    ]
    assert (baked.cases["web-server: artefacts"], baked.cases["web-server: test boot"]) == (
        "passed",
        "failure",
    )
    assert baked.events[-1]["error"]["message"] == "1 of 1 images failed their tests"


def test_the_set_for_bare_metal(lab: ExampleLab) -> None:
    project = lab.copy("bare-metal")
    make_application(lab, project)
    kit = lab.run("dibo", "build", "--kit", "metal", "--base", "debian", "-o", "kit", cwd=project)
    assert kit.returncode == 0, kit.stderr
    baked = lab.bake(project)
    assert baked.code == 0, baked.text
    assert set(baked.outcomes.values()) == {"done"}, baked.outcomes
    assert set(baked.cases.values()) == {"passed"}
    images = project / "images"
    assert {path.name for path in images.iterdir() if path.suffix not in (".json", ".sha256")} == {
        *("deploy.ramdisk", "deploy.kernel", "server.raw.zst", "application.raw.zst"),
    }
    check_file_systems(unpacked(images / "server.raw.zst"), "root", "persistent-state")
    check_file_systems(unpacked(images / "application.raw.zst"), "root")
    assert "tgt" in packages_of(project, "deploy.ramdisk")


def make_application(lab: ExampleLab, project: Path) -> None:
    """As in README.md, on a busybox of this machine in the place of one from a registry."""
    script = (
        f'c=$(buildah from scratch) && buildah add --quiet "$c" {lab.env.directory}/base.tar / && '
        f'buildah commit --quiet --rm "$c" {BASE} && '
        f"buildah build --quiet --build-arg BASE={BASE} --tag application application && "
        "buildah push --quiet application oci:application-image"
    )
    made = lab.run("sh", "-c", script, cwd=project)
    assert made.returncode == 0, made.stderr
