"""A layout, boot files that look like GRUB's, and a file that remembers what was written to it."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dibo.boot.boot_files import BootFiles
from dibo.formats.raw import RawFile
from dibo.layout.merge import parse_layout
from dibo.layout.placement import Placement, place
from dibo.system import process
from dibo.tree.node import Buffer
from dibo.units import MIB
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT

EXAMPLE = """
table: gpt
partitions:
  - {name: bios, type: bios-boot, size: 1MiB, content: grub-core}
  - {name: esp, type: esp, size: 64MiB, filesystem: vfat, label: UEFI, mount: /boot/efi, content: esp}
  - {name: root, type: linux-root, size: rest, filesystem: ext4, label: cloudimg-rootfs, mount: /}
"""
MTIME = 1_700_000_001  # 2023-11-14 22:13:21 UTC


def example() -> Any:
    return yaml.safe_load(EXAMPLE)


def placed(*, size: int = 72 * MIB, identity: str = "sha256:0123", text: str = EXAMPLE) -> Placement:
    layout = parse_layout(yaml.safe_load(text), origin="vm/flavour.yaml")
    return place(layout, size=size, identity=identity, architecture="amd64")


def boot_img() -> bytes:
    """Every byte its own offset, where GRUB's format does not say otherwise."""
    image = bytearray(index & 0xFF for index in range(512))
    image[0:3] = b"\xeb\x63\x90"
    image[0x5A:0x5C] = b"\x00\x80"
    image[0x66:0x68] = b"\xeb\x05"
    image[0x1FE:] = b"\x55\xaa"
    return bytes(image)


def core_img(size: int = 30_000) -> bytes:
    image = bytearray(index * 7 & 0xFF for index in range(size))
    image[0x1E8:0x1F4] = bytes(12)
    image[0x1F4:0x200] = struct.pack("<QHH", 2, -(-size // 512) - 1, 0x820)
    image[0x214:0x216] = b"\x5b\x07"
    return bytes(image)


def boot_files() -> BootFiles:
    esp = {
        "EFI/BOOT/BOOTX64.EFI": b"MZ" + bytes(9000) + b"shim",
        "EFI/BOOT/grubx64.efi": b"MZ grub" * 3000,
        "EFI/ubuntu/grub.cfg": b"search.fs_label cloudimg-rootfs root\n",
    }
    return BootFiles(boot=boot_img(), core=core_img(), esp=esp)


class Memory:
    """A Target in memory that remembers each write as (offset, bytes)."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.writes: list[tuple[int, bytes]] = []

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        data = b"".join(buffers)
        self.writes.append((offset, data))
        assert 0 <= offset <= offset + len(data) <= len(self.data)
        self.data[offset : offset + len(data)] = data

    def discard(self, offset: int, size: int) -> None:
        assert 0 <= offset <= offset + size <= len(self.data)
        self.data[offset : offset + size] = bytes(size)


class Recorder(RawFile):
    """A file that remembers each write as (offset, bytes)."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(path, size)
        self.writes: list[tuple[int, bytes]] = []

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        self.writes.append((offset, b"".join(buffers)))
        super().write(offset, buffers)


def output_of(tool: str, *arguments: object) -> str:
    """Standard output of a program that must succeed; skips when it is not installed."""
    need(tool)
    command = [str(process.find(tool)), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def zero_blocks(writes: list[tuple[int, bytes]]) -> list[int]:
    """Offsets of the 4 KiB blocks, or parts of one at the ends of a write, that hold nothing but zeros."""
    found = []
    for offset, data in writes:
        start = 0
        while start < len(data):
            end = min(len(data), start + 4096 - (offset + start) % 4096)
            if not any(data[start:end]):
                found.append(offset + start)
            start = end
    return found
