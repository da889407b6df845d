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
        (
            "qemu-img-options: {compat: 0.10}",
            "qemu-img-options: --qemu-img-options (QEMU_IMG_OPTIONS) compat=0.10: a qcow2 of dibo has no such option",
        ),
        ("elemnts: [vm]", "elemnts: unknown key; did you mean 'elements'"),
        ("types: [aci]", "types[0]: dibo has no type 'aci'"),
        ("checksum: sha1", "checksum: expected one of sha256, md5, got 'sha1'"),
        ("offline: 7", "offline: expected true or false"),
        ("mkfs-options: [a]", "mkfs-options: expected text, got a list"),
        ("arch: s390x", "arch: expected an architecture, such as amd64 or arm64/v8, got 's390x'"),
        ("environment: {A: [b]}", "environment.A: expected text, got a list"),
    ],
)
def test_what_has_no_counterpart_is_refused(tmp_path: Path, key: str, message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        read(tmp_path, f"- imagename: web\n  elements: [debian, vm]\n  {key}\n")
    assert caught.value.message.startswith(f"{tmp_path}/images.yaml:3: [0].{message}"), caught.value.message
    assert caught.value.hint or ": expected " in message


def test_elements_without_a_counterpart(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no counterpart of the element block-device-efi"):
        read(tmp_path, "[{elements: [debian, vm, block-device-efi]}]")
    with pytest.raises(ProjectError, match="no element is called debian or ubuntu"):
        read(tmp_path, "[{elements: [fedora, vm]}]")


def test_options_that_variables_stand_for(tmp_path: Path) -> None:
    (web,) = read(
        tmp_path,
        """\
        - imagename: web
          elements: [debian, vm]
          checksum: true
          image-cache: /cache
          mkfs-journal-size: 64
          mkfs-options: -i 16384
          offline: true
          qemu-img-options: {compression_type: zstd, compat: "1.1"}
          docker-target: a
          logfile: web.log
        """,
    ).values()
    assert dict(web.variables) == {
        "DIB_CHECKSUM": "1",
        "IMG_PATH": "/cache",
        "DIB_JOURNAL_SIZE": "64",
        "DIBO_MKFS_OPTIONS": "-i 16384",
        "DIB_OFFLINE": "1",
        "DIBO_QCOW2_COMPRESSION": "zstd",
    }


def test_a_project_with_a_path_of_elements_has_all_keys(tmp_path: Path) -> None:
    text = "[{imagename: web, elements: [debian-minimal, vm], packages: [vim], root-label: mine, image-extra-size: 9}]"
    path = write(tmp_path, text, "images.yaml")
    (web,) = load_project(path, {"ELEMENTS_PATH": "/x"}).images
    assert (web.flavours, web.packages, web.base) == (("debian-minimal", "vm"), ("vim",), None)
    assert dict(web.variables) == {"ROOT_LABEL": "mine", "DIB_IMAGE_EXTRA_SIZE": "9"}
    with pytest.raises(ProjectError, match="no counterpart of packages"):
        load_project(path)
