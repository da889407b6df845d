"""The ramdisk `deploy`: its size, how long it takes to pack beside cpio and zstd, and to be on the network in QEMU.

Usage: python bench/ramdisk.py [ROUNDS]. The same files are packed by dibo's own writer and by `cpio | zstd -T0` at the
same level, from memory, in turns; the fastest round of each counts. QEMU runs without KVM, with one processor; beside
it boots an image that dracut made in a root of its own, with the same kernel modules, its modules for the network
and no others, and the same compression. Both get their address by DHCP; BOOTS times in turns, the faster counts.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _machine import seconds_until
from layers import ENVIRONMENT, dibo_program, store_of_our_own, timed

from dibo.ramdisk.compress import DEFAULTS, parse_compression
from dibo.ramdisk.compress import compress as compressed
from dibo.ramdisk.cpio import archive
from dibo.ramdisk.source import ContentReader, host_node
from dibo.tree.node import Node

THEIRS = f"find . | cpio --quiet -o -H newc | zstd -q -{DEFAULTS['zstd']} -T0 > ../theirs"
BOOTS = 2
READY = "network ready"
DRACUT_CMDLINE = "rd.neednet=1 ip=dhcp root=/dev/disk/by-label/nothing rd.shell=0"
# Run by dracut when an interface has its address (dracut.modules(7), hook initqueue/online).
DRACUT_ONLINE = f"#!/bin/sh\necho '{READY}' > /dev/console\n"
# By mmdebstrap, on the host's side: $1 is the root.
DRACUT = """set -e
cp "$ONLINE" "$1/online.sh"
version=$(ls "$1/lib/modules")
chroot "$1" dracut --quiet --no-hostonly --no-hostonly-cmdline --kver "$version" --add network --drivers "$MODULES" \\
    --compress "zstd -q -$LEVEL -T0" --include /online.sh /usr/lib/dracut/hooks/initqueue/online/50-ready.sh /dracut.img
cp "$1/boot/vmlinuz-$version" "$OUT/dracut.kernel"
cp "$1/dracut.img" "$OUT/dracut.img"
chmod a+r "$OUT"/dracut.*
"""


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
        size = ramdisk.stat().st_size / 1e6
        with tempfile.TemporaryDirectory() as open_to_all:  # the mapped root may not enter a home
            image = dracut_image(files, Path(open_to_all))
            dracut_size = image.stat().st_size / 1e6
            booted, beside = [], []
            for _ in range(BOOTS):
                booted.append(boot(ramdisk.with_suffix(".kernel"), ramdisk))
                beside.append(boot(image.with_suffix(".kernel"), image, DRACUT_CMDLINE))
    print(f"deploy: {size:.1f} MB (wanted: at most 60)")
    print(
        f"packed: dibo / (cpio | zstd -T0) = {ratio:.2f} (wanted: at most 1.3); dibo took {min(ours):.2f} s"
    )
    print(
        f"on the network in QEMU without KVM: {min(booted):.1f} s after power on; dracut {min(beside):.1f} s: "
        f"{min(booted) / min(beside):.2f} times; {size / dracut_size:.2f} times its size, {dracut_size:.1f} MB"
    )


def pack(directory: Path, target: Path) -> float:
    begun = time.monotonic()
    contents = ContentReader(None)  # type: ignore[arg-type]  # all are files of this machine
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


def dracut_image(files: Path, directory: Path) -> Path:
    """An initramfs by dracut with the modules that `files` has; its kernel lies beside it."""
    directory.chmod(0o777)
    online = directory / "online.sh"
    online.write_text(DRACUT_ONLINE)
    online.chmod(0o755)
    hook = directory / "hook"
    hook.write_text(DRACUT)
    modules = " ".join(sorted(path.stem for path in files.glob("usr/lib/modules/*/**/*.ko")))
    mode = "root" if os.geteuid() == 0 else "unshare"
    wanted = "linux-image-amd64,dracut,dracut-network,systemd,systemd-resolved,udev,iproute2,zstd"
    argv = ["mmdebstrap", f"--mode={mode}", "--variant=apt", f"--include={wanted}", "--format=null"]
    argv += [f'--customize-hook=sh {hook} "$1"', "trixie", "/dev/null"]
    # The kernel's package would make an initramfs, too.
    timed(
        argv,
        ONLINE=str(online),
        OUT=str(directory),
        MODULES=modules,
        LEVEL=str(DEFAULTS["zstd"]),
        INITRD="No",
    )
    return directory / "dracut.img"


def boot(kernel: Path, ramdisk: Path, cmdline: str = "") -> float:
    """Seconds from the start of QEMU until the console says that the network is there. Ends the run where
    it never is."""
    return seconds_until(READY, kernel=kernel, initrd=ramdisk, arguments=cmdline).seconds


if __name__ == "__main__":
    main()
