"""Which kernels a tree has, which ramdisk belongs to which, and how they are booted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.errors import DiskImageError
from dibo.formats.partitions.reader import Place
from dibo.inspect.cmdline import cmdline
from dibo.inspect.guestfish import HostTree
from dibo.inspect.kernels import Kernel, choose, kernels
from dibo.inspect.volumes import Volume
from dibo.tree.query import by_version


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
        place=Place(number=number, offset=number, size=number),
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
        "vmlinuz",
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


def test_newest() -> None:
    ordered = [
        "0-rescue-ab12",
        "5.10.0-8",
        "6.1.0-rc1",
        "6.1.0~rc2",
        "6.1.0-9-amd64",
        "6.1.0-13-amd64",
        "6.11.4-301.fc41",
    ]
    backwards = ordered[::-1]
    assert sorted(backwards, key=by_version) == ordered
    assert sorted(["6.2", "6.2-rc1", "6.2.1", "6.10", "6.2~x"], key=by_version) == [
        "6.2-rc1",
        "6.2~x",
        "6.2",
        "6.2.1",
        "6.10",
    ]
    by_version("²-٣-6")  # digits that int() does not know


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
        "6.11": ("/vmlinuz-6.11", "/initramfs-6.11.img"),
        "6.12": ("/0123abcd/6.12/linux", "/0123abcd/6.12/initrd"),
    }
    first = kernels([boot])[0]
    assert first.arguments == ("root=UUID=12", "ro", "rootflags=subvol=root", "quiet")
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
    place = Place(number=2, offset=9, size=9)
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
