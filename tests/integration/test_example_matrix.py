"""The example of eight images: four roles on two releases of Debian, baked together, each booted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.system import process
from tests.support.host.example_lab import ExampleLab, check_file_systems, example_lab, manifest_of

pytestmark = [pytest.mark.integration, pytest.mark.long]

PACKAGES: dict[str, set[str]] = {
    "plain": set(),
    "jump": {"tmux"},
    "proxy": {"tinyproxy"},
    "database": {"sqlite3"},
}
RELEASES = ("bookworm", "trixie")


@pytest.fixture(scope="module")
def lab() -> Iterator[ExampleLab]:
    with example_lab() as made:
        yield made


def test_eight_images_of_two_bases(lab: ExampleLab, tmp_path: Path) -> None:
    project = lab.copy("image-matrix")
    baked = lab.bake(project)
    assert baked.code == 0, baked.text
    names = [f"{role}-{release}" for release in RELEASES for role in PACKAGES]
    assert baked.outcomes == {name: "done" for image in names for name in (image, f"{image}: boot")}
    assert set(baked.cases.values()) == {"passed"}
    titles = Counter(baked.built)
    assert titles["base debian:bookworm"] == titles["base debian:trixie"] == 1
    kernels = [title for title in baked.built if title.startswith("base pre-install.d: 90-kernel")]
    assert len(kernels) == len(RELEASES), "once a release"
    assert titles["finalise"] == len(names)
    for role, expected in PACKAGES.items():
        for release in RELEASES:
            packages = {package["name"] for package in manifest_of(project, f"{role}-{release}")["packages"]}
            assert packages & {"tmux", "tinyproxy", "sqlite3"} == expected
    disk = project / "images" / "database-bookworm.qcow2"
    process.run(["qemu-img", "convert", "-O", "raw", str(disk), str(tmp_path / "disk")])
    check_file_systems(tmp_path / "disk", "root")

    again = lab.run("dibo", "bake", "--dry-run", cwd=project)
    assert "8 images, 0 layers to build" in again.stdout, again.stderr
