"""Which boot loader a root gets, and the files of the EFI system partition for it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from dibo.boot.boot_files import BootFiles
from dibo.boot.find import find_boot_parts
from dibo.boot.options import BootLoader
from dibo.boot.prepare_root import BootWish, prepare
from dibo.boot.prepared import PreparedRoot
from dibo.disk.boot_preparation import boot_templates
from dibo.disk.esp_files import on_esp
from dibo.errors import RootNotBootable
from dibo.formats.pe import MACHINES, sections
from dibo.layout.merge import parse_layout
from dibo.layout.placement import Placement, place
from dibo.units import GIB
from tests.support.requirements import unmet
from tests.unit.boot.test_initramfs import BUSYBOX, MODULES, VERSION, root_with
from tests.unit.tree.test_query import Files, tree

DEBIAN: Files = {
    "/boot/vmlinuz-6.1.0-9-amd64": b"kernel",
    "/boot/initrd.img-6.1.0-9-amd64": b"initramfs",
    "/etc/os-release": b'ID=debian\nPRETTY_NAME="Debian"\n',
}
FEDORA: Files = {
    "/usr/lib/modules/6.9-fc40/vmlinuz": b"kernel",
    "/usr/lib/modules/6.9-fc40/initramfs.img": b"initramfs",
    "/etc/os-release": b"ID=fedora\n",
}
LOADER: Files = {"/usr/lib/systemd/boot/efi/systemd-bootx64.efi": b"MZ systemd-boot"}
GRUB_EFI: Files = {"/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi": b"MZ grub"}
UNIFIED: Files = {"/boot/efi/EFI/Linux/a-6.1.efi": b"MZ unified"}


def prepared(
    files: Files, loader: BootLoader = BootLoader.AUTO, *, architecture: str = "amd64"
) -> PreparedRoot:
    root = tree(dict(files))
    parts = find_boot_parts(root, architecture=architecture)
    return prepare(root, parts, boot_templates(), BootWish(architecture=architecture, loader=loader))


def placement() -> Placement:
    partitions = [
        {"name": "esp", "type": "esp", "size": "64MiB", "filesystem": "vfat", "content": "esp"},
        {"name": "root", "type": "linux-root", "size": "rest", "filesystem": "ext4", "mount": "/"},
    ]
    layout = parse_layout({"table": "gpt", "partitions": partitions}, origin="test")
    return place(layout, size=GIB, identity="test", architecture="amd64")


def stub() -> dict[str, bytes | str | None]:
    path = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
    if not path.is_file():
        unmet(f"no {path}: install systemd-boot-efi")
    return {str(path): path.read_bytes()}


def test_systemd_boot_gets_an_entry_for_each_kernel() -> None:
    made = prepared({**DEBIAN, **LOADER})
    esp = made.boot.esp
    assert esp["EFI/BOOT/BOOTX64.EFI"] == esp["EFI/systemd/systemd-bootx64.efi"] == b"MZ systemd-boot"
    assert esp["debian/6.1.0-9-amd64/linux"] == b"kernel"
    assert esp["debian/6.1.0-9-amd64/initrd"] == b"initramfs"
    entry = esp["loader/entries/debian-6.1.0-9-amd64.conf"].decode()
    assert "\nlinux /debian/6.1.0-9-amd64/linux\n" in entry
    assert "\ninitrd /debian/6.1.0-9-amd64/initrd\n" in entry
    assert "\narchitecture x64\n" in entry
    assert made.summary == "Linux 6.1.0-9-amd64, initramfs found, systemd-boot for UEFI"
    assert made.files[PurePosixPath("/etc/kernel/entry-token")] == b"debian\n"
    assert PurePosixPath("/boot/grub/grub.cfg") not in made.files


def test_entries_name_the_root_of_the_disk() -> None:
    disk = placement()
    made = prepared({**DEBIAN, **LOADER})
    entry = on_esp(made.boot, disk)["loader/entries/debian-6.1.0-9-amd64.conf"].decode()
    uuid = disk.root.ids.filesystem_uuid
    assert f"\noptions root=UUID={uuid} ro console=tty0 console=ttyS0,115200\n" in entry


def test_an_entry_that_is_not_dibos_stays_as_it_is() -> None:
    files = {"loader/entries/a.conf": b"options root=LABEL=cloudimg-rootfs ro\n"}
    assert on_esp(BootFiles(esp=files), placement()) == files


def test_grub_comes_before_systemd_boot_unless_it_is_asked_for() -> None:
    files: Files = {**DEBIAN, **GRUB_EFI, **LOADER}
    assert prepared(files).boot.esp["EFI/BOOT/BOOTX64.EFI"] == b"MZ grub"
    asked = prepared(files, BootLoader.SYSTEMD_BOOT)
    assert asked.boot.esp["EFI/BOOT/BOOTX64.EFI"] == b"MZ systemd-boot"


def test_a_unified_image_alone_is_started_by_the_firmware_as_it_is() -> None:
    made = prepared({**UNIFIED, "/etc/os-release": b"ID=x\n"})
    assert made.boot.esp == {"EFI/BOOT/BOOTX64.EFI": b"MZ unified"}
    assert "a-6.1.efi as it is" in made.summary


def test_a_unified_image_is_offered_by_systemd_boot() -> None:
    made = prepared({**UNIFIED, **LOADER})
    assert made.boot.esp["EFI/Linux/a-6.1.efi"] == b"MZ unified"
    assert made.boot.esp["EFI/BOOT/BOOTX64.EFI"] == b"MZ systemd-boot"


def test_a_unified_image_is_made_of_the_stub() -> None:
    made = prepared({**DEBIAN, **stub()})
    assert not made.boot.esp
    disk = placement()
    image = on_esp(made.boot, disk)["EFI/BOOT/BOOTX64.EFI"]
    parts = sections(image)
    assert parts[".linux"].rstrip(b"\0") == b"kernel"
    assert parts[".initrd"].rstrip(b"\0") == b"initramfs"
    assert parts[".osrel"] == DEBIAN["/etc/os-release"]
    assert parts[".uname"] == b"6.1.0-9-amd64"
    assert parts[".cmdline"].decode().startswith(f"root=UUID={disk.root.ids.filesystem_uuid} ro ")
    assert "unified kernel image made, started by the firmware" in made.summary


def test_a_unified_image_that_is_asked_for_is_made_beside_systemd_boot() -> None:
    made = prepared({**DEBIAN, **LOADER, **stub()}, BootLoader.UKI)
    assert list(made.boot.unified) == ["EFI/Linux/debian-6.1.0-9-amd64.efi"]
    assert "EFI/BOOT/BOOTX64.EFI" in made.boot.esp


def test_nothing_is_made_where_nothing_is_asked_for() -> None:
    made = prepared({"/bin/sh": b""}, BootLoader.NONE)
    assert (made.boot, dict(made.files)) == (BootFiles(is_wanted=False), {})


@pytest.mark.parametrize(
    ("files", "loader", "message"),
    [
        ({**DEBIAN, **LOADER}, BootLoader.GRUB, "no GRUB for amd64 that can be used"),
        ({**DEBIAN, **GRUB_EFI}, BootLoader.SYSTEMD_BOOT, "no systemd-boot for amd64"),
        ({**DEBIAN, **GRUB_EFI}, BootLoader.UKI, "neither a unified kernel image nor systemd-stub"),
        (DEBIAN, BootLoader.AUTO, "a kernel, but no boot loader for amd64"),
        ({**LOADER, "/usr/bin/apt-get": b""}, BootLoader.AUTO, "the root has no kernel"),
    ],
)
def test_what_is_missing_is_named(files: Files, loader: BootLoader, message: str) -> None:
    with pytest.raises(RootNotBootable, match=message) as error:
        prepared(files, loader)
    assert "install" in error.value.hint


def test_fedora_gets_its_kernel_in_boot_where_grub_reads_it() -> None:
    vendor: Files = {
        f"/boot/efi/EFI/fedora/{name}x64.efi": f"MZ {name}".encode() for name in ("shim", "grub", "mm")
    }
    stale: Files = {"/boot/grub2/grub.cfg": b"of another machine"}
    made = prepared({**FEDORA, **vendor, **stale})
    assert made.files[PurePosixPath("/boot/vmlinuz-6.9-fc40")] == b"kernel"
    assert made.files[PurePosixPath("/boot/initramfs-6.9-fc40.img")] == b"initramfs"
    menu = made.files[PurePosixPath("/boot/grub/grub.cfg")].decode()
    assert "\tlinux /boot/vmlinuz-6.9-fc40 root=LABEL=cloudimg-rootfs ro " in menu
    assert "configfile $prefix/../grub2/grub.cfg" in menu
    assert PurePosixPath("/boot/grub2/grub.cfg") in made.removed
    esp = made.boot.esp
    assert esp["EFI/BOOT/BOOTX64.EFI"] == esp["EFI/fedora/shimx64.efi"] == b"MZ shim"
    assert esp["EFI/BOOT/grubx64.efi"] == b"MZ grub"
    assert esp["EFI/fedora/grub.cfg"] == boot_templates().files["esp.cfg"]
    assert PurePosixPath("/usr/lib/dibo/grub-probe") not in made.programs


def test_a_link_in_boot_is_replaced_by_the_kernel() -> None:
    """/boot may be a file system of its own, on which the link leads nowhere."""
    linked: Files = {"/boot/vmlinuz-6.9-fc40": "../usr/lib/modules/6.9-fc40/vmlinuz"}
    made = prepared({**FEDORA, **linked, **GRUB_EFI})
    assert made.files[PurePosixPath("/boot/vmlinuz-6.9-fc40")] == b"kernel"


def test_an_initramfs_is_made_where_there_is_none() -> None:
    root = root_with(BUSYBOX)
    assert root.children is not None
    extra = tree({**GRUB_EFI, "/etc/os-release": b"ID=debian\n"})
    assert extra.children is not None
    assert extra.children[b"usr"].children is not None
    usr = root.children[b"usr"]
    assert usr.children is not None
    usr.children[b"lib"].children[b"grub"] = extra.children[b"usr"].children[b"lib"].children[b"grub"]  # type: ignore[index]
    root.children[b"etc"] = extra.children[b"etc"]
    parts = find_boot_parts(root, architecture="amd64")
    made = prepare(root, parts, boot_templates(), BootWish(architecture="amd64"))
    assert PurePosixPath(f"/boot/initrd.img-{VERSION}") in made.files
    menu = made.files[PurePosixPath("/boot/grub/grub.cfg")].decode()
    assert f"\tinitrd /boot/initrd.img-{VERSION}\n" in menu
    assert "initramfs made" in made.summary
    assert parts.kernels[0].modules == MODULES


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/etc/kernel/cmdline": b"root=UUID=1 quiet console=ttyS1\n"}, "ro quiet console=ttyS1"),
        (
            {
                "/usr/lib/bootc/kargs.d/10.toml": b'kargs = ["nosmt", "root=x"]\n',
                "/usr/lib/bootc/kargs.d/x": b"?",
            },
            "ro nosmt",
        ),
        (
            {"/usr/lib/bootc/kargs.d/10.toml": b"kargs = " + b"[" * 100_000},
            "ro console=tty0 console=ttyS0,115200",
        ),
        ({"/usr/lib/bootc/kargs.d/10.toml": b"not toml ["}, "ro console=tty0 console=ttyS0,115200"),
    ],
)
def test_arguments_are_those_of_the_root(files: Files, expected: str) -> None:
    menu = prepared({**DEBIAN, **GRUB_EFI, **files}).files[PurePosixPath("/boot/grub/grub.cfg")].decode()
    assert f"root=LABEL=cloudimg-rootfs {expected}\n" in menu


def test_names_for_arm64() -> None:
    files: Files = {
        **DEBIAN,
        "/usr/lib/systemd/boot/efi/systemd-bootaa64.efi": b"MZ",
    }
    made = prepared(files, architecture="arm64")
    assert "EFI/BOOT/BOOTAA64.EFI" in made.boot.esp
    entry = made.boot.esp["loader/entries/debian-6.1.0-9-amd64.conf"]
    assert b"architecture aa64" in entry
    assert b"console=ttyAMA0" in entry
    assert MACHINES["arm64"] == 0xAA64


SYSTEMD: Files = {
    "/etc/systemd/system": None,
    "/usr/lib/systemd/systemd-growfs": b"",
    "/usr/lib/systemd/system": None,
}


def test_a_root_with_growpart_grows_by_a_unit() -> None:
    programs: Files = {f"/usr/bin/{name}": b"" for name in ("growpart", "resize2fs")}
    made = prepared({**DEBIAN, **GRUB_EFI, **SYSTEMD, **programs})
    assert PurePosixPath("/usr/lib/dibo/grow-root") in made.programs
    assert PurePosixPath("/etc/systemd/system/dibo-grow-root.service") in made.files
    assert not made.notes


def test_a_root_with_systemd_repart_grows_by_it() -> None:
    made = prepared({**DEBIAN, **GRUB_EFI, **SYSTEMD, "/usr/bin/systemd-repart": b""})
    assert made.files[PurePosixPath("/etc/repart.d/50-dibo-root.conf")] == b"[Partition]\nType=root\n"
    unit = made.files[PurePosixPath("/etc/systemd/system/dibo-grow-root.service")]
    assert b"ExecStart=/usr/lib/systemd/systemd-growfs /" in unit
    link = PurePosixPath("/etc/systemd/system/local-fs.target.wants/dibo-grow-root.service")
    assert made.links[link] == b"../dibo-grow-root.service"
    assert not made.notes


def test_an_inittab_of_former_times_is_left_alone() -> None:
    init: Files = {"/sbin/init": "/usr/lib/systemd/systemd", "/usr/lib/systemd/systemd": b""}
    made = prepared({**DEBIAN, **GRUB_EFI, **SYSTEMD, **GROWS, **init, "/etc/inittab": OF_SYSVINIT})
    assert PurePosixPath("/etc/inittab") not in made.files
    assert PurePosixPath("/etc/systemd/system/dibo-grow-root.service") in made.files


GROWS: Files = {f"/usr/bin/{name}": b"" for name in ("growpart", "resize2fs", "sfdisk", "flock")}
OF_SYSVINIT = b"id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS"


@pytest.mark.parametrize(
    ("init", "inittab", "expected"),
    [
        (
            "../bin/busybox",
            b"::sysinit:/etc/rcS\n",
            b"::sysinit:/etc/rcS\n::sysinit:/usr/lib/dibo/grow-root\n",
        ),
        ("/bin/busybox.static", b"", b"::sysinit:/usr/lib/dibo/grow-root\n"),
        (b"sysvinit", OF_SYSVINIT, OF_SYSVINIT + b"\ndibo::bootwait:/usr/lib/dibo/grow-root\n"),
    ],
    ids=["busybox", "busybox.static", "sysvinit"],
)
def test_a_root_with_an_inittab_grows_by_a_line_in_it(
    init: str | bytes, inittab: bytes, expected: bytes
) -> None:
    busybox: Files = {"/bin/busybox": b"", "/bin/busybox.static": b""}
    files: Files = {**DEBIAN, **GRUB_EFI, **GROWS, **busybox, "/sbin/init": init}
    made = prepared({**files, **SYSTEMD, "/etc/inittab": inittab})
    assert made.files[PurePosixPath("/etc/inittab")] == expected
    assert PurePosixPath("/etc/systemd/system/dibo-grow-root.service") not in made.files
    assert PurePosixPath("/usr/lib/dibo/grow-root") in made.programs
    assert not made.notes
    again = prepared({**files, "/etc/inittab": expected})
    assert again.files[PurePosixPath("/etc/inittab")] == expected


@pytest.mark.parametrize(
    "files",
    [
        {},
        {**GROWS, "/sbin/init": b"runit"},
        {**GROWS, "/sbin/init": b"runit", "/etc/inittab": b"::sysinit:/etc/rcS\n"},
        {"/usr/bin/growpart": b"", "/sbin/init": b"sysvinit", "/etc/inittab": OF_SYSVINIT},
    ],
    ids=["nothing", "no inittab", "another init", "no resize2fs"],
)
def test_a_root_that_cannot_grow_is_said_to_be_so(files: Files) -> None:
    (note,) = prepared({**DEBIAN, **GRUB_EFI, **files}).notes
    assert "does not grow" in note
    assert "and resize2fs with systemd" in note


def test_links_to_partitions_are_made_where_there_is_udev() -> None:
    rules = PurePosixPath("/usr/lib/udev/rules.d/61-dibo-root-disk.rules")
    assert rules not in prepared({**DEBIAN, **GRUB_EFI}).files
    assert rules in prepared({**DEBIAN, **GRUB_EFI, "/usr/lib/udev/rules.d": None}).files
