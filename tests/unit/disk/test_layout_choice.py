"""What `dibo plan --layout` draws."""

from __future__ import annotations

import pytest
import yaml

from dibo.disk import layout_choice
from dibo.layout.merge import parse_layout
from dibo.layout.model import Layout
from dibo.layout.parse import parse_statement
from dibo.units import GIB
from tests.unit.disk.sample_requests import EXAMPLE

MORE = """
table: mbr
size: fit
partitions:
  - {name: boot, type: linux, size: 64MiB, filesystem: ext4, mount: /boot, flags: [bootable]}
  - {name: srv, type: "0x27", size: fit, headroom: 1GiB, filesystem: xfs, label: srv, mount: /srv, options: [ro]}
  - {name: root, type: linux, size: rest, filesystem: xfs, mount: /}
"""


def layout(text: str) -> Layout:
    return parse_layout(yaml.safe_load(text), origin="test")


def draw(wish: Layout) -> list[str]:
    drawn = layout_choice.table(wish, size=GIB, set_by="IMAGE_SIZE", filesystem="ext4", architecture="amd64")
    return drawn.splitlines()


def test_places_and_sizes_where_they_are_known() -> None:
    assert draw(layout(EXAMPLE)) == [
        "gpt, 1GiB (IMAGE_SIZE), partitions at multiples of 1MiB",
        "#  name  start    size  type        file system  label            mount      made by",
        "1  bios   1MiB    1MiB  bios-boot                                            dibo",
        "2  esp    2MiB   64MiB  esp         vfat         UEFI             /boot/efi  dibo",
        "3  root  66MiB  957MiB  linux-root  ext4         cloudimg-rootfs  /          dibo",
    ]


def test_what_follows_from_what_is_stored_is_said_so_and_why_it_is_made_that_way() -> None:
    lines = draw(layout(MORE))
    assert lines[0] == "mbr, as small as fits, partitions at multiples of 1MiB"
    assert lines[2].split() == ["1", "boot", "1MiB", "64MiB", "linux", "ext4", "/boot", "bootable", "dibo"]
    assert lines[3].split() == [
        *("2", "srv", "65MiB", "fit", "+", "1GiB", "0x27", "xfs", "srv", "/srv", "ro", "mkfs.xfs"),
    ]
    assert lines[4].split() == ["3", "root", "?", "fit", "+", "10%", "linux", "xfs", "/", "loop-disk"]
    assert lines[5].startswith("srv by mkfs.xfs: ")
    assert lines[6].startswith("root by loop-disk: without root, ")


def test_no_layout() -> None:
    text = layout_choice.bare_text(size=GIB, set_by="IMAGE_SIZE", filesystem="ext4", fits=False)
    assert text.splitlines()[0] == "no partitions: a bare file system, ext4, 1GiB (IMAGE_SIZE)"
    text = layout_choice.bare_text(size=GIB, set_by="dibo's default", filesystem="ext4", fits=True)
    assert text.splitlines()[0] == "no partitions: a bare file system, ext4, as small as fits"


@pytest.mark.parametrize(
    ("partitions", "names"),
    [
        ("  - {name: root, type: linux, size: rest, filesystem: ext4, mount: /}\n", ("state",)),
        (
            "  - {name: state, type: linux, size: 2GiB, filesystem: ext4, label: state}\n"
            "  - {name: root, type: linux, size: rest, filesystem: ext4, mount: /}\n",
            (),
        ),
    ],
)
def test_partitions_for_data_that_a_given_layout_leaves_out(partitions: str, names: tuple[str, ...]) -> None:
    flavours = parse_statement(
        yaml.safe_load(
            "partitions:\n"
            "  - {name: esp, type: esp, size: 64MiB, filesystem: vfat, mount: /boot/efi, content: esp}\n"
            "  - {name: bios, type: bios-boot, size: 1MiB, content: grub-core}\n"
            "  - {name: state, type: linux, size: 1GiB, filesystem: ext4, label: state}\n"
            "  - {name: system, type: linux, size: rest, filesystem: ext4, mount: /}\n"
        ),
        origin="layout.yaml",
    )
    assert layout_choice.left_out(flavours, layout(f"table: gpt\npartitions:\n{partitions}")) == names
    assert layout_choice.left_out(None, layout(f"table: gpt\npartitions:\n{partitions}")) == ()
