"""`-t microvm` starts in QEMU's microvm: the script, the kernel out of its bzImage, dibo's initramfs, and the root."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard

from dibo.formats import magic
from dibo.ramdisk.make import kernel_path
from tests.support import user
from tests.support.host.build_env import build_env, busybox_root
from tests.support.images.oci_layouts import LayerTar, OciLayout
from tests.support.machines.qemu import BOOT_SECONDS
from tests.support.readers.cpio_reader import read_newc
from tests.support.requirements import need

pytestmark = pytest.mark.boot

MARKER = "the root of the microvm is up"
INIT = f"""#!/bin/sh
mount -t proc proc /proc
grep ' / ' /proc/mounts > /dev/console
echo '{MARKER}' > /dev/console
reboot -f
"""
WITHOUT_KVM = {"ACCEL": "tcg", "APPEND": "tsc_early_khz=2000000"}  # the machine has no timer to measure by


def unpacked(ramdisk: Path) -> bytes:
    data = ramdisk.read_bytes()
    if data.startswith(magic.GZIP):
        return gzip.decompress(data)
    if data.startswith(magic.ZSTD):
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


def kernel_layer(ramdisk: Path, path: Path) -> None:
    """Debian's kernel and some of its modules, as packages install them, and an init. They come from a ramdisk."""
    modules = {
        member.name: member.data
        for member in read_newc(unpacked(ramdisk))
        if re.match(r"(usr/)?lib/modules/[^/]+/", member.name) and member.mode & 0o170000 == 0o100000
    }
    version = next(iter(modules)).partition("lib/modules/")[2].partition("/")[0]
    files = {
        f"boot/vmlinuz-{version}": kernel_path(ramdisk).read_bytes(),
        "sbin/init": INIT.encode(),
        **modules,
    }
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))


def test_it_boots(ramdisk: Path, tmp_path: Path) -> None:
    need("qemu-system-x86_64", "busybox")
    with build_env(user.need_ordinary_user()) as place:
        base, kernel = place.directory / "base.tar", place.directory / "kernel.tar"
        busybox_root(base)
        kernel_layer(ramdisk, kernel)
        layout = OciLayout(place.directory / "image")
        layout.write_index(
            {"1": layout.image([LayerTar(tar=base), LayerTar(tar=kernel, compression="zstd")])}
        )
        out = place.directory / "out"
        out.mkdir()
        out.chmod(0o777)
        said = place.run("dibo", "convert", f"oci:{layout.directory}:1", "-t", "microvm", "-o", out / "web")
        assert said.code == 0, said.err
        assert "no initramfs" not in said.err
        # Root's own QEMU, in place of the user's: /dev/kvm is not asked.
        done = subprocess.run(
            [out / "web.microvm" / "qemu.sh"],
            env={**os.environ, **WITHOUT_KVM},
            capture_output=True,
            timeout=BOOT_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    console = done.stdout.decode(errors="replace")
    assert MARKER in console, console[-3000:] + done.stderr.decode(errors="replace")
    assert re.search(r"^/dev/(vda|root) / ext4 rw", console, re.MULTILINE), console[-3000:]
