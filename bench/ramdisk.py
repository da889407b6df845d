"""The ramdisk `deploy`: its size, how long it takes to pack beside cpio and zstd, and to be on the network in QEMU.

Usage: python bench/ramdisk.py [ROUNDS]. The same files are packed by dibo's own writer and by `cpio | zstd -T0` at the
same level, from memory, in turns; the fastest round of each counts. QEMU runs without KVM.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from layers import ENVIRONMENT, dibo_program, store_of_our_own, timed

from dibo.node import Node
from dibo.ramdisk.compress import DEFAULTS, parse_compression
from dibo.ramdisk.compress import compress as compressed
from dibo.ramdisk.cpio import archive
from dibo.ramdisk.source import Bytes, host_node

THEIRS = f"find . | cpio --quiet -o -H newc | zstd -q -{DEFAULTS['zstd']} -T0 > ../theirs"
BOOT_SECONDS = 300.0


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with store_of_our_own() as top, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        ramdisk = top / "deploy.ramdisk"
        options = ["-o", str(ramdisk), "--base", "debian", "--cache-dir", str(top / "cache")]
        timed([dibo_program("ramdisk-image-create"), *options, "deploy"])
        files = Path(memory) / "files"
        files.mkdir()
        unpack = f"zstd -dcq {ramdisk} | cpio --quiet -idm --no-preserve-owner"
        subprocess.run(
            ["sh", "-c", unpack], cwd=files, check=False, stderr=subprocess.DEVNULL
        )  # no nodes as a user
        ours, theirs = [], []
        for _ in range(rounds + 1):
            ours.append(pack(files, Path(memory) / "ours"))
            theirs.append(timed_in(files, THEIRS))
        ratio = min(ours[1:]) / min(theirs[1:])  # the first is to warm up
        booted = boot(ramdisk.with_suffix(".kernel"), ramdisk)
        size = ramdisk.stat().st_size / 1e6
    print(f"deploy: {size:.1f} MB (wanted: at most 60)")
    print(
        f"packed: dibo / (cpio | zstd -T0) = {ratio:.2f} (wanted: at most 1.3); dibo took {min(ours):.2f} s"
    )
    print(f"on the network in QEMU without KVM: {booted:.0f} s after power on")


def pack(directory: Path, target: Path) -> float:
    begun = time.monotonic()
    contents = Bytes(None)  # type: ignore[arg-type]  # all are files of this machine
    packed = compressed(archive(tree(directory), contents.stream, clamp=1 << 31), parse_compression("zstd"))
    with target.open("wb") as file:
        for piece in packed:
            file.write(piece)
    return time.monotonic() - begun


def tree(path: Path) -> Node:
    node = host_node(path)
    if stat.S_ISDIR(node.mode):
        node.children = {os.fsencode(each.name): tree(each) for each in path.iterdir()}
    return node


def timed_in(directory: Path, script: str) -> float:
    begun = time.monotonic()
    subprocess.run(["sh", "-c", script], cwd=directory, env=ENVIRONMENT, check=True)
    return time.monotonic() - begun


def boot(kernel: Path, ramdisk: Path) -> float:
    """Seconds from the start of QEMU until /init says that the network is there."""
    argv = [
        "qemu-system-x86_64",
        "-nodefaults",
        "-machine",
        "q35",
        "-accel",
        "tcg,thread=single",
        "-cpu",
        "max",
    ]
    argv += ["-m", "1024", "-display", "none", "-serial", "stdio", "-no-reboot"]
    argv += ["-kernel", str(kernel), "-initrd", str(ramdisk), "-append", "console=ttyS0 quiet"]
    argv += ["-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,romfile="]
    begun = time.monotonic()
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, errors="replace"
    ) as qemu:
        assert qemu.stdout is not None
        for line in qemu.stdout:
            if "network ready" in line or time.monotonic() - begun > BOOT_SECONDS:
                break
        took = time.monotonic() - begun
        qemu.kill()
    return took


if __name__ == "__main__":
    main()
