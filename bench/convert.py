"""Layers to a disk: `dibo convert` beside the programs that do the same, or a part of it.

Usage: python bench/convert.py [ROUNDS]. The roots are those of bench/roots.py. All is in memory, and read before
it is measured; the ways take turns, and of each the fastest round counts. What a way leaves is removed before the next
one begins. As a user, what needs root is left out and said.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from layers import ENVIRONMENT, dibo_program, store_of_our_own, timed
from roots import TAG, TOP, Root, debian, large

SIZE = 2
IGZIP = """
import sys
from isal import igzip
with open(sys.argv[1], "wb") as target:
    for name in sys.argv[2:]:
        with igzip.open(name) as source:
            while data := source.read(1 << 20):
                target.write(data)
"""
MKE2FS = ("mke2fs", "-q", "-F", "-t", "ext4")
BUILDAH = """
set -eu
name=$(buildah from "$1")
shift
"$@" -d "$(buildah mount "$name")" "$OUT" "$SIZE"
buildah umount "$name"
"""
LOOP = """
set -eu
truncate -s "$SIZE" "$OUT"
mkfs.ext4 -q "$OUT"
loop=$(losetup --find --show "$OUT")
trap 'umount "$DIR" || true; losetup -d "$loop"' EXIT
mount "$loop" "$DIR"
for layer in "$@"; do zstd -dcq "$layer" | tar -x --warning=none -C "$DIR"; done
"""


@dataclass(kw_only=True)
class Bench:
    """Where things are, and how long each way took, in seconds."""

    work: Path
    registry: str
    times: dict[str, list[float]] = field(default_factory=dict)

    def run(self, ways: dict[str, Way], slow: dict[str, Way], rounds: int) -> None:
        """Each of `ways` in each round, those that are `slow` in the first one only."""
        for number in range(rounds + 1):  # the first is to warm up
            for name, way in {**ways, **(slow if number == 1 else {})}.items():
                self.clear()
                took = way(self)
                if took is not None and number:
                    self.times.setdefault(name, []).append(took)
        self.clear()

    def clear(self) -> None:
        for path in self.work.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def __getitem__(self, name: str) -> float:
        return min(self.times[name])


Way = Callable[[Bench], float | None]


def zstd_and_dd(bench: Bench) -> float:
    return _unpacked(bench, ["zstd", "-dcq"], debian()) + _copied(bench)


def _unpacked(bench: Bench, command: list[str], root: Root) -> float:
    script = '"$@" > "$OUT"'
    argv = ["sh", "-c", script, "sh", *command, *map(str, root.layers)]
    return timed(argv, OUT=str(bench.work / "tar"))


def _copied(bench: Bench) -> float:
    return timed(["dd", "bs=1M", f"if={bench.work / 'tar'}", f"of={bench.work / 'copy'}"])


def igzip(bench: Bench) -> float:
    layers = map(str, debian("gzip").layers)
    return timed([sys.executable, "-c", IGZIP, str(bench.work / "tar"), *layers])


def umoci(bench: Bench) -> float:
    """Of the gzip layers: umoci 0.4 reads no others."""
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    bundle = bench.work / "bundle"
    image = f"{debian('gzip').layout}:{TAG}"
    return timed(["umoci", "unpack", *rootless, "--image", image, str(bundle)]) + _mke2fs(
        bench, bundle / "rootfs"
    )


def _mke2fs(bench: Bench, tree: Path | str, *around: str) -> float:
    return timed([*around, *MKE2FS, "-d", str(tree), str(bench.work / "disk"), f"{SIZE}G"])


def buildah(bench: Bench) -> float:
    """Into an empty store; the disk by mke2fs from the mounted layers."""
    with store_of_our_own(TOP):
        took = timed(["buildah", "pull", "-q", f"oci:{debian().layout}:{TAG}"])
        image = subprocess.run(
            ["buildah", "images", "-q"], env=ENVIRONMENT, capture_output=True, text=True, check=True
        ).stdout.strip()
        enter = [] if os.geteuid() == 0 else ["buildah", "unshare"]
        argv = [*enter, "sh", "-c", BUILDAH, "sh", image, *MKE2FS]
        return took + timed(argv, OUT=str(bench.work / "disk"), SIZE=f"{SIZE}G")


def loop_device(bench: Bench) -> float | None:
    """What whiteouts and replaced files ask for is not done: a little less than what a conversion does."""
    if os.geteuid() != 0:
        return None
    directory = bench.work / "mounted"
    directory.mkdir()
    argv = ["sh", "-c", LOOP, "sh", *map(str, debian().layers)]
    return timed(argv, OUT=str(bench.work / "disk"), DIR=str(directory), SIZE=f"{SIZE}G")


def converted(reference: str, kind: str, **environment: str) -> Callable[[Bench], float]:
    return lambda bench: timed(_convert(bench, reference, kind), **environment)


def _convert(bench: Bench, reference: str, kind: str, size: float = SIZE) -> list[str]:
    options = ["-t", kind, "--image-size", f"{size:g}", "--bare", "--cache-dir", str(bench.work / "cache")]
    return [dibo_program("dibo"), "convert", reference, "-o", str(bench.work / "web"), *options]


def from_registry(bench: Bench) -> float:
    return timed(_convert(bench, f"{bench.registry}/web:{TAG}", "raw"))


def qemu_img(kind: str) -> Callable[[Bench], float]:
    """Of the raw disk alone, which is there already."""

    def way(bench: Bench) -> float:
        timed(_convert(bench, f"oci:{debian().layout}", "raw"))
        options = ["-O", "qcow2", "-W", "-m", "16", "-c", "-o", f"compression_type={kind}"]
        disks = [str(bench.work / name) for name in ("web.raw", "web.qcow2")]
        return timed(["qemu-img", "convert", "-f", "raw", *options, *disks])

    return way


def largest(argv: list[str]) -> tuple[float, int]:
    """Seconds, and the bytes that the largest of the process and its children had in memory at most."""
    begun = time.monotonic()
    process = subprocess.Popen(argv, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(argv)} failed: {process.stderr.read().decode() if process.stderr else ''}")
    return time.monotonic() - begun, usage.ru_maxrss * 1024


@contextlib.contextmanager
def registry(storage: Path) -> Iterator[str]:
    """docker-registry on loopback with Debian's root in it; its host and port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    storage.mkdir()
    config = storage / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {storage}}}}}\nhttp: {{addr: '{host}'}}\n"
        "log: {level: error, accesslog: {disabled: true}}\n"
    )
    server = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://{host}/v2/", timeout=5).close()
                break
            time.sleep(0.1)
        source = f"oci:{debian().layout}:{TAG}"
        push = ["skopeo", "copy", "-q", "--dest-tls-verify=false", source, f"docker://{host}/web:{TAG}"]
        timed(push, XDG_RUNTIME_DIR=str(storage))
        yield host
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(storage)


def ratio(what: str, value: float, wanted: str) -> None:
    print(f"{what} = {value:.2f} (wanted: {wanted})", flush=True)


def small(bench: Bench, rounds: int) -> None:
    oci, oci_gzip = f"oci:{debian().layout}", f"oci:{debian('gzip').layout}"
    others: dict[str, Way] = {
        "umoci unpack + mke2fs -d": umoci,
        "buildah pull + mount + mke2fs -d": buildah,
        "a mounted loop device": loop_device,
    }
    ways: dict[str, Way] = {
        "zstd -dc + dd": zstd_and_dd,
        "raw": converted(oci, "raw"),
        "registry": from_registry,
        "igzip": igzip,
        "gzip": converted(oci_gzip, "raw"),
        "qcow2": converted(oci, "qcow2"),
        "qemu-img zstd": qemu_img("zstd"),
        "qcow2 zstd": converted(oci, "qcow2", DIBO_QCOW2_COMPRESSION="zstd"),
    }
    bench.run(ways, {**others, "qemu-img zlib": qemu_img("zlib")}, rounds)
    print(f"Debian, {debian().bytes / 1e6:.0f} MB, {debian().files} files")
    ratio("zstd layers to raw / (zstd -dc + dd)", bench["raw"] / bench["zstd -dc + dd"], "at most 1.5")
    for name in others:
        if name in bench.times:
            ratio(f"  {name} / dibo", bench[name] / bench["raw"], "the fastest of these at least 3")
        else:
            print(f"  {name}: left out, it needs root")
    ratio("from a registry / from a layout", bench["registry"] / bench["raw"], "at most 1.3")
    ratio("gzip layers to raw / igzip alone", bench["gzip"] / bench["igzip"], "at most 1.5")
    faster = bench["qemu-img zlib"] / bench["qcow2"]
    ratio("qemu-img of the raw disk, zlib / layers to qcow2", faster, "at least 4")
    ratio("layers to qcow2 / qemu-img, zstd", bench["qcow2"] / bench["qemu-img zstd"], "at most 1")
    ratio("the same with zstd", bench["qcow2 zstd"] / bench["qemu-img zstd"], "at most 1")


def big(bench: Bench) -> None:
    one, other = debian(), large()
    gigabytes = other.bytes / 1e9 * 1.2 + 1
    took: dict[Path, float] = {}
    for root, size in ((one, SIZE), (other, gigabytes)):
        for _ in range(2):
            bench.clear()
            seconds, memory = largest(_convert(bench, f"oci:{root.layout}", "raw", size))
            took[root.layout] = min(seconds, took.get(root.layout, seconds))
    print(f"large, {other.bytes / 1e9:.1f} GB, {other.files} files")
    print(f"largest in memory: {memory / 1e6:.0f} MB (wanted: at most 200)")
    _, memory = largest(_convert(bench, f"oci:{other.layout}", "qcow2", gigabytes))
    print(f"  to qcow2: {memory / 1e6:.0f} MB")
    growth = max(other.bytes / one.bytes, other.files / one.files)
    ratio(
        f"time grows by {took[other.layout] / took[one.layout]:.2f}, bytes by {other.bytes / one.bytes:.2f}, files "
        f"by {other.files / one.files:.2f}: first / largest",
        took[other.layout] / took[one.layout] / growth,
        "at most 1.2",
    )
    bench.clear()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    ENVIRONMENT["PATH"] += ":/usr/sbin:/sbin"
    debian()
    large()
    work = TOP / f"work-{os.getpid()}"
    work.mkdir()
    try:
        with registry(TOP / f"registry-{os.getpid()}") as host:
            bench = Bench(work=work, registry=host)
            small(bench, rounds)
            big(bench)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
