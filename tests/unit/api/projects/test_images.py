"""Which image a word means, and what is made of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dibo.api.projects.images import image_meant
from dibo.api.projects.make import artefact_paths, image_build, made_artefact
from dibo.api.projects.requests import boot_request, boot_steps, convert_request, named_test, ramdisk_settings
from dibo.errors import ProjectError, UsageError
from dibo.machines.steps import StepKind
from dibo.projects.load import load_project
from dibo.projects.model import ProjectImage
from dibo.settings.settings import Options

TEXT = """\
defaults: {flavours: [vm], destination: out}
images:
  web: {architectures: [amd64, arm64], types: [tar, raw]}
  vm: {size: 3}
  deploy:
    ramdisk: {compress: gzip, microcode: true}
    flavours: [deploy]
  shop:
    convert: {image: registry.example/shop:1, init: true}
    kit: registry.example/kit:1
    layout: {table: gpt}
    boot: {memory: 512}
    tests:
      - expect: 'login:'
      - {name: more, memory: 2048, ports: [80], steps: [{run: uptime}, {wait: 2}]}
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dibo.yaml").write_text(TEXT)
    return tmp_path


def meant(*words: str, architecture: str | None = None, project: str | None = None) -> str | None:
    environment = {"ARCH": "amd64"}
    image = image_meant(words, project_file=project, environment=environment, architecture=architecture)
    return None if image is None else image.name


def image(directory: Path, name: str) -> ProjectImage:
    return next(image for image in load_project(directory / "dibo.yaml").images if image.name == name)


def test_a_name_alone_is_an_image_before_it_is_a_flavour(directory: Path) -> None:
    assert meant("vm") == "vm"
    assert meant("web") == "web-amd64"
    assert meant("web", architecture="arm64") == "web-arm64"
    assert meant("mysql") is None
    assert meant("vm", "mysql") is None
    assert meant("vm", project="none") is None


def test_no_name_is_the_only_image(directory: Path) -> None:
    with pytest.raises(
        ProjectError, match=r"dibo\.yaml has 4 images: web, web-amd64, web-arm64, vm, deploy, shop"
    ):
        meant()
    assert meant(project="none") is None
    (directory / "dibo.yaml").write_text("images: {web: {flavours: [vm], architectures: [amd64, arm64]}}")
    assert meant() == "web-amd64"
    assert meant(architecture="arm64") == "web-arm64"
    (directory / "dibo.yaml").write_text("images: {}")
    with pytest.raises(ProjectError, match="has no images"):
        meant()
    (directory / "dibo.yaml").unlink()
    assert meant() is None


def test_a_mark_makes_it_an_image(directory: Path) -> None:
    assert meant("@vm") == "vm"
    with pytest.raises(ProjectError, match="has no image 'mysql'"):
        meant("@mysql")
    with pytest.raises(UsageError, match="@vm is an image of the project file, and stands alone"):
        meant("@vm", "mysql")
    (directory / "dibo.yaml").unlink()
    with pytest.raises(ProjectError, match="there is no project file"):
        meant("@vm")
    assert meant("vm") is None


def test_a_file_that_is_named(directory: Path) -> None:
    (directory / "other.yaml").write_text("images: {box: {flavours: [vm]}}")
    assert meant("box", project="other.yaml") == "box"
    with pytest.raises(ProjectError, match=r"other\.yaml has no image 'vm'"):
        meant("vm", project="other.yaml")
    with pytest.raises(UsageError, match="stands alone"):
        meant("vm", "mysql", project="other.yaml")
    with pytest.raises(ProjectError, match="--project: there is no file"):
        meant("vm", project="missing.yaml")
    assert meant(project="other.yaml") == "box"


def test_a_file_with_an_error_is_not_passed_over(directory: Path) -> None:
    (directory / "dibo.yaml").write_text("images: [")
    with pytest.raises(ProjectError, match=r"dibo\.yaml:1: "):
        meant("vm")


def test_where_artefacts_are(directory: Path) -> None:
    web = image_build(image(directory, "web-amd64"), Options(), {})
    assert artefact_paths(web) == (directory / "out/web-amd64.tar", directory / "out/web-amd64.raw")
    with pytest.raises(ProjectError, match=r"web-amd64 is not built: there is no .*web-amd64\.raw") as caught:
        made_artefact(web, to_boot=True)
    assert caught.value.hint == "dibo build web-amd64"
    (directory / "out").mkdir()
    for path in artefact_paths(web):
        path.touch()
    assert made_artefact(web, to_boot=False).suffix == ".tar"
    assert made_artefact(web, to_boot=True).suffix == ".raw"
    deploy = image_build(image(directory, "deploy"), Options(), {})
    assert artefact_paths(deploy) == (directory / "out/deploy.ramdisk", directory / "out/deploy.kernel")
    assert deploy.settings.flavours == ("ramdisk-base", "vm", "deploy")


def test_a_ramdisk(directory: Path) -> None:
    deploy = image(directory, "deploy")
    settings = ramdisk_settings(deploy, {})
    assert (settings.compression.method, settings.microcode) == ("gzip", True)
    settings = ramdisk_settings(deploy, {"DIBO_RAMDISK_COMPRESSION": "xz", "IMAGE_NAME": "other"})
    assert (settings.compression.method, settings.output) == ("xz", Path("other"))
    assert ramdisk_settings(deploy, {}, output="mine").output == Path("mine")


def test_a_conversion(directory: Path) -> None:
    request = convert_request(image(directory, "shop"), {})
    assert (request.reference, request.kit.reference) == ("registry.example/shop:1", "registry.example/kit:1")
    assert request.kit.own_init
    assert request.layout_file is not None
    assert convert_request(image(directory, "shop"), {"DIBO_KIT": "oci:k"}).kit.reference == "oci:k"


def test_tests(directory: Path) -> None:
    shop = image(directory, "shop")
    assert [str(step) for step in boot_steps(named_test(shop, "boot"))] == ["expect login:"]
    more = named_test(shop, "more")
    steps = boot_steps(more)
    assert [step.kind for step in steps] == [StepKind.RUN, StepKind.WAIT]
    request = boot_request(Path("x.raw"), more.boot, steps)
    assert (request.memory, request.ports, request.firmware) == (2048, ("80",), "auto")
    with pytest.raises(ProjectError, match="shop has no test 'boof'"):
        named_test(shop, "boof")


def test_directories_of_artefacts_are_made(directory: Path) -> None:
    from dibo.api.projects.make import make_artefacts
    from dibo.system.report import Report

    box = image(directory, "vm")
    build = image_build(box, Options(types="nosuch"), {"IMG_PATH": str(directory / "cache")})
    with pytest.raises(Exception, match="nosuch"), open(os.devnull, "w") as null:  # noqa: PTH123
        make_artefacts(build, Report(stream=null))
    assert (directory / "out").is_dir()
