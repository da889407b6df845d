"""Commands for images.yaml, with the program `diskimage-builder` itself as an oracle."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from dibo.errors import ProjectError
from dibo.projects.load import load_dib_lists
from tests.support import dib
from tests.support.dib import needs_wheel
from tests.unit.projects.project_files import write

EVERYTHING: dict[str, Any] = {
    "imagename": "everything",
    "arch": "amd64",
    "types": ["qcow2", "raw"],
    "environment": {"DIB_RELEASE": "trixie", "MESSAGE": "a b"},
    "debug-trace": 2,
    "uncompressed": True,
    "clear": True,
    "logfile": "./build.log",
    "checksum": True,
    "image-size": 40,
    "image-extra-size": 1,
    "image-cache": "~/.cache/dib",
    "max-online-resize": 1000,
    "min-tmpfs": 7,
    "mkfs-journal-size": 1,
    "mkfs-options": "-D",
    "no-tmpfs": True,
    "offline": True,
    "qemu-img-options": {"size": "10", "compat": "1.1"},
    "root-label": "root",
    "ramdisk-element": "dracut-ramdisk",
    "install-type": "package",
    "docker-target": "everything:latest",
    "packages": ["wget", "tmux"],
    "skip-base": True,
    "elements": ["debian", "vm"],
}
LISTS: dict[str, list[list[dict[str, Any]]]] = {
    "everything": [[EVERYTHING]],
    "nothing is set": [
        [{"imagename": "a", "elements": ["debian"], "uncompressed": False, "debug-trace": 0, "packages": []}]
    ],
    "ramdisk": [[{"imagename": "a", "ramdisk": True, "elements": ["debian", "ironic-python-agent-ramdisk"]}]],
    "without a name": [[{"elements": ["debian"]}, {"elements": ["vm"], "logfile": "x.log"}]],
    "merged": [
        [
            {"imagename": "a", "elements": ["debian", "vm"], "environment": {"X": "1", "Y": "1"}},
            {"elements": ["devuser"], "image-size": 3},
            {"imagename": "b", "elements": ["ubuntu"]},
            {"imagename": "a", "environment": {"X": "2", "Z": "3"}, "image-size": 4},
        ]
    ],
    "several files": [
        [{"imagename": "a", "elements": ["debian"], "types": ["raw"]}],
        [
            {"imagename": "b", "elements": ["debian"]},
            {"imagename": "a", "types": ["qcow2"], "elements": ["vm"]},
        ],
    ],
}


@needs_wheel
@pytest.mark.parametrize("name", LISTS)
def test_commands_are_those_of_the_program(tmp_path: Path, name: str) -> None:
    dib.import_from()
    program = importlib.import_module("diskimage_builder.diskimage_builder")
    paths = [
        write(tmp_path, yaml.safe_dump(images, sort_keys=False), f"{number}.yaml")
        for number, images in enumerate(LISTS[name])
    ]
    entries = [entry for path in paths for entry in yaml.safe_load(path.read_text())]
    expected = [
        ([Path(command.command()[1]).name, *command.args], command.environ)
        for command in program.build_commands(entries)
    ]
    commands = load_dib_lists(paths, directory=tmp_path, environment={}).commands
    assert [([command.program, *command.arguments], command.environment) for command in commands] == expected


def test_a_command_as_text(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "[{imagename: web, elements: [debian, vm], environment: {A: b c, D: $e}, qemu-img-options: {size: '1'}}]",
        "images.yaml",
    )
    (command,) = load_dib_lists([path], directory=tmp_path, environment={}).commands
    assert str(command) == "A='b c' D='$e' disk-image-create -o web --qemu-img-options size=1 debian vm"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a: b}", "expected a list of images, got a mapping"),
        ("[{debug-trace: 3}]", "expected a number from 0 to 2, got 3"),
        ("[{uncompressed: 7}]", "expected true or false"),
        ("[{logfile: [a]}]", "expected text, got a list"),
        ("[{image: a}]", "unknown key; did you mean 'image"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        load_dib_lists([write(tmp_path, text, "images.yaml")], directory=tmp_path, environment={})
    assert message in caught.value.message


def test_images_are_those_of_a_project_file(tmp_path: Path) -> None:
    text = "[{imagename: web, elements: [debian, vm], checksum: true}, {imagename: db, elements: [ubuntu]}]"
    lists = load_dib_lists([write(tmp_path, text, "images.yaml")], directory=tmp_path / "out", environment={})
    images = lists.images()
    assert [(image.name, image.base, image.flavours) for image in images] == [
        ("web", "debian", ("vm",)),
        ("db", "ubuntu", ("base",)),
    ]
    assert images[0].destination.directory == tmp_path / "out"
    refused = load_dib_lists(
        [write(tmp_path, "[{elements: [debian], install-type: source}]", "b.yaml")],
        directory=tmp_path,
        environment={},
    )
    assert refused.commands[0].arguments == ("--install-type", "source", "debian")
    with pytest.raises(ProjectError, match="no counterpart of install-type"):
        refused.images()


@pytest.mark.parametrize("place", ["environment", "file"])
def test_with_a_path_of_elements_names_stay(tmp_path: Path, place: str) -> None:
    variables = "DIB_RELEASE: trixie" + (", ELEMENTS_PATH: /x" if place == "file" else "")
    text = (
        "- {imagename: web, elements: [base, debian-minimal, vm, block-device-efi, web], skip-base: true,"
        f" packages: [vim, git], install-type: package, environment: {{{variables}}}}}\n"
    )
    path = write(tmp_path, text, "images.yaml")
    environment = {"ELEMENTS_PATH": "/x"} if place == "environment" else {}
    lists = load_dib_lists([path], directory=tmp_path, environment=environment)
    (image,), (command,) = lists.images(), lists.commands
    assert image.flavours == ("debian-minimal", "vm", "block-device-efi", "web")
    assert (image.base, image.release, image.with_base) == (None, None, False)
    assert dict(image.variables)["DIB_RELEASE"] == "trixie"
    assert dict(image.variables)["DIB_DEFAULT_INSTALLTYPE"] == "package"
    assert image.packages == ("vim", "git") and "vim,git" in command.arguments
    with pytest.raises(ProjectError, match="no counterpart"):
        load_dib_lists(
            [write(tmp_path, text.replace(", ELEMENTS_PATH: /x", ""), "b.yaml")],
            directory=tmp_path,
            environment={},
        ).images()
