"""Which names of a request are elements, and which flavours; what an operating system among them decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from dibo.build import stacks
from dibo.build.engine import Engine
from dibo.disk.layout_choice import chosen_for
from dibo.elements.stack import MixedStack
from dibo.errors import EngineError, UnknownFlavour, UsageError
from dibo.flavours.loader import Catalogue
from dibo.flavours.stack import Stack
from dibo.settings.settings import Settings
from dibo.system import resources
from tests.support.flavours import write_flavour
from tests.unit.elements.test_loader import write
from tests.unit.settings.test_settings import settings


@pytest.fixture
def flavours(tmp_path: Path) -> Path:
    write_flavour(tmp_path / "flavours", "web", ["install.d/50-web"])
    write_flavour(tmp_path / "flavours", "sysprep", ["install.d/50-flavour"])
    return tmp_path / "flavours"


@pytest.fixture
def elements(tmp_path: Path) -> Path:
    directory = tmp_path / "elements"
    for name in ("dpkg", "modprobe", "pkg-map", "sysprep", "package-installs", "ubuntu-common"):
        write(directory, name, install_d_50=f"#!/bin/sh {name}")
        (directory / name / "install.d/50").rename(directory / name / f"install.d/50-{name}")
    write(directory, "debian-minimal", element_provides="operating-system", root_d_50_theirs="#!/bin/sh")
    return directory


def wanted(*names: str, **environment: str) -> Settings:
    return replace(settings(environment), flavours=names)


def stack_of(wish: Settings, flavours: Path) -> Stack:
    return stacks.make_any_stack(wish, Catalogue([flavours, resources.shared("flavours")]))


def test_without_elements_a_stack_is_one_of_flavours(flavours: Path) -> None:
    stack = stack_of(wanted("web"), flavours)
    assert not isinstance(stack, MixedStack)
    with pytest.raises(UnknownFlavour):
        stack_of(wanted("debian-minimal"), flavours)


def test_elements_come_before_flavours_and_those_of_dibo_before_others(
    flavours: Path, elements: Path
) -> None:
    wish = wanted("debian-minimal", "sysprep", "web", ELEMENTS_PATH=str(elements))
    stack = stack_of(wish, flavours)
    assert isinstance(stack, MixedStack)
    assert stack.names == ("web",)
    names = [element.name for element in stack.elements]
    assert names == ["dpkg", "modprobe", "pkg-map", "sysprep", "debootstrap", "debian-minimal"]
    assert "root.d" not in {step.phase for step in stack.element_steps}


def test_the_operating_system_decides_the_base(flavours: Path, elements: Path) -> None:
    for name, base, release in (
        ("debian-minimal", "debian", "trixie"),
        ("ubuntu-minimal", "ubuntu", "resolute"),
    ):
        wish = wanted(name, ELEMENTS_PATH=str(elements))
        stack = stack_of(wish, flavours)
        decided = stacks.settings_of(wish, stack)
        assert (decided.base, decided.release) == (base, release)
    wish = wanted("debian-minimal", ELEMENTS_PATH=str(elements), DIB_RELEASE="bookworm")
    assert stacks.settings_of(wish, stack_of(wish, flavours)).release == "bookworm"
    wish = wanted("debian-minimal", ELEMENTS_PATH=str(elements), DIBO_BASE="docker://debian:12")
    assert stacks.settings_of(wish, stack_of(wish, flavours)).base == "docker://debian:12"


def test_vm_is_a_matter_of_dibo(flavours: Path, elements: Path) -> None:
    stack = stack_of(wanted("debian-minimal", "vm", ELEMENTS_PATH=str(elements)), flavours)
    assert isinstance(stack, MixedStack)
    assert {"vm", "bootloader", "block-device-mbr"} <= {element.name for element in stack.elements}
    assert stack.names == ("base", "boot-files", "vm")
    assert stack.disk is not None


LAYOUT = """\
- local_loop: {name: image0}
- partitioning:
    base: image0
    label: gpt
    partitions:
      - {name: ESP, type: EF00, size: 64MiB, mkfs: {type: vfat, mount: {mount_point: /boot/efi}}}
      - {name: root, size: 100%, mkfs: {type: ext4, label: mine, mount: {mount_point: /}}}
"""


def test_an_element_describes_the_disk(flavours: Path, elements: Path) -> None:
    write(
        elements, "my-disk", element_provides="block-device\n", finalise_d_50_x="#!/bin/bash\n$DIB_ROOT_LABEL"
    )
    (elements / "my-disk/block-device-default.yaml").write_text(LAYOUT)
    stack = stack_of(wanted("debian-minimal", "my-disk", ELEMENTS_PATH=str(elements)), flavours)
    assert isinstance(stack, MixedStack)
    assert stack.layout is not None
    assert [partition.label for partition in stack.layout.partitions][1:] == ["mine"]
    finalise = next(step for step in stack.element_steps if step.phase == "finalise.d")
    assert dict(finalise.variables)["DIB_ROOT_LABEL"] == "mine"
    wish = wanted("debian-minimal", ELEMENTS_PATH=str(elements), DIB_BLOCK_DEVICE_CONFIG=LAYOUT)
    assert chosen_for(stack_of(wish, flavours), None) == stack.layout
    given = resources.shared("flavours") / "vm" / "layout.yaml"
    assert chosen_for(stack_of(wish, flavours), given) != chosen_for(stack_of(wish, flavours), None)


def test_a_system_of_others_needs_a_base(flavours: Path, elements: Path) -> None:
    write(elements, "gentoo", element_provides="operating-system", root_d_50_x="#!/bin/bash")
    with pytest.raises(UsageError, match="'gentoo' makes a root by itself"):
        stack_of(wanted("gentoo", ELEMENTS_PATH=str(elements)), flavours)
    stack = stack_of(wanted("gentoo", ELEMENTS_PATH=str(elements), DIBO_BASE="/stage3.tar"), flavours)
    assert stack.all_names == ("gentoo",)


def test_an_element_in_a_directory_of_flavours_is_found_without_a_path(
    flavours: Path, elements: Path
) -> None:
    write(flavours, "os", element_provides="operating-system", finalise_d_50_x="#!/bin/sh")
    wish = replace(wanted("os", "web", DIBO_BASE="debian"), flavours_path=(flavours,))
    stack = stack_of(wish, flavours)
    assert stack.all_names == ("os", "web")


def test_packages_of_the_command_line_need_elements(flavours: Path) -> None:
    with pytest.raises(UsageError, match="-p vim is for stacks with elements"):
        stack_of(replace(wanted("web"), packages=("vim",)), flavours)


def test_an_engine_without_access_to_trees_is_refused() -> None:
    stacks.require_outside(cast("Engine", SimpleNamespace(name="buildah", runs_outside=True)))
    with pytest.raises(EngineError, match="the engine docker does not run scripts of elements outside"):
        stacks.require_outside(cast("Engine", SimpleNamespace(name="docker", runs_outside=False)))
