"""What trees of all shapes can boot with."""

from __future__ import annotations

import pytest

from dibo.boot.find import find_boot_parts
from dibo.boot.keep import is_text, is_wanted
from dibo.boot.parts import BootKernel, BootParts
from tests.unit.tree.test_query import Files, tree

Expected = list[tuple[str, str, list[str]]]
"""(version, path of the kernel, paths of its initramfs)"""

SHAPES: dict[str, tuple[Files, Expected]] = {
    "debian": (
        {
            "/boot/vmlinuz-6.1.0-9-amd64": b"",
            "/boot/initrd.img-6.1.0-9-amd64": b"",
            "/boot/vmlinuz-6.1.0-13-amd64": b"",
            "/boot/initrd.img-6.1.0-13-amd64": b"",
            "/boot/vmlinuz-6.1.0-13-amd64.dpkg-bak": b"",
            "/vmlinuz": "boot/vmlinuz-6.1.0-13-amd64",
        },
        [
            ("6.1.0-13-amd64", "/boot/vmlinuz-6.1.0-13-amd64", ["/boot/initrd.img-6.1.0-13-amd64"]),
            ("6.1.0-9-amd64", "/boot/vmlinuz-6.1.0-9-amd64", ["/boot/initrd.img-6.1.0-9-amd64"]),
        ],
    ),
    "fedora, /boot empty": (
        {
            "/boot": None,
            "/lib": "usr/lib",
            "/usr/lib/modules/6.9.7-200.fc40.x86_64/vmlinuz": b"",
            "/usr/lib/modules/6.9.7-200.fc40.x86_64/modules.dep": b"",
        },
        [("6.9.7-200.fc40.x86_64", "/usr/lib/modules/6.9.7-200.fc40.x86_64/vmlinuz", [])],
    ),
    "bootc": (
        {
            "/usr/lib/modules/6.9/vmlinuz": b"",
            "/usr/lib/modules/6.9/initramfs.img": b"",
        },
        [("6.9", "/usr/lib/modules/6.9/vmlinuz", ["/usr/lib/modules/6.9/initramfs.img"])],
    ),
    "opensuse": (
        {
            "/boot/vmlinuz-6.9.7-1-default": "../usr/lib/modules/6.9.7-1-default/vmlinuz",
            "/usr/lib/modules/6.9.7-1-default/vmlinuz": b"",
            "/boot/initrd-6.9.7-1-default": b"",
        },
        [("6.9.7-1-default", "/boot/vmlinuz-6.9.7-1-default", ["/boot/initrd-6.9.7-1-default"])],
    ),
    "arch": (
        {
            "/boot/vmlinuz-linux": b"",
            "/boot/initramfs-linux.img": b"",
            "/boot/initramfs-linux-fallback.img": b"",
            "/boot/amd-ucode.img": b"",
            "/usr/lib/modules/6.9.7-arch1-1/vmlinuz": b"",
            "/usr/lib/modules/6.9.7-arch1-1/pkgbase": b"linux\n",
        },
        [("6.9.7-arch1-1", "/boot/vmlinuz-linux", ["/boot/amd-ucode.img", "/boot/initramfs-linux.img"])],
    ),
    "arch, no initramfs": (
        {
            "/usr/lib/modules/6.9.7-arch1-1/vmlinuz": b"",
            "/usr/lib/modules/6.9.7-arch1-1/pkgbase": b"linux\n",
        },
        [("6.9.7-arch1-1", "/usr/lib/modules/6.9.7-arch1-1/vmlinuz", [])],
    ),
    "alpine": (
        {
            "/boot/vmlinuz-virt": b"",
            "/boot/initramfs-virt": b"",
            "/lib/modules/6.6.36-0-virt/modules.dep": b"",
            "/usr/share/kernel/virt/kernel.release": b"6.6.36-0-virt\n",
        },
        [("6.6.36-0-virt", "/boot/vmlinuz-virt", ["/boot/initramfs-virt"])],
    ),
    "alpine, by the end of the name": (
        {"/boot/vmlinuz-lts": b"", "/lib/modules/6.6.36-0-lts/modules.dep": b""},
        [("6.6.36-0-lts", "/boot/vmlinuz-lts", [])],
    ),
    "nixos": (
        {
            "/nix/var/nix/profiles/system": "system-1-link",
            "/nix/var/nix/profiles/system-1-link": "/nix/store/a-nixos",
            "/nix/store/a-nixos/kernel": "/nix/store/b-linux-6.6/bzImage",
            "/nix/store/b-linux-6.6/bzImage": b"",
            "/nix/store/a-nixos/initrd": "/nix/store/c-initrd/initrd",
            "/nix/store/c-initrd/initrd": b"",
            "/nix/store/a-nixos/kernel-params": b"loglevel=4 root=fstab",
            "/nix/store/a-nixos/kernel-modules": "/nix/store/d-modules",
            "/nix/store/d-modules/lib/modules/6.6.36/modules.dep": b"",
        },
        [("6.6.36", "/nix/var/nix/profiles/system/kernel", ["/nix/var/nix/profiles/system/initrd"])],
    ),
    "entries": (
        {
            "/boot/loader/entries/x-6.9.conf": b"title T\nlinux /x/6.9/linux\ninitrd /x/6.9/initrd\n"
            b"options root=UUID=1 ro\noptions quiet $tuned\n",
            "/boot/x/6.9/linux": b"",
            "/boot/x/6.9/initrd": b"",
            "/boot/loader/entries/y-0-rescue-1.conf": b"linux /x/6.9/linux\n",
            "/boot/loader/entries/gone.conf": b"linux /gone\n",
        },
        [("x-6.9", "/boot/x/6.9/linux", ["/boot/x/6.9/initrd"])],
    ),
    "no version": (
        {"/boot/vmlinuz": b"", "/boot/initrd.img": b"", "/lib/modules/6.1/modules.dep": b""},
        [("6.1", "/boot/vmlinuz", ["/boot/initrd.img"])],
    ),
    "nothing": ({"/boot/grub/grub.cfg": b"", "/boot/config-6.1": b""}, []),
}


def parts_of(files: Files, architecture: str = "amd64") -> BootParts:
    return find_boot_parts(tree(files), architecture=architecture)


def summary(kernel: BootKernel) -> tuple[str, str, list[str]]:
    return kernel.version, kernel.image.path, [part.path for part in kernel.initramfs]


@pytest.mark.parametrize("shape", SHAPES)
def test_kernels_of_every_shape(shape: str) -> None:
    files, expected = SHAPES[shape]
    assert [summary(kernel) for kernel in parts_of(files).kernels] == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_what_tells_the_kernels_is_kept_in_memory(shape: str) -> None:
    files, expected = SHAPES[shape]
    texts = [path for path, data in files.items() if data and isinstance(data, bytes)]
    assert [path for path in texts if not is_text(path.lstrip("/").encode())] == []
    for _, kernel, initramfs in expected:
        for path in (kernel, *initramfs):
            if not path.startswith("/nix/var"):  # links
                assert is_wanted(path.lstrip("/").encode()) or "/x/" in path


def test_arguments_of_an_entry_are_without_those_of_its_machine() -> None:
    (kernel,) = parts_of(SHAPES["entries"][0]).kernels
    assert kernel.arguments == ("ro", "quiet")


def test_nixos_is_told_its_init() -> None:
    (kernel,) = parts_of(SHAPES["nixos"][0]).kernels
    assert kernel.arguments == ("init=/nix/var/nix/profiles/system/init", "loglevel=4")


def test_modules_are_those_of_the_version() -> None:
    assert parts_of(SHAPES["alpine"][0]).kernels[0].modules == "/lib/modules/6.6.36-0-virt"
    assert parts_of(SHAPES["debian"][0]).kernels[0].modules is None


def test_boot_loaders_of_debian() -> None:
    files: Files = {
        "/usr/lib/grub/i386-pc/boot.img": b"",
        "/usr/lib/grub/i386-pc/normal.mod": b"",
        "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed": b"",
        "/usr/lib/shim/shimx64.efi.signed": "shimx64.efi.signed.latest",
        "/usr/lib/shim/shimx64.efi.signed.latest": b"",
        "/usr/lib/shim/mmx64.efi": b"",
        "/usr/lib/systemd/boot/efi/systemd-bootx64.efi": b"",
        "/usr/lib/systemd/boot/efi/linuxx64.efi.stub": b"",
        "/sbin/init": b"",
    }
    parts = parts_of(files)
    assert set(parts.grub_bios) == {"boot.img", "normal.mod"}
    assert parts.grub_efi is not None
    assert parts.grub_efi.signed
    assert parts.grub_efi.shim is not None
    assert parts.grub_efi.manager is not None
    assert parts.systemd_boot is not None
    assert not parts.systemd_boot.signed
    assert parts.stub is not None
    assert parts.has_init
    arm = parts_of(files, "arm64")
    assert not arm.grub_bios
    assert not (arm.grub_efi or arm.systemd_boot or arm.stub)


@pytest.mark.parametrize(
    ("architecture", "platform", "suffix"),
    [("arm64", "arm64-efi", "aa64"), ("i386", "i386-efi", "ia32")],
)
def test_a_whole_grub_of_another_architecture(architecture: str, platform: str, suffix: str) -> None:
    files: Files = {
        f"/usr/lib/grub/{platform}/monolithic/grub{suffix}.efi": b"",
        f"/usr/lib/grub/{platform}/normal.mod": b"",
        "/usr/lib/grub/i386-pc/boot.img": b"",
    }
    parts = parts_of(files, architecture)
    assert parts.grub_efi is not None
    assert parts.grub_efi.image.path.endswith(f"grub{suffix}.efi")
    assert bool(parts.grub_bios) == (architecture == "i386")
    assert f"/usr/lib/grub/{platform}" in parts.grub_modules


@pytest.mark.parametrize(
    ("architecture", "platform", "suffix"),
    [("armhf", "arm-efi", "arm"), ("riscv64", "riscv64-efi", "riscv64")],
)
def test_systemd_boot_where_grub_is_not_whole(architecture: str, platform: str, suffix: str) -> None:
    """As in Debian's packages, whose GRUB an engine can link."""
    grub: Files = {f"/usr/lib/grub/{platform}/normal.mod": b""}
    parts = parts_of(grub, architecture)
    assert parts.grub_efi is None
    assert parts.grub_modules == (f"/usr/lib/grub/{platform}",)
    directory = "/usr/lib/systemd/boot/efi"
    names = (f"systemd-boot{suffix}.efi", f"linux{suffix}.efi.stub")
    parts = parts_of({**grub, **{f"{directory}/{name}": b"" for name in names}}, architecture)
    assert parts.systemd_boot is not None
    assert parts.stub is not None


@pytest.mark.parametrize("place", ["/boot/efi/EFI/fedora", "/usr/lib/bootupd/updates/EFI/fedora"])
def test_boot_loaders_of_fedora(place: str) -> None:
    files: Files = {f"{place}/{name}x64.efi": b"" for name in ("shim", "grub", "mm")}
    loader = parts_of(files).grub_efi
    assert loader is not None
    assert (loader.vendor, loader.signed, loader.image.path) == ("fedora", True, f"{place}/grubx64.efi")


def test_unified_images_wherever_they_are() -> None:
    files: Files = {
        "/boot/efi/EFI/Linux/a-6.1.efi": b"1",
        "/boot/efi/EFI/Linux/a-6.10.efi": b"2",
        "/usr/lib/modules/6.9/vmlinuz-virt.efi": b"3",
        "/usr/lib/modules/6.9/modules.dep": b"",
        "/boot/efi/EFI/Linux/readme": b"",
    }
    paths = [part.path for part in parts_of(files).unified]
    assert [path.rpartition("/")[2] for path in paths] == ["a-6.10.efi", "vmlinuz-virt.efi", "a-6.1.efi"]
    assert all(is_wanted(path.lstrip("/").encode()) for path in paths)
    assert parts_of(files).is_complete


def test_a_kit_completes_a_root_without_a_kernel() -> None:
    application: Files = {"/bin/sh": b"", "/usr/lib/systemd/boot/efi/systemd-bootx64.efi": b"root's"}
    kit: Files = {
        "/boot/vmlinuz-6.12": b"",
        "/boot/initramfs-6.12.img": b"",
        "/usr/lib/systemd/boot/efi/systemd-bootx64.efi": b"kit's",
        "/usr/lib/systemd/boot/efi/linuxx64.efi.stub": b"stub",
        "/sbin/init": b"",
    }
    parts = parts_of(application).completed_by(parts_of(kit))
    assert [kernel.version for kernel in parts.kernels] == ["6.12"]
    assert parts.systemd_boot is not None
    assert parts.systemd_boot.image.data == b"root's"
    assert parts.stub is not None
    assert parts.is_complete
    assert not parts_of(application).is_complete


def test_a_kernel_of_the_root_comes_before_the_kits() -> None:
    parts = parts_of({"/boot/vmlinuz-6.1": b""}).completed_by(parts_of({"/boot/vmlinuz-6.12": b""}))
    assert [kernel.version for kernel in parts.kernels] == ["6.1"]


@pytest.mark.parametrize(
    "version", ["6.1\nhalt", "../../6.1", "6.1/x", "6 1", "6.1'x", "-x", "6.1;x", "6" * 5000]
)
def test_versions_that_are_none(version: str) -> None:
    entry = f"linux /k\ninitrd /i\nversion {version}\n".encode()
    files: Files = {
        "/boot/k": b"k",
        "/boot/i": b"i",
        "/boot/loader/entries/one.conf": entry,
        "/boot/vmlinuz-virt": b"k",
        "/usr/share/kernel/virt/kernel.release": version.encode(),
    }
    if "/" not in version and len(version) < 200:
        files = {**files, f"/usr/lib/modules/{version}/vmlinuz": b"k", f"/boot/vmlinuz-{version}": b"k"}
    found = find_boot_parts(tree(files), architecture="amd64").kernels
    expected = {"virt", "one"} | ({"6.1"} if version == "6.1\nhalt" else set())
    assert {kernel.version for kernel in found} - {"6"} <= expected
    assert "virt" in {kernel.version for kernel in found}


def test_arguments_keep_their_quotes() -> None:
    entry = b'linux /k\ninitrd /i\noptions quiet a="b" dyndbg="file x +p" "root=x y" c=$d e\x07f "open\n'
    files: Files = {"/boot/k": b"k", "/boot/i": b"i", "/boot/loader/entries/6.1.conf": entry}
    (kernel,) = find_boot_parts(tree(files), architecture="amd64").kernels
    assert kernel.arguments == ("quiet", "a=b", 'dyndbg="file x +p"', "open")


def test_names_of_unified_images_that_a_fat_has() -> None:
    names = ("a.efi", "b:c.efi", "d\ne.efi", "ü.efi", "g.EFI")
    files: Files = {f"/boot/efi/EFI/Linux/{name}": b"MZ" for name in names}
    found = find_boot_parts(tree(files), architecture="amd64").unified
    assert sorted(part.path.rpartition("/")[2] for part in found) == ["a.efi", "g.EFI"]
