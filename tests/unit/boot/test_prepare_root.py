"""Boot files made of what a root has, with no program of it."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from dibo.boot.boot_files import BootFiles
from dibo.boot.find import find_boot_parts
from dibo.boot.grub import in_menu
from dibo.boot.keep import GRUB_FILES
from dibo.boot.prepare_root import BootWish, prepare
from dibo.boot.prepared import PreparedRoot
from dibo.disk.adapt import install
from dibo.disk.boot_preparation import boot_templates
from dibo.errors import LayoutError, RootNotBootable
from dibo.tree.mounts import Mounted
from dibo.tree.query import find
from tests.support.markdown import PROJECT
from tests.support.requirements import need, unmet
from tests.unit.tree.test_query import Files, tree

KERNELS: Files = {
    "/boot/vmlinuz-6.1.0-9-amd64": b"",
    "/boot/initrd.img-6.1.0-9-amd64": b"",
    "/boot/vmlinuz-6.1.0-13-amd64": b"",
    "/boot/initrd.img-6.1.0-13-amd64": b"",
    "/boot/vmlinuz-6.9": b"",
    "/etc/os-release": b'PRETTY_NAME="Debian\'s own"\n',
    "/etc/fstab": b"# kept\nUUID=1 / ext4 defaults 0 1\nUUID=2 /boot ext4 defaults 0 2\n"
    b"host:/x /srv nfs defaults 0 0\n",
    "/etc/machine-id": b"0123\n",
    "/etc/ssh/ssh_host_rsa_key": b"secret",
    "/etc/ssh/ssh_host_rsa_key.pub": b"",
    "/etc/ssh/sshd_config": b"",
    "/usr/sbin/sshd": b"",
    "/etc/systemd/system/other.service": b"",
}


def grub(*directories: str) -> dict[str, bytes | str | None]:
    """GRUB as this machine's packages bring it."""
    files: dict[str, bytes | str | None] = {}
    for name in directories:
        directory = Path("/usr/lib") / name
        if not directory.is_dir():
            unmet(
                f"no {directory}: install grub-pc-bin, grub-efi-amd64-bin, grub-efi-amd64-signed, shim-signed"
            )
        files |= {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    return files


def prepared(files: Files, *, architecture: str = "amd64", **options: str) -> PreparedRoot:
    root = tree(dict(files))
    wish = BootWish(architecture=architecture, options=options)
    return prepare(root, find_boot_parts(root, architecture=architecture), boot_templates(), wish)


def test_bios_and_signed_uefi() -> None:
    made = prepared({**KERNELS, **grub("grub/i386-pc", "grub/x86_64-efi-signed", "shim")})
    assert made.boot.boot == Path("/usr/lib/grub/i386-pc/boot.img").read_bytes()
    assert made.boot.core is not None
    shim = Path("/usr/lib/shim/shimx64.efi.signed").read_bytes()
    signed = Path("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed").read_bytes()
    assert made.boot.esp["EFI/BOOT/BOOTX64.EFI"] == made.boot.esp["EFI/debian/shimx64.efi"] == shim
    assert made.boot.esp["EFI/BOOT/grubx64.efi"] == made.boot.esp["EFI/debian/grubx64.efi"] == signed
    assert made.boot.esp["EFI/debian/grub.cfg"].startswith(b"# Finds ")
    assert PurePosixPath("/boot/grub/i386-pc/normal.mod") in made.files


def test_uefi_alone_without_signatures() -> None:
    made = prepared({**KERNELS, **grub("grub/x86_64-efi")})
    assert made.boot.core is None
    assert sorted(made.boot.esp) == ["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grub.cfg", "EFI/debian/grub.cfg"]
    assert made.boot.esp["EFI/BOOT/BOOTX64.EFI"].startswith(b"MZ")


@pytest.fixture(scope="module")
def made() -> PreparedRoot:
    return prepared({**KERNELS, **grub("grub/i386-pc")})


def text(made: PreparedRoot, path: str) -> str:
    return made.files[PurePosixPath(path)].decode()


def test_the_menu_has_kernels_with_an_initramfs_the_newest_first(made: PreparedRoot) -> None:
    entries = re.findall(r"menuentry '(.*)' \{", text(made, "/boot/grub/grub.cfg"))
    assert entries == ["Debians own, Linux 6.1.0-13-amd64", "Debians own, Linux 6.1.0-9-amd64"]


def test_the_menu_is_the_one_of_the_flavour(made: PreparedRoot) -> None:
    """The flavour `boot-files` writes it with a shell, in a step: the same lines, but for what differs in each root."""
    script = (PROJECT / "flavours/boot-files/files/grub-cfg").read_text()
    blocks = re.findall(r"<<END\n(.*?)\nEND\n", script, re.DOTALL)
    values = {
        "$1": "6.1.0-13-amd64",
        "$2": "/boot/vmlinuz-6.1.0-13-amd64",
        "$PRETTY_NAME": "Debians own",
        "$arguments": "console=tty0 console=ttyS0,115200",
        "$GRUB_TIMEOUT": "1",
        "$GRUB_SERIAL_COMMAND": "serial --unit=0 --speed=115200",
    }
    for block in blocks:
        for name, value in values.items():
            block = block.replace(name, value)
        lines = [line for line in block.replace("\\$", "$").splitlines() if "UEFI firmware shows" not in line]
        assert "\n".join(lines) in text(made, "/boot/grub/grub.cfg")


def test_options_reach_the_menu_and_update_grub() -> None:
    made = prepared({**KERNELS, **grub("grub/i386-pc")}, DIBO_CMDLINE="quiet it's", DIBO_GRUB_TIMEOUT="5")
    assert "ro quiet it\\'s\n" in text(made, "/boot/grub/grub.cfg")
    assert "set timeout=5\n" in text(made, "/boot/grub/grub.cfg")
    assert "GRUB_CMDLINE_LINUX='quiet it'\\''s'\n" in text(made, "/etc/default/grub.d/60-dibo.cfg")


def test_fstab_loses_the_disks_of_another_machine(made: PreparedRoot) -> None:
    lines = text(made, "/etc/fstab").splitlines()
    assert lines[:2] == ["# kept", "host:/x /srv nfs defaults 0 0"]
    assert not [line for line in lines if line.startswith("UUID=")]


def test_no_identity_of_the_image_stays(made: PreparedRoot) -> None:
    root = tree({**KERNELS, **grub("grub/i386-pc")})
    with Mounted(root, (), mtime=0) as mounted:
        install(mounted, made, lambda _: None, epoch=7)
        assert find(root, "/etc/ssh/ssh_host_rsa_key") is None
        assert find(root, "/etc/ssh/ssh_host_rsa_key.pub") is None
        assert find(root, "/etc/ssh/sshd_config") is not None
        machine_id = find(root, "/etc/machine-id")
        assert machine_id is not None
        assert machine_id.data == b""
        wanted = find(root, "/etc/systemd/system/multi-user.target.wants/dibo-ssh-host-keys.service")
        assert wanted is not None
        assert wanted.data is not None
        assert b"ssh-keygen -A" in wanted.data
        probe = find(root, "/usr/lib/dibo/grub-probe")
        assert probe is not None
        assert stat.S_IMODE(probe.mode) == 0o755
    assert find(root, "/etc/ssh/ssh_host_rsa_key") is not None  # the tree is as it was


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"/boot/vmlinuz-6": b"", "/usr/lib/grub/i386-pc/boot.img": b""},
            "kernel 6 has no initramfs, and the root no modules for it",
        ),
        ({**KERNELS, "/usr/lib/grub/i386-pc/boot.img": b""}, "core image .* is missing"),
        (
            {**KERNELS, "/usr/lib/grub/x86_64-efi/normal.mod": b""},
            "no boot loader for amd64 that can be used",
        ),
    ],
    ids=["no-initramfs", "half-of-grub", "modules-for-uefi-alone"],
)
def test_what_only_an_engine_could_make(files: Files, message: str) -> None:
    with pytest.raises(RootNotBootable, match=message) as caught:
        prepared(files)
    assert caught.value.preparable
    assert "--prepare" in caught.value.hint


def test_a_file_where_a_directory_must_be() -> None:
    root = tree({"/boot": b"a file"})
    made = PreparedRoot(boot=BootFiles(), files={PurePosixPath("/boot/grub/grub.cfg"): b"x"})
    with Mounted(root, (), mtime=0) as mounted, pytest.raises(LayoutError, match="in the way"):
        install(mounted, made, lambda _: None, epoch=0)


def test_arm64_has_its_console_and_no_bios() -> None:
    files: dict[str, bytes | str | None] = {
        **KERNELS,
        "/usr/lib/grub/arm64-efi/monolithic/grubaa64.efi": b"MZ",
    }
    made = prepared(files, architecture="arm64")
    assert made.boot.core is None
    assert "EFI/BOOT/BOOTAA64.EFI" in made.boot.esp
    assert "console=ttyAMA0" in text(made, "/boot/grub/grub.cfg")


def test_prefixes_cover_what_is_read() -> None:
    assert all(prefix.endswith(b"/") for prefix in GRUB_FILES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("quiet console=ttyS0,115200", "quiet console=ttyS0,115200"),
        ("a=it's b;halt c={d} $e #f", "a=it\\'s b\\;halt c=\\{d\\} \\$e \\#f"),
        ('dyndbg="file a;b +p" x|y', 'dyndbg="file a;b +p" x\\|y'),
        ('a="$b" c', 'a="\\$b" c'),
    ],
)
def test_arguments_are_no_commands_of_grub(tmp_path: Path, arguments: str, said: str) -> None:
    assert in_menu(arguments) == said
    menu = tmp_path / "menu"
    menu.write_text(f"menuentry 'x' {{\n\tlinux /boot/x {said}\n}}\n")
    need("grub-script-check")
    subprocess.run(["grub-script-check", menu], check=True)


def test_a_kernel_whose_file_has_a_name_for_no_menu() -> None:
    files: Files = {
        "/boot/vmlinuz-6.1": "a kernel; halt",
        "/boot/a kernel; halt": b"k",
        "/boot/initrd.img-6.1": b"i",
        "/boot/loader/entries/1.conf": b"linux /a kernel; halt\ninitrd /initrd.img-6.1\nversion ../../6.1\n",
    }
    made = prepared({**files, **grub("grub/i386-pc")})
    menu = text(made, "/boot/grub/grub.cfg")
    assert "halt" not in menu
    assert "linux /boot/vmlinuz-6.1 " in menu
    assert made.files[PurePosixPath("/boot/vmlinuz-6.1")] == b"k"
