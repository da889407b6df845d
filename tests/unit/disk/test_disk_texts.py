"""fstab and what GRUB reads, for one layout and another; the header of swap. What tools make of them is tested where
whole disks are (tests/unit/disk/test_make.py, tests/boot)."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
import yaml

from dibo.boot.boot_files import BootFiles
from dibo.disk import fstab, grub_cfg
from dibo.disk.esp_files import on_esp
from dibo.errors import LayoutError
from dibo.formats.swap import swap_header
from dibo.layout.merge import parse_layout
from dibo.layout.placement import Placement, place
from dibo.units import GIB, MIB
from tests.unit.disk.sample_requests import EXAMPLE, placed

FLAVOUR = Path(__file__).parents[3] / "flavours" / "boot-files" / "files"
BOOT_APART = """
table: mbr
partitions:
  - {name: boot, type: linux, size: 64MiB, filesystem: ext4, mount: /boot, flags: [bootable]}
  - {name: swap, type: swap, size: 64MiB, filesystem: swap, options: [pri=5]}
  - {name: data, type: linux, size: 64MiB, filesystem: xfs, label: a b, mount: "/srv/a", options: [ro]}
  - {name: root, type: linux, size: rest, filesystem: ext4, label: my root, mount: /}
"""


def apart() -> Placement:
    layout = parse_layout(yaml.safe_load(BOOT_APART), origin="test")
    return place(layout, size=GIB, identity="x", architecture="amd64")


def uuid(name: str) -> str:
    return str(apart().named(name).ids.filesystem_uuid)


def test_fstab_by_label_and_by_uuid_in_the_order_of_mounting() -> None:
    assert fstab.rewritten(b"", apart(), root_type="ext3").decode().splitlines() == [
        "LABEL=my\\040root / ext3 defaults 0 1",
        f"UUID={uuid('boot')} /boot ext4 defaults 0 2",
        "LABEL=a\\040b /srv/a xfs ro 0 0",
        f"UUID={uuid('swap')} none swap pri=5 0 0",
    ]


def test_fstab_by_the_disk_of_the_root() -> None:
    """Names, and not labels, which a second disk of the same image has, too. An MBR has no names; /usr is mounted by
    the initramfs, where there is no root yet."""
    lines = fstab.rewritten(b"", apart(), root_type="ext3", by_root_disk=True).decode().splitlines()
    links = "/dev/disk/by-root-disk"
    assert [line.split()[0] for line in lines] == [f"{links}/part{number}" for number in (4, 1, 3, 2)]
    usr = "  - {name: usr, type: linux-usr, size: 64MiB, filesystem: ext4, label: usr, mount: /usr}\n"
    odd = "  - {name: data, type: linux, size: 64MiB, filesystem: ext4, mount: /srv}\n"
    placement = placed(size=GIB, text=EXAMPLE + usr + odd)
    lines = fstab.rewritten(b"", placement, root_type="ext4", by_root_disk=True).decode().splitlines()
    assert {line.split()[1]: line.split()[0] for line in lines} == {
        "/": f"{links}/root",
        "/boot/efi": f"{links}/esp",
        "/usr": "LABEL=usr",
        "/srv": f"{links}/data",
    }


def test_fstab_written_twice_is_the_same() -> None:
    once = fstab.rewritten(b"# x\n\n/dev/sr0 /cd iso9660 ro 0 0\n", apart(), root_type="ext4")
    assert fstab.rewritten(once, apart(), root_type="ext4") == once
    assert b"# x\n\n/dev/sr0 /cd iso9660 ro 0 0\n" in once


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ("LABEL=cloudimg-rootfs\t/\text4\tdiscard 0 1", False),
        ("LABEL=UEFI /boot/efi vfat umask=0077 0 1", False),
        ("/dev/sdb1 /boot2 ext4 x 0 0", True),
        ("server:/a /srv/b nfs defaults 0 0", True),
        ("/dev/sdb1 /srv/a ext4 x 0 0", False),
        ("/swapfile none swap sw 0 0", True),
        ("# UNCONFIGURED FSTAB FOR BASE SYSTEM", False),
        ("# /dev/sda1 / ext4", True),
        ("proc /proc proc", True),
        ("odd", True),
    ],
)
def test_which_lines_make_way(line: str, stays: bool) -> None:
    assert (line in fstab.rewritten(line.encode(), apart(), root_type="ext4").decode()) == stays


MENU = b"""# Made with the image. update-grub replaces it.
menuentry 'x' {
\tsearch --no-floppy --label cloudimg-rootfs --set=root --hint="$root"
\tlinux /boot/vmlinuz-6.1 root=LABEL=cloudimg-rootfs ro console=/boot/tty
\tinitrd /boot/initrd.img-6.1
}
"""


def test_the_menu_where_boot_is_apart() -> None:
    text = (grub_cfg.menu(MENU, apart()) or b"").decode()
    assert f'search --no-floppy --fs-uuid {uuid("boot")} --set=root --hint="$root"' in text
    assert "linux /vmlinuz-6.1 root=$dibo_root ro console=/boot/tty" in text
    assert "initrd /initrd.img-6.1" in text


def test_the_menu_asks_its_own_disk_for_the_partuuid_of_the_root() -> None:
    """A PARTUUID in the file would be wrong on each disk that a deployment has given identifiers of its own."""
    text = (grub_cfg.menu(MENU, placed(text=EXAMPLE)) or b"").decode()
    assert "linux /boot/vmlinuz-6.1 root=$dibo_root ro" in text
    assert 'if probe --set=dibo_root --part-uuid "($dibo_disk,gpt3)"; then' in text
    assert text.index("regexp --set=1:dibo_disk") < text.index("probe --set") < text.index("menuentry")
    assert text.startswith("# Made with the image.")
    assert 'set dibo_root="LABEL=cloudimg-rootfs"' in text  # a GRUB without probe
    assert str(placed(text=EXAMPLE).root.ids.guid) not in text


def test_on_an_mbr_grub_names_the_partition_so_and_a_label_with_blanks_is_no_name() -> None:
    text = (grub_cfg.menu(MENU, apart()) or b"").decode()
    assert '--part-uuid "($dibo_disk,msdos4)"' in text
    assert f'set dibo_root="UUID={uuid("root")}"' in text


def test_a_menu_of_somebody_else_is_left_alone() -> None:
    assert grub_cfg.menu(b"# It is automatically generated by grub-mkconfig\n" + MENU, apart()) is None


def test_the_script_of_the_flavour_writes_what_is_looked_for() -> None:
    script = (FLAVOUR / "grub-cfg").read_text()
    for words in ("# Made with the image.", "search --no-floppy --label cloudimg-rootfs --set=root"):
        assert words in script
    assert "root=LABEL=cloudimg-rootfs " in script


def test_the_text_before_the_first_mib() -> None:
    text = grub_cfg.early(apart())
    assert len(text) == grub_cfg.EARLY_SIZE
    assert grub_cfg.EARLY_LBA * 512 + len(text) == MIB
    assert uuid("boot").encode() in text
    assert b"prefix=($root)/grub\n" in text
    assert b"prefix=($root)/boot/grub\n" in grub_cfg.early(placed(text=EXAMPLE))
    assert f"($disk){grub_cfg.EARLY_LBA}+{grub_cfg.EARLY_SIZE // 512}" in (FLAVOUR / "early.cfg").read_text()


def test_on_the_esp_only_what_dibo_wrote_is_written_anew() -> None:
    files = {
        "EFI/BOOT/grub.cfg": (FLAVOUR / "esp.cfg").read_bytes(),
        "EFI/debian/grub.cfg": b"configfile /my.cfg\n",
        "EFI/BOOT/BOOTX64.EFI": b"# Finds ",
    }
    found = on_esp(BootFiles(esp=files), apart())
    assert uuid("boot").encode() in found.pop("EFI/BOOT/grub.cfg")
    assert found == {path: data for path, data in files.items() if path in found}


def test_where_boot_is_on_vfat_the_uuid_is_the_serial() -> None:
    text = EXAMPLE + "  - {name: boot, type: xbootldr, size: 64MiB, filesystem: vfat, mount: /boot}\n"
    placement = placed(size=GIB, text=text)
    serial = f"{placement.named('boot').ids.fat_serial:08X}"
    assert f" {serial[:4]}-{serial[4:]}\n".encode() in grub_cfg.early(placement)


@pytest.mark.parametrize(("size", "label"), [(9 * 4096, "x"), (MIB, "s" * 16)])
def test_swap_that_cannot_be(size: int, label: str) -> None:
    with pytest.raises(LayoutError):
        swap_header(size, label=label, uuid=UUID(int=1))
