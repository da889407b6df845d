"""A ramdisk as a whole, of a root that holds next to nothing."""

from __future__ import annotations

import lzma
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.errors import RamdiskError
from dibo.flavours.ramdisk_requests import RamdiskRequests, parse_wishes
from dibo.ramdisk.compress import parse_compression
from dibo.ramdisk.make import RamdiskSpec, kernel_path, make_ramdisk, pack, rules_named
from dibo.ramdisk.source import ContentReader, host_tree
from dibo.tree.node import Node
from tests.support.elf_files import elf, module
from tests.support.node_trees import Content, Program, listing, tree
from tests.support.readers.cpio_reader import read_newc

BUSYBOX = Program(elf() + b"[\0[[\0cat\0init\0sh\0wget\0\0")


def kernel(version: str, where: str = "") -> dict[str, Content | Node]:
    return {
        f"{where}boot/vmlinuz-{version}": f"kernel {version}".encode(),
        f"{where}usr/lib/modules/{version}/modules.dep": b"kernel/card.ko:\n",
        f"{where}usr/lib/modules/{version}/modules.alias": b"",
        f"{where}usr/lib/modules/{version}/kernel/card.ko": module(name=[version], firmware=["card.bin"]),
    }


ROOT: dict[str, Content | Node] = {
    "bin": "usr/bin",
    "sbin": "usr/sbin",
    "lib": "usr/lib",
    "usr/sbin": None,
    "usr/bin/busybox": BUSYBOX,
    "usr/bin/wget": Program(b"real wget"),
    "usr/lib/udev/rules.d/50-own.rules": b'# PROGRAM="no"\nX=="y", IMPORT{program}="ata_id --export $devnode"\n',
    "usr/lib/udev/ata_id": Program(elf()),
    "usr/lib/firmware/card.bin": b"firmware",
    "usr/lib/modprobe.d/a.conf": b"blacklist x",
    "etc/group": b"disk:x:6:\n",
    "etc/shadow": b"secret",
    **kernel("6.1-2"),
    **kernel("6.1-10"),
}
WISHES = parse_wishes(
    "web", {"binary-deps": b"wget cat", "modules": b"card", "udev/60-web.rules": b""}, origin="/f/web"
)
ORDER = RamdiskSpec(
    requests=(WISHES,),
    init="#!/bin/sh\n",
    udhcpc=b"#!/bin/sh\n",
    rules=("50-own.rules", "51-gone.rules"),
    epoch=1_700_000_000,
    compression=parse_compression("none"),
)


class NoSpool:
    def read(self, content: object, offset: int = 0, size: int | None = None) -> object:
        raise AssertionError("nothing is there")


CONTENTS = ContentReader(NoSpool())  # type: ignore[arg-type]


def made(order: RamdiskSpec = ORDER, entries: dict[str, Content | Node] = ROOT) -> dict[str, Content]:
    return dict(listing(make_ramdisk(tree(entries), order, CONTENTS).tree))


def test_only_what_a_ramdisk_needs() -> None:
    found = made()
    assert found["init"] == b"#!/bin/sh\n" and found["usr/lib/dibo/udhcpc"] == b"#!/bin/sh\n"
    assert found["bin"] == "usr/bin" and found["sbin"] == "usr/sbin"
    assert found["usr/bin/busybox"] == BUSYBOX
    assert found["usr/bin/cat"] == found["usr/bin/sh"] == "busybox"
    assert found["usr/bin/wget"] == b"real wget"
    assert "usr/bin/init" not in found and "etc/shadow" not in found
    assert found["usr/lib/udev/ata_id"] == ROOT["usr/lib/udev/ata_id"]
    assert found["usr/lib/udev/rules.d/60-web.rules"] == b""
    assert found["usr/lib/modprobe.d/a.conf"] == b"blacklist x" and found["etc/group"] == b"disk:x:6:\n"
    assert found["usr/lib/firmware/card.bin"] == b"firmware"
    assert found["usr/lib/modules/6.1-10/kernel/card.ko"] == ROOT["usr/lib/modules/6.1-10/kernel/card.ko"]
    assert not any("6.1-2" in path for path in found)


def test_devices_modes_and_empty_directories() -> None:
    ramdisk = make_ramdisk(tree(ROOT), ORDER, CONTENTS)
    found = {each.name: each for each in read_newc(b"".join(map(bytes, pack(ramdisk, ORDER, CONTENTS))))}
    assert found["dev/console"].device == (5, 1) and found["dev/console"].mode == stat.S_IFCHR | 0o600
    assert found["dev/null"].device == (1, 3) and found["dev/null"].mode == stat.S_IFCHR | 0o666
    assert found["tmp"].mode == stat.S_IFDIR | 0o1777 and found["root"].mode == stat.S_IFDIR | 0o700
    assert found["init"].mode == stat.S_IFREG | 0o755
    assert {"proc", "sys", "run", "mnt"} <= found.keys()
    assert CONTENTS.read(ramdisk.kernel) == b"kernel 6.1-10" and ramdisk.version == "6.1-10"


def test_a_kernel_by_version() -> None:
    order = replace(ORDER, kernel_version="6.1-2")
    assert CONTENTS.read(make_ramdisk(tree(ROOT), order, CONTENTS).kernel) == b"kernel 6.1-2"
    with pytest.raises(
        RamdiskError, match=r"no kernel 7.0 with modules in the root or on this machine"
    ) as caught:
        made(replace(ORDER, kernel_version="7.0"))
    assert "6.1-2, 6.1-10" in caught.value.hint


def write(directory: Path, entries: dict[str, Content | Node]) -> None:
    for path, content in entries.items():
        place = directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            place.symlink_to(content)
        else:
            assert isinstance(content, bytes)
            place.write_bytes(content)


@pytest.mark.parametrize("merged", [True, False])
def test_another_tree(merged: bool, tmp_path: Path) -> None:
    """MODULE_ROOT: kernel, modules and firmware from there, everything else from the root."""
    entries = {**kernel("5.0"), "usr/lib/firmware/card.bin": b"other firmware", "etc/passwd": b"not me"}
    if merged:
        entries = {"lib": "usr/lib", **entries}
    else:
        entries = {path.replace("usr/lib", "lib"): content for path, content in entries.items()}
    write(tmp_path, entries)
    order = replace(ORDER, module_root=tmp_path)
    ramdisk = make_ramdisk(tree(ROOT), order, CONTENTS)
    found = dict(listing(ramdisk.tree))
    assert CONTENTS.read(ramdisk.kernel) == b"kernel 5.0"
    assert "usr/lib/modules/5.0/kernel/card.ko" in found and not any("6.1" in path for path in found)
    members = {each.name: each for each in read_newc(b"".join(map(bytes, pack(ramdisk, order, CONTENTS))))}
    assert members["usr/lib/firmware/card.bin"].data == b"other firmware"
    assert members["usr/lib/firmware/card.bin"].uid == 0
    with pytest.raises(RamdiskError, match=rf"no kernel 6.1-2 with modules in {tmp_path}"):
        made(replace(order, kernel_version="6.1-2"))


def test_a_tree_of_this_machine_stays_inside(tmp_path: Path) -> None:
    write(tmp_path / "out", {"modules/5.0/modules.dep": b"out"})
    (tmp_path / "in").mkdir()
    (tmp_path / "in/lib").symlink_to("../out")
    assert dict(listing(host_tree(tmp_path / "in", ("lib/modules/5.0",)))) == {"lib": "../out"}


def test_a_busybox_of_this_machine(tmp_path: Path) -> None:
    own = tmp_path / "busybox"
    own.write_bytes(elf() + b"[\0[[\0dd\0sh\0\0")
    entries = {path: content for path, content in ROOT.items() if path != "usr/bin/busybox"}
    requests = replace(WISHES, programs=())
    found = make_ramdisk(tree(entries), replace(ORDER, busybox=own, requests=(requests,)), CONTENTS)
    listed = dict(listing(found.tree))
    assert listed["usr/bin/dd"] == "busybox" and "usr/bin/cat" not in listed
    members = {each.name: each for each in read_newc(b"".join(map(bytes, pack(found, ORDER, CONTENTS))))}
    assert members["usr/bin/busybox"].data == own.read_bytes()
    with pytest.raises(RamdiskError, match=r"the root has no busybox"):
        made(replace(ORDER, requests=(requests,)), entries)
    own.write_bytes(b"#!/bin/sh\n")
    with pytest.raises(RamdiskError, match=rf"{own} is not a busybox with a shell"):
        made(replace(ORDER, busybox=own), entries)


def test_microcode_comes_first() -> None:
    entries = {
        **ROOT,
        "usr/lib/firmware/amd-ucode/b.bin": b"2",
        "usr/lib/firmware/amd-ucode/a.bin": b"1",
        "usr/lib/firmware/amd-ucode/a.bin.asc": b"no",
        "usr/lib/firmware/amd-ucode/c.bin.xz": lzma.compress(b"3"),
        "usr/lib/firmware/intel-ucode/06-00": b"intel",
        "usr/lib/firmware/intel-ucode/06-3c-03.initramfs": b" early",
    }
    order = replace(ORDER, microcode=True)
    ramdisk = make_ramdisk(tree(entries), order, CONTENTS)
    data = b"".join(map(bytes, pack(ramdisk, order, CONTENTS)))
    end = data.index(b"070701", data.index(b"TRAILER!!!"))
    assert end % 512 == 0
    early = {each.name: each.data for each in read_newc(data[:end])}
    assert early["kernel/x86/microcode/AuthenticAMD.bin"] == b"123"
    assert early["kernel/x86/microcode/GenuineIntel.bin"] == b"intel early"
    assert read_newc(data[end:])[0].name == "."
    with pytest.raises(RamdiskError, match=r"the root contains no microcode"):
        made(order)


def test_two_flavours_with_rules_of_one_name() -> None:
    other = RamdiskRequests(flavour="other", rules=(("60-web.rules", b"x"),))
    with pytest.raises(RamdiskError, match=r"'web' and 'other' both have udev/60-web.rules"):
        made(replace(ORDER, requests=(WISHES, other)))
    same = RamdiskRequests(flavour="other", rules=(("60-web.rules", b""),))
    assert made(replace(ORDER, requests=(WISHES, same)))["usr/lib/udev/rules.d/60-web.rules"] == b""


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"usr/bin/busybox": BUSYBOX}, "no kernel in the root"),
        (
            {"lib": "usr/lib", "usr/bin/busybox": BUSYBOX, **kernel("1"), "boot/vmlinuz-1": "gone"},
            "the kernel itself is missing",
        ),
    ],
)
def test_roots_without_a_kernel(entries: dict[str, Content | Node], message: str) -> None:
    with pytest.raises(RamdiskError, match=message):
        made(replace(ORDER, requests=()), entries)


def test_builds_of_one_release_are_chosen_as_the_boot_loader_does() -> None:
    builds = ("6.2.0-10-amd64", "6.2.0-10-cloud-amd64", "6.2.0-10-rt-amd64", "6.2.0-rc9-amd64")
    entries = {path: content for build in builds for path, content in kernel(build).items()}
    assert make_ramdisk(tree({**ROOT, **entries}), ORDER, CONTENTS).version == "6.2.0-10-amd64"


@pytest.mark.parametrize(
    ("output", "kernel"),
    [
        ("deploy.ramdisk", "deploy.kernel"),
        ("out/deploy.cpio.zst", "out/deploy.kernel"),
        ("deploy", "deploy.kernel"),
        ("deploy-1.2", "deploy-1.2.kernel"),
        ("initrd.img", "initrd.kernel"),
    ],
)
def test_where_the_kernel_goes(output: str, kernel: str) -> None:
    assert kernel_path(Path(output)) == Path(kernel)


def test_lists_of_rules() -> None:
    assert rules_named("# x\n50-a.rules # y\n\n60-b.rules\n") == ("50-a.rules", "60-b.rules")
