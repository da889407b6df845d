"""A root as an initramfs: every file of it, the kernel as it is, and a script that iPXE reads."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import zstandard

from dibo.boot.parts import Part
from dibo.disk.built_in.job import ConversionJob, bytes_of_parts
from dibo.disk.built_in.netboot import make_netboot
from dibo.errors import ConverterError, RootNotBootable
from dibo.formats.vm_disks.identity import NO_IDENTITY
from dibo.tree.node import Node
from tests.support.node_trees import Content
from tests.support.readers.cpio_reader import read_newc
from tests.support.spooled_trees import spooled

ROOT: dict[str, Content | Node] = {
    "boot/vmlinuz-6.1.0-cloud": b"kernel",
    "sbin/init": b"#!/bin/sh\n",
    "etc/hostname": b"web\n",
    "lib": "usr/lib",
}


def made(directory: Path, entries: dict[str, Content | Node], said: list[str] | None = None) -> Path:
    directory.mkdir()
    make_netboot(
        ConversionJob(
            target=directory,
            name="web",
            architecture="amd64",
            size=0,
            identity=NO_IDENTITY,
            root=spooled(entries),
            warn=(said if said is not None else []).append,
        )
    )
    return directory


def test_what_is_in_it(tmp_path: Path) -> None:
    directory = made(tmp_path / "web", ROOT)
    assert {path.name for path in directory.iterdir()} == {"kernel", "root.cpio.zst", "boot.ipxe"}
    assert (directory / "kernel").read_bytes() == b"kernel"
    archive = (
        zstandard.ZstdDecompressor().decompressobj().decompress((directory / "root.cpio.zst").read_bytes())
    )
    members = {member.name: member.data for member in read_newc(archive)}
    assert members["etc/hostname"] == b"web\n"
    assert members["sbin/init"] == b"#!/bin/sh\n"
    assert members["lib"] == b"usr/lib"
    script = (directory / "boot.ipxe").read_text().splitlines()
    assert script == [
        "#!ipxe",
        "kernel kernel initrd=root.cpio.zst rdinit=/sbin/init",
        "initrd root.cpio.zst",
        "boot",
    ]


def test_arguments_that_ipxe_would_take_for_commands(tmp_path: Path) -> None:
    arguments = b'quiet && || x="a && shell ;" ${net0/mac} # y=%s console=ttyS0'
    entry = b"title x\nlinux /vmlinuz-6.1.0-cloud\noptions " + arguments + b"\n"
    files: dict[str, Content | Node] = {**ROOT, "boot/loader/entries/x-6.1.0-cloud.conf": entry}
    said: list[str] = []
    script = (made(tmp_path / "web", files, said) / "boot.ipxe").read_text().splitlines()
    assert script[1] == "kernel kernel initrd=root.cpio.zst rdinit=/sbin/init quiet y=%s console=ttyS0"
    assert len(script) == 4
    assert "are left out: '&&' '||'" in said[0]


def test_an_old_kernel_gets_gzip(tmp_path: Path) -> None:
    directory = made(tmp_path / "web", {"boot/vmlinuz-4.19.0": b"kernel", "init": b"#!/bin/sh\n"})
    assert (directory / "root.cpio.gz").exists()
    assert "rdinit=/init" in (directory / "boot.ipxe").read_text()


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RootNotBootable, match="no kernel"):
        made(tmp_path / "one", {"sbin/init": b""})
    with pytest.raises(RootNotBootable, match="no init"):
        made(tmp_path / "other", {"boot/vmlinuz-6.1.0-cloud": b"kernel"})


def test_files_that_are_too_large_to_boot() -> None:
    root = spooled({"boot/vmlinuz-6.1": b"kernel", "boot/initrd": b"initrd"})
    node = Node(stat.S_IFREG | 0o644)
    node.size = (1 << 30) + 1
    with pytest.raises(ConverterError, match="/boot/huge has more than 1 GiB"):
        bytes_of_parts(root, Part(path="/boot/huge", node=node))
