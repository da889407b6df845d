"""Which kernels a tree has, which ramdisk belongs to which, and how they are booted."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.errors import DiskImageError
from dibo.formats.partitions.reader import PartitionPlace
from dibo.inspect.cmdline import cmdline
from dibo.inspect.guestfish import HostTree
from dibo.inspect.kernels import Kernel, choose, kernels
from dibo.inspect.volumes import Volume


def volume(directory: Path, files: Mapping[str, str], *, number: int = 1, label: str = "root") -> Volume:
    """Paths to contents; `-> TARGET` is a link."""
    top = directory / str(number)
    for path, text in files.items():
        place = top / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            place.symlink_to(text[3:])
        else:
            place.write_text(text)
    return Volume(
        place=PartitionPlace(number=number, offset=number, size=number),
        kind="ext4",
        label=label,
        uuid=f"uuid-{number}",
        system=HostTree(top),
    )


def found(*volumes: Volume) -> dict[str, tuple[str, ...]]:
    return {
        kernel.version: (kernel.kernel.path, *(file.path for file in kernel.ramdisks))
        for kernel in kernels(volumes)
    }


@pytest.mark.parametrize(
    ("kernel", "ramdisk", "version"),
    [
        ("vmlinuz-6.1.0-13-amd64", "initrd.img-6.1.0-13-amd64", "6.1.0-13-amd64"),
        ("vmlinuz-6.8.0-49-generic", "initrd.img-6.8.0-49-generic", "6.8.0-49-generic"),
        ("vmlinuz-6.11.4-301.fc41.x86_64", "initramfs-6.11.4-301.fc41.x86_64.img", "6.11.4-301.fc41.x86_64"),
        ("vmlinuz-6.4.0-150600-default", "initrd-6.4.0-150600-default", "6.4.0-150600-default"),
        ("Image-6.4.0-default", "initrd-6.4.0-default", "6.4.0-default"),
        ("vmlinuz-virt", "initramfs-virt", "virt"),
        ("vmlinuz-linux", "initramfs-linux.img", "linux"),
    ],
)
@pytest.mark.parametrize("place", ["boot/", ""])
def test_names_of_distributions(tmp_path: Path, place: str, kernel: str, ramdisk: str, version: str) -> None:
    there = volume(
        tmp_path, {f"{place}{kernel}": "k", f"{place}{ramdisk}": "r", f"{place}initrd.img": "-> x"}
    )
    assert found(there) == {version: (f"/{place}{kernel}", f"/{place}{ramdisk}")}


def test_what_is_no_kernel(tmp_path: Path) -> None:
    names: tuple[str, ...] = (
        "vmlinuz.old",
        "vmlinuz-6.1.old",
        "vmlinuz-6.1.dpkg-new",
        "vmlinux-6.4-default.gz",
        "System.map-6.1",
    )
    names += ("vmlinuz-6.1\x1b[2J", "vmlinuz-é", "vmlinuz-6.1.efi.signed", ".vmlinuz-6.1.hmac")
    files = {f"boot/{name}": "x" for name in names}
    there = volume(
        tmp_path,
        {**files, "boot/vmlinuz-empty": "", "boot/vmlinuz-gone": "-> nowhere", "boot/vmlinuz-d/x": ""},
    )
    assert found(there) == {}


def test_links_are_followed_within_the_image(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "outside").write_text("secret")
    there = volume(
        tmp_path,
        {
            "usr/lib/modules/6.4/vmlinuz": "k",
            "boot/vmlinuz-6.4": "-> ../usr/lib/modules/6.4/vmlinuz",
            "boot/initrd-6.4": "-> /boot/real",
            "boot/real": "r",
            "boot/vmlinuz-6.5": "-> ../../outside",
            "boot/vmlinuz-6.6": f"-> {tmp_path}/outside",
        },
    )
    assert found(there) == {"6.4": ("/boot/vmlinuz-6.4", "/boot/initrd-6.4")}


def test_the_choice(tmp_path: Path) -> None:
    files = {f"boot/vmlinuz-6.1.0-{number}": "k" for number in (9, 10, 11)}
    there = volume(tmp_path, {**files, "boot/initrd.img-6.1.0-9": "r", "boot/initrd.img-6.1.0-10": "r"})
    everything = kernels([there])
    assert [kernel.version for kernel in everything] == ["6.1.0-9", "6.1.0-10", "6.1.0-11"]
    assert choose(everything, None).version == "6.1.0-10"
    assert choose(everything, "6.1.0-9").version == "6.1.0-9"
    with pytest.raises(DiskImageError, match=r"no ramdisk that belongs to it: 6\.1\.0-11"):
        choose(everything, "6.1.0-11")
    with pytest.raises(DiskImageError, match="has no kernel 5") as caught:
        choose(everything, "5")
    assert "6.1.0-9, 6.1.0-10, 6.1.0-11" in caught.value.hint


ENTRY = """\
title Fedora
# linux /none
version 6.11
linux /vmlinuz-6.11
initrd /microcode.img
initrd /initramfs-6.11.img $tuned_initrd
options root=UUID=12 ro rootflags=subvol=root $kernelopts quiet
"""


def test_boot_entries(tmp_path: Path) -> None:
    boot = volume(
        tmp_path,
        {
            "loader/entries/one.conf": ENTRY,
            "loader/entries/two.conf": "linux /0123abcd/6.12/linux\ninitrd /0123abcd/6.12/initrd\nversion 6.12\n",
            "loader/entries/gone.conf": "linux /vmlinuz-6.13\nversion 6.13\n",
            "loader/entries/odd": "linux /vmlinuz-6.11\n",
            "vmlinuz-6.11": "k",
            "initramfs-6.11.img": "r",
            "microcode.img": "m",
            "0123abcd/6.12/linux": "k",
            "0123abcd/6.12/initrd": "r",
        },
    )
    assert found(boot) == {
        "6.11": ("/vmlinuz-6.11", "/microcode.img", "/initramfs-6.11.img"),
        "6.12": ("/0123abcd/6.12/linux", "/0123abcd/6.12/initrd"),
    }
    first = kernels([boot])[0]
    assert first.arguments == ("root=UUID=12", "ro", "rootflags=subvol=root", "quiet")
    assert first.missing == ("kernelopts",)
    assert cmdline(first, [boot]) == "root=UUID=12 ro rootflags=subvol=root quiet"


GRUB = (
    "menuentry x {\n\tlinux\t/vmlinuz-6.1 root=/dev/vda1 ro console=ttyS0 $x\n\tinitrd /initrd.img-6.1\n}\n"
)


@pytest.mark.parametrize(
    ("label", "other", "words"),
    [
        ("cloudimg-rootfs", "boot", "root=LABEL=cloudimg-rootfs ro console=ttyS0"),
        ("boot", "boot", "root=UUID=uuid-2 ro console=ttyS0"),
        ("two words", "boot", "root=UUID=uuid-2 ro console=ttyS0"),
        ("", "", "root=UUID=uuid-2 ro console=ttyS0"),
    ],
)
def test_the_command_line_with_boot_apart(tmp_path: Path, label: str, other: str, words: str) -> None:
    boot = volume(tmp_path, {"vmlinuz-6.1": "k", "initrd.img-6.1": "r", "grub/grub.cfg": GRUB}, label=other)
    root = volume(tmp_path, {"etc/fstab": "", "usr/bin/x": ""}, number=2, label=label)
    there = [boot, root]
    assert cmdline(choose(kernels(there), None), there) == words


def test_the_command_line_of_a_root_that_dibo_cannot_read(tmp_path: Path) -> None:
    boot = volume(tmp_path, {"vmlinuz-6.1": "k", "initrd.img-6.1": "r"})
    (kernel,) = kernels([boot])
    with pytest.raises(DiskImageError, match="looks like a root file system"):
        cmdline(kernel, [boot])
    place = PartitionPlace(number=2, offset=9, size=9)
    foreign = Volume(place=place, kind="xfs", label="data", uuid="u")
    assert cmdline(kernel, [boot, foreign]) == "root=LABEL=data ro"
    alone = replace(foreign, system=volume(tmp_path, {"boot/vmlinuz-6": "k"}, number=3).system)
    (inside,) = kernels([alone])
    assert cmdline(inside, [alone]) == "root=LABEL=data ro"


def test_a_damaged_volume_is_an_error_only_where_no_other_has_a_kernel(tmp_path: Path) -> None:
    class Damaged(HostTree):
        def names(self, directory: object) -> tuple[bytes, ...]:
            raise DiskImageError("broken")

    good = volume(tmp_path, {"boot/vmlinuz-6.1": "k"})
    bad = replace(good, system=Damaged(tmp_path))
    assert [kernel.version for kernel in kernels([bad, good])] == ["6.1"]
    with pytest.raises(DiskImageError, match="partition 1: broken"):
        kernels([bad])


def test_a_file_larger_than_any_kernel(tmp_path: Path) -> None:
    there = volume(tmp_path, {"boot/vmlinuz-6.1": "k"})
    with (tmp_path / "1/boot/vmlinuz-6.1").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DiskImageError, match="not believed"):
        kernels([there])


def test_kernels_are_values(tmp_path: Path) -> None:
    (kernel,) = kernels([volume(tmp_path, {"boot/vmlinuz-6.1": "k"})])
    assert isinstance(kernel, Kernel)
    assert kernel == replace(kernel)


def test_an_entry_whose_version_is_a_sentence(tmp_path: Path) -> None:
    """NixOS says "NixOS 24.05 (Linux 6.6.63)"; its kernels have names of their own."""
    kernel, ramdisk = (
        "EFI/nixos/0a1b-linux-6.6.63-bzImage.efi",
        "EFI/nixos/0a1b-initrd-linux-6.6.63-initrd.efi",
    )
    version = "version Generation 9 NixOS 24.05 (Linux 6.6.63)"
    entry = f"title NixOS\n{version}\nlinux /{kernel}\ninitrd /{ramdisk}\noptions init=/x\n"
    odd = "version No Number At All\nlinux /odd\ninitrd /odd-initrd\n"
    there = volume(
        tmp_path,
        {
            kernel: "k",
            ramdisk: "r",
            "loader/entries/nixos-generation-9.conf": entry,
            "loader/entries/odd.conf": odd,
            "odd": "k",
            "odd-initrd": "r",
        },
    )
    assert found(there) == {"6.6.63": (f"/{kernel}", f"/{ramdisk}"), "odd": ("/odd", "/odd-initrd")}
    assert choose(kernels([there]), None).arguments == ("init=/x",)


def test_of_two_entries_with_one_kernel_version_the_later_counts_whole(tmp_path: Path) -> None:
    def entry(number: int) -> str:
        return f"version a b\nlinux /{number}-linux-6.6.63\ninitrd /{number}-initrd\noptions generation={number}\n"

    files = {f"{number}-{kind}": "x" for number in (9, 10) for kind in ("linux-6.6.63", "initrd")}
    entries = {f"loader/entries/nixos-generation-{number}.conf": entry(number) for number in (9, 10)}
    there = volume(tmp_path, {**files, **entries})
    assert found(there) == {"6.6.63": ("/10-linux-6.6.63", "/10-initrd")}
    assert kernels([there])[0].arguments == ("generation=10",)


def test_several_lines_of_options_are_one(tmp_path: Path) -> None:
    entry = "linux /vmlinuz-6.11\ninitrd /i\noptions root=x ro\noptions quiet\noptions console=ttyS0\n"
    there = volume(tmp_path, {"loader/entries/one.conf": entry, "vmlinuz-6.11": "k", "i": "r"})
    assert kernels([there])[0].arguments == ("root=x", "ro", "quiet", "console=ttyS0")


@pytest.mark.parametrize(
    "files",
    [
        {
            "grub2/grubenv": "# GRUB Environment Block\nsaved_entry=0\nkernelopts=root=/dev/sda1 ro crash=\\\\x \n####"
        },
        {"grub2/grub.cfg": 'if x; then\n  set kernelopts="root=/dev/sda1 ro crash=\\x"\nfi\nblscfg\n'},
    ],
    ids=["grubenv", "grub.cfg"],
)
def test_kernel_options_of_the_environment_of_grub(tmp_path: Path, files: Mapping[str, str]) -> None:
    entry = "linux /vmlinuz-6.11\ninitrd /i\noptions $kernelopts $tuned_params quiet\n"
    there = volume(tmp_path, {"loader/entries/one.conf": entry, "vmlinuz-6.11": "k", "i": "r", **files})
    (kernel,) = kernels([there])
    assert kernel.arguments == ("root=/dev/sda1", "ro", "crash=\\x", "quiet")
    assert kernel.missing == ()


MICROCODE = (
    "menuentry x {\n linux {0}/vmlinuz-linux root=x rw\n"
    " initrd {0}/intel-ucode.img {0}/initramfs-linux.img\n}\n"
)


@pytest.mark.parametrize(("place", "seen"), [("boot/", "/boot"), ("", ""), ("boot/", "/@/boot")])
def test_microcode_comes_first_as_grub_loads_it(tmp_path: Path, place: str, seen: str) -> None:
    names = ("vmlinuz-linux", "intel-ucode.img", "initramfs-linux.img")
    files = {f"{place}{name}": "x" for name in names}
    there = volume(tmp_path, {**files, f"{place}grub/grub.cfg": MICROCODE.replace("{0}", seen)})
    kernel, *ramdisks = (f"/{place}{name}" for name in names)
    assert found(there) == {"linux": (kernel, *ramdisks)}


def test_ramdisks_of_grub_that_are_gone_are_not_taken_in_part(tmp_path: Path) -> None:
    files = {"vmlinuz-linux": "k", "initramfs-linux.img": "r", "grub/grub.cfg": MICROCODE.replace("{0}", "")}
    assert found(volume(tmp_path, files)) == {"linux": ("/vmlinuz-linux", "/initramfs-linux.img")}


def test_a_kernel_without_a_version(tmp_path: Path) -> None:
    files = {"boot/vmlinuz": "k", "boot/initrd.img": "r", "boot/vmlinuz.old": "k"}
    assert found(volume(tmp_path, files)) == {"vmlinuz": ("/boot/vmlinuz", "/boot/initrd.img")}
    versioned = {**files, "boot/vmlinuz-6.1": "k", "boot/initrd.img-6.1": "r"}
    assert list(found(volume(tmp_path, versioned, number=2))) == ["6.1"]


def test_kernels_beside_their_modules(tmp_path: Path) -> None:
    root = volume(
        tmp_path,
        {
            "usr/lib/modules/6.11/vmlinuz": "k",
            "usr/lib/modules/6.11/initramfs.img": "r",
            "usr/lib/modules/6.12/vmlinuz": "k",
            "usr/lib/modules/6.13/vmlinuz": "k",
            "boot/initrd-6.12": "r",
        },
    )
    boot = volume(tmp_path, {"vmlinuz-6.13": "k", "initrd-6.13": "r"}, number=2)
    assert found(root, boot) == {
        "6.11": ("/usr/lib/modules/6.11/vmlinuz", "/usr/lib/modules/6.11/initramfs.img"),
        "6.12": ("/usr/lib/modules/6.12/vmlinuz", "/boot/initrd-6.12"),
        "6.13": ("/vmlinuz-6.13", "/initrd-6.13"),
    }


def test_builds_of_one_release_are_ordered_as_the_boot_loader_offers_them(tmp_path: Path) -> None:
    builds = ("amd64", "cloud-amd64", "rt-amd64")
    files = {f"boot/{kind}-6.1.0-13-{build}": "x" for build in builds for kind in ("vmlinuz", "initrd.img")}
    assert choose(kernels([volume(tmp_path, files)]), None).version == "6.1.0-13-amd64"
    config = "linux /boot/vmlinuz-6.1.0-13-rt-amd64 ro\nlinux /boot/vmlinuz-6.1.0-13-amd64 ro\n"
    there = volume(tmp_path, {**files, "boot/grub/grub.cfg": config}, number=2)
    assert choose(kernels([there]), None).version == "6.1.0-13-rt-amd64"


def unified(**sections: bytes) -> bytes:
    """As little of a program for UEFI as has sections."""
    optional = struct.pack("<H", 0x20B).ljust(112, b"\0")
    start = 0x40 + 24 + len(optional) + len(sections) * 40
    headers, bodies = b"", b""
    for name, data in sections.items():
        at = start + len(bodies)
        headers += struct.pack(
            "<8sIIII16x", f".{name}".encode(), len(data), 0x1000, -(-len(data) // 512) * 512, at
        )
        bodies += data.ljust(-(-len(data) // 512) * 512, b"\0")
    coff = struct.pack("<4sHH12xHH", b"PE\0\0", 0x8664, len(sections), len(optional), 0)
    return b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + coff + optional + headers + bodies


def test_a_unified_kernel_image(tmp_path: Path) -> None:
    """systemd-boot's: the kernel, its ramdisk and its arguments are one file of the EFI system partition."""
    image = unified(
        osrel=b"ID=x",
        cmdline=b"root=LABEL=x ro quiet\0",
        uname=b"6.12.1-arch1",
        ucode=b"micro",
        linux=b"kernel" * 200_000,
        initrd=b"ramdisk",
    )
    there = volume(tmp_path, {"EFI/Linux/x": "", "EFI/Linux/other.efi": "text"})
    (tmp_path / "1/EFI/Linux/arch.efi").write_bytes(image)
    assert found(there) == {
        "6.12.1-arch1": (
            "/EFI/Linux/arch.efi:.linux",
            "/EFI/Linux/arch.efi:.ucode",
            "/EFI/Linux/arch.efi:.initrd",
        )
    }
    (kernel,) = kernels([there])
    assert kernel.arguments == ("root=LABEL=x", "ro", "quiet")
    contents = [b"".join(kernel.system.content(file.entry)) for file in (kernel.kernel, *kernel.ramdisks)]
    assert contents == [b"kernel" * 200_000, b"micro", b"ramdisk"]
    (tmp_path / "1/EFI/Linux/arch.efi").write_bytes(image[:-1024])
    with pytest.raises(DiskImageError, match="ends before byte"):
        kernels([there])
