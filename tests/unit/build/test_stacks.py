"""Which names of a request are elements, and which flavours; what an operating system among them decides."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from dibo.build import stacks
from dibo.build.engine import Engine
from dibo.disk.layout_of_stack import Bare, bare_for, chosen_for
from dibo.elements.stack import MixedStack
from dibo.errors import EngineError, UnknownFlavour, UsageError
from dibo.flavours.loader import Catalogue
from dibo.flavours.stack import Stack
from dibo.layout.model import Flag, Headroom, PartitionContent, Sizing, TableType
from dibo.settings.settings import DEFAULT_SIZE_SET_BY, Settings
from dibo.system import resources
from dibo.units import GIB, MIB
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
    for name in (
        "dpkg",
        "modprobe",
        "pkg-map",
        "sysprep",
        "package-installs",
        "ubuntu-common",
        "openssh-server",
    ):
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


def test_a_name_that_is_nothing_is_looked_for_among_elements_too(flavours: Path, elements: Path) -> None:
    with pytest.raises(UnknownFlavour) as raised:
        stack_of(wanted("debian-minimal", "nosuch", ELEMENTS_PATH=str(elements)), flavours)
    assert f"elements: looked in {elements}" in raised.value.hint


def test_the_operating_system_decides_the_base(flavours: Path, elements: Path) -> None:
    for name, base, release in (
        ("debian-minimal", "debian-minimal", "trixie"),
        ("debian", "debian", "trixie"),
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


@pytest.fixture
def disks(elements: Path) -> Path:
    """Elements that describe disks, as those of diskimage-builder do."""
    write(elements, "vm", element_deps="block-device\nbootloader\n")
    for name, text in (("mbr", MBR), ("gpt", GPT)):
        write(elements, f"block-device-{name}", element_provides="block-device\n")
        (elements / f"block-device-{name}/block-device-default.yaml").write_text(text)
    return elements


def mixed(wish: Settings, flavours: Path) -> MixedStack:
    stack = stack_of(wish, flavours)
    assert isinstance(stack, MixedStack)
    return stack


def test_vm_is_of_diskimage_builder_and_its_boot_loader_of_dibo(flavours: Path, disks: Path) -> None:
    stack = mixed(wanted("debian-minimal", "vm", ELEMENTS_PATH=str(disks)), flavours)
    assert {"vm", "bootloader", "block-device-mbr"} <= {element.name for element in stack.elements}
    assert stack.names == ("boot-files",)
    assert stack.layout is not None
    (root,) = stack.layout.partitions
    assert (stack.layout.table, root.flags) == (TableType.MBR, frozenset({Flag.BOOTABLE}))


def test_each_description_of_a_disk_gives_its_own_table(flavours: Path, disks: Path) -> None:
    stack = mixed(wanted("debian-minimal", "vm", "block-device-gpt", ELEMENTS_PATH=str(disks)), flavours)
    assert stack.layout is not None
    assert [(part.name, part.content) for part in stack.layout.partitions] == [
        ("bsp", PartitionContent.GRUB_CORE),
        ("root", None),
    ]


def test_a_disk_without_a_size_fits_what_is_on_it(flavours: Path, disks: Path) -> None:
    def layout(**variables: str) -> tuple[object, object]:
        stack = mixed(wanted("debian-minimal", "vm", ELEMENTS_PATH=str(disks), **variables), flavours)
        assert stack.layout is not None
        return stack.layout.size, stack.layout.root.headroom

    assert layout() == (Sizing.FIT, Headroom(percent=Decimal(67)))
    assert layout(DIB_IMAGE_EXTRA_SIZE="500") == (Sizing.FIT, Headroom(size=500 * MIB))
    assert layout(DIB_IMAGE_SIZE="3") == (3 * GIB, None)
    with pytest.raises(UsageError, match=r"--image-extra-size \(DIB_IMAGE_EXTRA_SIZE\) is '1G'"):
        layout(DIB_IMAGE_EXTRA_SIZE="1G")
    both = wanted("debian-minimal", ELEMENTS_PATH=str(disks), DIB_IMAGE_EXTRA_SIZE="1", DIB_IMAGE_SIZE="3")
    assert "has no effect: the size of the disk is set otherwise" in "".join(mixed(both, flavours).notes)


def test_a_disk_without_partitions_fits_too_and_has_the_label_that_was_asked_for(
    flavours: Path, elements: Path
) -> None:
    stack = mixed(wanted("debian-minimal", ELEMENTS_PATH=str(elements), ROOT_LABEL="mine"), flavours)
    assert stack.layout is None
    bare = bare_for(stack, set_by=DEFAULT_SIZE_SET_BY)
    assert (bare.label, bare.headroom) == ("mine", Headroom(percent=Decimal(67)))
    assert bare_for(stack, set_by="--image-size").headroom is None
    assert bare_for(stack_of(wanted("web"), flavours), set_by=DEFAULT_SIZE_SET_BY) == Bare()


@pytest.mark.parametrize(
    ("output", "types", "name"),
    [
        ("out/web.qcow2", ("qcow2",), "web"),
        ("web.raw", ("qcow2",), "web.raw"),
        ("w.tar", ("tar", "raw"), "w.tar"),
    ],
)
def test_the_name_of_the_image_has_no_ending_of_its_type(
    output: str, types: tuple[str, ...], name: str, flavours: Path, elements: Path
) -> None:
    write(elements, "last", finalise_d_50_x="#!/bin/bash\necho $IMAGE_NAME\n")
    wish = wanted("debian-minimal", "last", ELEMENTS_PATH=str(elements))
    stack = mixed(replace(wish, output=Path(output), types=types), flavours)
    assert {step.phase.value: dict(step.variables) for step in stack.element_steps}["finalise.d"] == {
        "IMAGE_NAME": name
    }


def test_a_dump_of_all_variables_is_the_same_whether_scripts_trace_or_not(
    flavours: Path, elements: Path
) -> None:
    write(elements, "last", finalise_d_50_x="#!/bin/bash\necho $DIB_ENV\n")
    wish = wanted(
        "debian-minimal", "last", ELEMENTS_PATH=str(elements), DIB_DEBUG_TRACE="1", DIB_COLOUR="red"
    )
    seen = {step.phase.value: dict(step.variables) for step in mixed(wish, flavours).element_steps}
    assert seen["finalise.d"]["DIB_ENV"] == "DIB_COLOUR=red"


def test_scripts_see_the_fstab_of_the_disk_from_pre_finalise_on(flavours: Path, elements: Path) -> None:
    stack = mixed(wanted("debian-minimal", ELEMENTS_PATH=str(elements), ROOT_LABEL="mine"), flavours)
    texts = {step.title: step.fstab for step in stack.element_steps if step.fstab}
    assert [*texts.values()] == ["LABEL=mine / ext4 defaults 0 1\n"]
    assert next(iter(texts)).startswith("elements cleanup.d:")  # of debootstrap; there is no finalise.d here
    write(elements, "last", finalise_d_50_x="#!/bin/bash\n")
    stack = mixed(wanted("debian-minimal", "last", ELEMENTS_PATH=str(elements)), flavours)
    assert [step.phase for step in stack.element_steps if step.fstab] == ["finalise.d"]


MBR = """\
- local_loop: {name: image0}
- partitioning:
    base: image0
    label: mbr
    partitions:
      - name: root
        flags: [boot, primary]
        size: 100%
        mkfs: {mount: {mount_point: /, fstab: {options: defaults, fsck-passno: 1}}}
"""
GPT = """\
- local_loop: {name: image0}
- partitioning:
    base: image0
    label: gpt
    partitions:
      - {name: BSP, type: EF02, size: 8MiB}
      - {name: root, flags: [boot], size: 100%, mkfs: {type: ext4, mount: {mount_point: /}}}
"""
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


def test_a_system_of_others_makes_its_root_or_needs_a_base(flavours: Path, elements: Path) -> None:
    write(elements, "gentoo", element_provides="operating-system", root_d_50_x="#!/bin/bash")
    wish = wanted("gentoo", ELEMENTS_PATH=str(elements))
    stack = stack_of(wish, flavours)
    assert stack.all_names == ("gentoo",)
    assert stacks.settings_of(wish, stack).base == "empty"
    named = wanted("gentoo", ELEMENTS_PATH=str(elements), DIBO_BASE="/stage3.tar")
    assert stacks.settings_of(named, stack_of(named, flavours)).base == "/stage3.tar"
    write(elements, "os", element_provides="operating-system")
    write(
        elements, "boxed", element_provides="operating-system", root_d_50_x="#!/bin/bash\ndocker export x\n"
    )
    with pytest.raises(
        UsageError, match=r"'boxed' makes a root in a way that dibo does not run: root\.d/50-x:2: "
    ) as caught:
        stack_of(wanted("boxed", ELEMENTS_PATH=str(elements)), flavours)
    assert "--base" in (caught.value.hint or "")
    with pytest.raises(
        UsageError, match=r"'os' makes no root: no element of the stack has scripts in root\.d"
    ):
        stack_of(wanted("os", ELEMENTS_PATH=str(elements)), flavours)


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
