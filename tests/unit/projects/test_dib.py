"""The images.yaml of diskimage-builder."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.errors import ProjectError
from dibo.projects.load import load_project
from dibo.projects.model import ProjectImage
from tests.unit.projects.project_files import images, write


def read(directory: Path, text: str) -> dict[str, ProjectImage]:
    return {image.name: image for image in load_project(write(directory, text, "images.yaml")).images}


def test_keys_in_their_counterparts(tmp_path: Path) -> None:
    (web,) = read(
        tmp_path,
        """\
        - imagename: web
          arch: x86_64
          types: [qcow2, vpc]
          elements: [debian-minimal, vm, nginx, base]
          environment: {DIB_RELEASE: trixie, DIB_DISTRIBUTION_MIRROR: "http://m", DIB_FLAG: yes, PORT: 80}
          image-size: 6
          skip-base: true
          uncompressed: true
          checksum: sha256
          debug-trace: 1
          clear: true
        """,
    ).values()
    assert (web.name, web.architecture, web.types) == ("web", "amd64", ("qcow2", "vhd"))
    assert (web.base, web.release, web.mirror) == ("debian", "trixie", "http://m")
    assert web.flavours == ("vm", "nginx")
    assert web.variables == (("DIBO_QCOW2_COMPRESSION", "none"), ("DIB_FLAG", "yes"), ("PORT", "80"))
    assert (web.size, web.with_base, web.ramdisk) == ("6", False, False)


def test_entries_of_one_name_are_merged(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """\
        - {elements: [ubuntu, vm], environment: {A: 1, B: 1}}
        - {elements: [mysql], environment: {B: 2}, image-size: 3}
        - {imagename: ram, ramdisk: true, elements: [debian, deploy]}
        - {imagename: image, image-size: 4}
        """,
    )
    assert list(found) == ["image", "ram"]
    image = found["image"]
    assert (image.flavours, image.size, image.variables) == (("vm", "mysql"), "4", (("A", "1"), ("B", "2")))
    assert found["ram"].ramdisk


def test_several_files_are_one_list_and_a_project_file_adds_defaults(tmp_path: Path) -> None:
    write(tmp_path, "[{imagename: web, elements: [debian, vm]}]", "a.yaml")
    write(tmp_path, "[{imagename: web, image-size: 3}, {imagename: db, elements: [debian, mysql]}]", "b.yaml")
    found = images(tmp_path, "include: [a.yaml, b.yaml]\ndefaults: {epoch: e1}\n")
    assert list(found) == ["web", "db"]
    assert (found["web"].size, found["web"].epoch) == ("3", "e1")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("packages: [vim]", "packages: dibo has no counterpart of packages"),
        ("root-label: x", "root-label: dibo has no counterpart of root-label"),
        ("qemu-img-options: {a: b}", "qemu-img-options: dibo has no counterpart"),
        ("elemnts: [vm]", "elemnts: unknown key; did you mean 'elements'"),
        ("types: [aci]", "types[0]: dibo has no type 'aci'"),
        ("checksum: md5", "checksum: dibo computes no md5"),
        ("arch: s390x", "arch: expected an architecture, such as amd64 or arm64/v8, got 's390x'"),
        ("environment: {A: [b]}", "environment.A: expected text, got a list"),
    ],
)
def test_what_has_no_counterpart_is_refused(tmp_path: Path, key: str, message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        read(tmp_path, f"- imagename: web\n  elements: [debian, vm]\n  {key}\n")
    assert caught.value.message.startswith(f"{tmp_path}/images.yaml:3: [0].{message}"), caught.value.message
    assert caught.value.hint or key.startswith("arch") or "[b]" in key


def test_elements_without_a_counterpart(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no counterpart of the element block-device-efi"):
        read(tmp_path, "[{elements: [debian, vm, block-device-efi]}]")
    with pytest.raises(ProjectError, match="no element is called debian or ubuntu"):
        read(tmp_path, "[{elements: [fedora, vm]}]")
