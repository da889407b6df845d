"""An image to a disk with its file system: `dibo convert` beside what people do without it.

Usage: python bench/beside_others.py [ROUNDS]. The root is that of bench/roots.py, in zstd layers for those that read
them, in gzip layers for the others. All is in memory; the ways take turns, and of each the fastest round counts:

    dibo                                       the layout to a raw disk
    docker create | export, mke2fs -d          of an image that the daemon has: unpacked, then written
    docker load, create | export, mke2fs -d    of the layout, which skopeo makes an archive for the daemon of
    umoci unpack, mke2fs -d                    umoci 0.4 reads gzip layers alone
    skopeo copy, tar, mke2fs -d                each layer unpacked over the others: whiteouts are not applied
    docker export, virt-make-fs                of the tar that docker exports; in a virtual machine of its own

Needs root, for dockerd and for owners of files; what is not installed is left out and said. virt-make-fs is Debian's
guestfs-tools, which needs a kernel in /boot; where there is no KVM, it is emulated.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from convert import SIZE, Bench, Way, converted, ratio, umoci
from layers import ENVIRONMENT, timed
from roots import TAG, TOP, debian

UNPACKED = 'mkdir "$DIR"; "$@" | tar -x -C "$DIR"; mke2fs -q -F -t ext4 -d "$DIR" "$OUT" "$SIZE"'
DOCKER = 'name=$(docker create bench:1 true); trap "docker rm $name >/dev/null" EXIT; docker export $name'
COPIED = """
skopeo copy -q "oci:$LAYOUT" "dir:$DIR.copy"
mkdir "$DIR"
for layer in $LAYERS; do zstd -dcq "$DIR.copy/$layer" | tar -x --warning=none -C "$DIR"; done
mke2fs -q -F -t ext4 -d "$DIR" "$OUT" "$SIZE"
"""


def _shell(script: str, bench: Bench, *arguments: str, **environment: str) -> float:
    variables = {"DIR": str(bench.work / "tree"), "OUT": str(bench.work / "disk"), "SIZE": f"{SIZE}G"}
    return timed(["sh", "-ec", script, "sh", *arguments], **variables, **environment)


def docker(bench: Bench) -> float:
    return _shell(UNPACKED, bench, "sh", "-ec", DOCKER)


def loaded_docker(bench: Bench) -> float:
    """The image goes into the daemon first, from a layout: what it does not have."""
    subprocess.run(["docker", "rmi", "-f", "bench:1"], env=ENVIRONMENT, capture_output=True, check=False)
    archive = bench.work / "image.tar"
    took = timed(
        ["skopeo", "copy", "-q", f"oci:{debian('gzip').layout}:{TAG}", f"docker-archive:{archive}:bench:1"]
    )
    took += timed(["docker", "load", "-q", "-i", str(archive)])
    archive.unlink()
    return took + docker(bench)


def skopeo(bench: Bench) -> float:
    layers = " ".join(layer.name for layer in debian().layers)
    return _shell(COPIED, bench, LAYOUT=f"{debian().layout}:{TAG}", LAYERS=layers)


def virt_make_fs(bench: Bench) -> float | None:
    if shutil.which("virt-make-fs", path=ENVIRONMENT["PATH"]) is None:
        return None
    tar = bench.work / "root.tar"
    took = timed(["sh", "-ec", f"{DOCKER} > {tar}"])
    options = ["--format=raw", "--type=ext4", f"--size={SIZE}G"]
    return took + timed(["virt-make-fs", *options, str(tar), str(bench.work / "disk")])


@contextlib.contextmanager
def dockerd() -> Iterator[None]:
    """A daemon with the image, on a socket of its own, which `docker` finds; its mounts die with it."""
    directory = Path(tempfile.mkdtemp(prefix="dibo-bench-docker-", dir="/var/tmp"))
    ENVIRONMENT["DOCKER_HOST"] = f"unix://{directory}/sock"
    places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    daemon = subprocess.Popen(
        [
            *("unshare", "--mount", "--propagation", "private", "dockerd"),
            *(
                "--bridge=none",
                "--iptables=false",
                "--ip-forward=false",
                f"--host={ENVIRONMENT['DOCKER_HOST']}",
            ),
            *(f"--{option}={directory / name}" for option, name in places.items()),
        ],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            asked = subprocess.run(["docker", "version"], env=ENVIRONMENT, capture_output=True, check=False)
            if not asked.returncode:
                break
            time.sleep(0.1)
        yield
    finally:
        daemon.terminate()
        daemon.wait()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    ENVIRONMENT["PATH"] += ":/usr/sbin:/sbin"
    if os.geteuid() != 0:
        sys.exit("it needs root: for dockerd, and for the owners of files")
    root = debian()
    work = TOP / f"work-{os.getpid()}"
    work.mkdir()
    own: dict[str, Way] = {"dibo": converted(f"oci:{root.layout}", "raw")}
    others: dict[str, Way] = {
        "docker load, create | export, mke2fs -d": loaded_docker,
        "docker create | export, mke2fs -d": docker,
        "umoci unpack, mke2fs -d": umoci,
        "skopeo copy, tar, mke2fs -d": skopeo,
    }
    try:
        with dockerd():
            bench = Bench(work=work, registry="")
            bench.run({**own, **others}, {"docker export, virt-make-fs": virt_make_fs}, rounds)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"Debian, {root.bytes / 1e6:.0f} MB, {root.files} files")
    for name in (*others, "docker export, virt-make-fs"):
        if name in bench.times:
            ratio(f"  {name} / dibo", bench[name] / bench["dibo"], "at least 1")
        else:
            print(f"  {name}: left out, it is not installed")
    print(f"  dibo took {bench['dibo']:.2f} s")


if __name__ == "__main__":
    main()
