"""The first line of an application that a kit boots, beside the same kernel and initramfs with `init=` that program,
and beside the kernel alone: until the first program of that initramfs, which says so at once.

Usage: python bench/kit.py [ROUNDS]. DIBO_BENCH_KIT is the OCI layout of a kit; without it, one is built. The image has
40 MB. QEMU runs without KVM, with one processor, and hands over kernel and initramfs itself; times are those of the
machine's own clock, which begins with its kernel, when the program writes its first line. In turns; the fastest counts.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import stat
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import zstandard
from _machine import seconds_until
from layers import BUSYBOX, dibo_program, store_of_our_own, timed

from dibo.formats.partitions import gpt
from dibo.ramdisk.cpio import archive
from dibo.tree.node import Node

MEGABYTES = 40
FIRST_LINE = '#!/bin/sh\nread up rest </proc/uptime\necho "running after $up s"\nexec sleep 1000\n'
SAID = r"running after ([0-9.]+) s"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        if given := os.environ.get("DIBO_BENCH_KIT"):
            measure(Path(given), top, rounds)
            return
        with store_of_our_own() as store:
            argv = [dibo_program("dibo"), "build", "--kit", "cloud", "-o", str(top / "kit")]
            timed([*argv, "--cache-dir", str(store / "cache")])
            measure(top / "kit", top, rounds)


def measure(kit: Path, top: Path, rounds: int) -> None:
    image(top / "image")
    argv = [dibo_program("dibo"), "convert", f"oci:{top / 'image'}", "--kit", f"oci:{kit}", "-t", "raw"]
    timed([*argv, "-o", str(top / "disk"), "--cache-dir", str(top / "cache")])
    boot_files(kit, top)
    with (top / "disk.raw").open("rb") as file:
        root = next(part for part in gpt.decode(file).entries if part.name == "root")
    line = f"rw root=PARTUUID={root.guid}"
    (top / "alone").write_bytes(with_first_program((top / "initramfs").read_bytes()))
    booted, beside, alone = [], [], []
    for _ in range(rounds):
        alone.append(boot(top, f"{line} rdinit=/alone", initramfs="alone"))
        beside.append(boot(top, f"{line} init=/bin/first"))
        booted.append(boot(top, line))
    more = min(booted) - min(beside)
    print(
        f"first line of the program: {min(booted):.2f} s after the kernel's start, {min(beside):.2f} s as init=: "
        f"{min(booted) / min(beside):.2f} times, {more:.2f} s more; the kernel alone takes {min(alone):.2f} s, "
        f"{min(alone) / min(booted):.2f} of it (wanted: most of it, and 3 s for all)"
    )


def image(directory: Path) -> None:
    """An OCI layout of an image that runs a script, and is large."""
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w") as tar:
        add(tar, "bin/busybox", Path(BUSYBOX).read_bytes())
        add(tar, "bin/first", FIRST_LINE.encode())
        add(tar, "srv/data", random.Random(1).randbytes(MEGABYTES * 1_000_000))
        for name in ("sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    plain = tar_bytes.getvalue()
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/bin/first"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "config": put(blobs, "config.v1+json", json.dumps(config).encode()),
        "layers": [put(blobs, "layer.v1.tar+gzip", gzip.compress(plain, 1))],
    }
    index = {"schemaVersion": 2, "manifests": [put(blobs, "manifest.v1+json", json.dumps(manifest).encode())]}
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps(index))


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o755
    tar.addfile(member, io.BytesIO(data))


def put(blobs: Path, kind: str, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {
        "mediaType": f"application/vnd.oci.image.{kind}",
        "digest": f"sha256:{digest}",
        "size": len(data),
    }


def boot_files(kit: Path, top: Path) -> None:
    """Put `kernel` and `initramfs` of the kit into `top`."""
    (entry,) = json.loads((kit / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(kit, entry).read_text())
    with (
        blob(kit, manifest["layers"][0]).open("rb") as packed,
        zstandard.ZstdDecompressor().stream_reader(packed) as plain,
        tarfile.open(fileobj=plain, mode="r|") as tar,
    ):
        for member in tar:
            for prefix, name in (("./boot/vmlinuz-", "kernel"), ("./boot/initrd.img-", "initramfs")):
                if member.name.startswith(prefix) and (content := tar.extractfile(member)) is not None:
                    (top / name).write_bytes(content.read())


def blob(kit: Path, descriptor: dict[str, Any]) -> Path:
    return kit / "blobs" / "sha256" / str(descriptor["digest"]).removeprefix("sha256:")


def with_first_program(initramfs: bytes) -> bytes:
    """An initramfs with /alone in it, an archive behind the others, which the kernel unpacks as well (initramfs buffer
    format, Documentation/driver-api/early-userspace)."""
    script = b"#!/bin/sh\nmount -t proc proc /proc\n" + FIRST_LINE.removeprefix("#!/bin/sh\n").encode()
    root, program = Node(stat.S_IFDIR | 0o755), Node(stat.S_IFREG | 0o755)
    assert root.children is not None
    program.data, program.size = script, len(script)
    root.children[b"alone"] = program
    more = b"".join(bytes(piece) for piece in archive(root, lambda node: iter([node.data or b""]), clamp=0))
    return initramfs + bytes(-len(initramfs) % 4) + more


def boot(top: Path, line: str, initramfs: str = "initramfs") -> float:
    """Seconds on the machine's clock at the first line of the program. Ends the run where there is none."""
    shown = seconds_until(
        SAID, kernel=top / "kernel", initrd=top / initramfs, arguments=line, disks=(top / "disk.raw",)
    )
    return float(shown.match[1])


if __name__ == "__main__":
    main()
