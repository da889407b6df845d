"""The project files of examples: read, and their flavours put in order."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from dibo.api.planning import draw_layout
from dibo.api.session import stack_of
from dibo.api.settings import image_settings
from dibo.disk import layout_choice
from dibo.projects.load import load_project
from dibo.settings.settings import Options

PROJECT = Path(__file__).parents[3]
FILES = sorted(PROJECT.glob("examples/*/dibo.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_every_image_has_a_stack_and_a_layout(file: Path) -> None:
    images = load_project(file).images
    assert images
    for image in images:
        settings = image_settings(image, Options(), {})
        if image.convert is None:
            assert set(image.flavours) <= set(stack_of(settings).names)
        if not image.ramdisk:
            assert draw_layout(settings, layout_file=image.layout)


def test_the_matrix_is_eight_images_of_two_bases() -> None:
    images = load_project(PROJECT / "examples/image-matrix/dibo.yaml").images
    assert len(images) == 8
    assert {(image.base, image.release) for image in images} == {("debian", "bookworm"), ("debian", "trixie")}
    assert {image.flavours[:2] for image in images} == {("vm", "motd")}


def test_the_set_for_bare_metal_has_a_ramdisk_a_disk_and_an_image_with_a_kit() -> None:
    deploy, server, application = load_project(PROJECT / "examples/bare-metal/dibo.yaml").images
    assert deploy.ramdisk
    given = layout_choice.chosen(None, server.layout)
    assert given is not None
    assert layout_choice.left_out(stack_of(image_settings(server, Options(), {})).disk, given) == ()
    assert application.convert is not None
    assert application.kit is not None


def test_the_project_file_in_a_flavour_is_no_part_of_it() -> None:
    (image,) = load_project(PROJECT / "examples/web-server/dibo.yaml").images
    web_server = stack_of(image_settings(image, Options(), {})).flavours[-1]
    assert web_server.name == "web-server"
    assert not [file.path for file in web_server.files if file.path.startswith(("dibo.yaml", "images"))]


def test_the_first_example_of_the_how_to_needs_nothing_else(tmp_path: Path) -> None:
    page = (PROJECT / "docs/how-to/bake.md").read_text()
    block = page.partition("    # dibo.yaml\n")[2].partition("\n\n")[0]
    (tmp_path / "dibo.yaml").write_text(dedent(block))
    images = load_project(tmp_path / "dibo.yaml").images
    assert [image.name for image in images] == ["web", "db", "shell"]
    for image in images:
        assert set(image.flavours) <= set(stack_of(image_settings(image, Options(), {})).names)
