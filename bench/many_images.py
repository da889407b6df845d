"""Many images on one base: `dibo convert` of all in one command, beside one command for each, one after the other.

Usage: python bench/many_images.py [COUNT [COPIED]]. COUNT (100) images of a Debian of about 150 MB, each with a small
layer of its own, become raw disks on an XFS that is mounted in memory, whose files can share blocks; COPIED (20) of
them on tmpfs, whose files cannot. As a user there is no XFS, and only the second is done. Needs mmdebstrap and a Debian
mirror the first time, and 5 GB of memory.
"""

from __future__ import annotations

import filecmp
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from convert import largest, ratio
from layers import ENVIRONMENT, dibo_program, timed
from roots import TOP, making, minimal_debian, write_image

SIZE = "0.5"
PACKAGES = ("systemd-sysv", "openssh-server", "ca-certificates", "curl")
IN_XFS = 'mount -o loop "$1" "$2" && shift 2 && exec "$@"'


@dataclass(frozen=True, kw_only=True)
class Images:
    layout: Path
    tags: tuple[str, ...]

    def references(self, count: int) -> list[str]:
        return [f"oci:{self.layout}:{tag}" for tag in self.tags[:count]]


def images(count: int) -> Images:
    """At least `count` images on a small Debian, made once."""
    made = max(count, 100)
    name = f"fleet-{made}"
    tags = tuple(f"n{number:03}" for number in range(made))
    if not (TOP / name).is_dir():
        with making(name) as part:
            base = minimal_debian(part / "base.tar", PACKAGES)
            entries = [write_image(part, [base, _own(part, tag)], tag) for tag in tags]
            (part / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
            (part / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
            (part / "size").write_text(str(base.stat().st_size))
            base.unlink()
    return Images(layout=TOP / name, tags=tags)


def _own(directory: Path, tag: str) -> Path:
    """A layer of some small files, one of them of the base as well."""
    path = directory / "own.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(20):
            data = f"{tag} {number}\n".encode() * 500
            entry = tarfile.TarInfo("etc/hostname" if number == 0 else f"srv/{number}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def argv(references: list[str], output: Path, *options: str) -> list[str]:
    return [
        *(dibo_program("dibo"), "convert", *references, "-o", str(output), "-t", "raw", "--bare", "-q"),
        *("--image-size", SIZE, "--cache-dir", str(output.parent / "cache"), *options),
    ]


def one_after_the_other(work: Path, references: list[str], keep: Callable[[int], bool]) -> float:
    """Each disk is removed before the next one is made, unless it is kept."""
    took = 0.0
    for number, reference in enumerate(references):
        took += timed(argv([reference], work / f"alone-{number}"))
        if not keep(number):
            (work / f"alone-{number}.raw").unlink()
    return took


def cpu_seconds() -> float:
    """Of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def compare(work: Path, references: list[str], place: str) -> None:
    count = len(references)
    last = count - 1
    timed(argv(references[:2], work / "warm"))
    shutil.rmtree(work / "warm")
    begun = cpu_seconds()
    alone = one_after_the_other(work, references, lambda number: number in (0, last))
    alone_cpu = cpu_seconds() - begun
    before = shutil.disk_usage(work).used
    begun = cpu_seconds()
    together, memory = largest(argv(references, work / "together"))
    together_cpu = cpu_seconds() - begun
    subprocess.run(["sync", "-f", str(work)], check=True)
    stored = shutil.disk_usage(work).used - before
    made = sorted((work / "together").glob("*.raw"))
    assert len(made) == count
    for number in (0, last):
        assert filecmp.cmp(work / f"alone-{number}.raw", made[number], shallow=False)
    blocks = sum(path.stat().st_blocks for path in made) * 512
    print(f"{count} images on {place}, with {len(os.sched_getaffinity(0))} workers")
    ratio("  one command for each / one for all", alone / together, "at least 3")
    ratio("  the same in seconds of CPU", alone_cpu / together_cpu, "at least 2")
    ratio(
        "  space of the disks if each had its own / that they take",
        blocks / stored,
        "with shared blocks, at least 10",
    )
    print(f"  largest process in memory: {memory / 1e6:.0f} MB (wanted: at most 200)", flush=True)
    shutil.rmtree(work / "together")
    serial, _ = largest(argv(references, work / "together", "--jobs", "1"))
    ratio("  one command for each / one for all with --jobs 1", alone / serial, "at least 2")
    shutil.rmtree(work / "together")


def on_xfs(count: int) -> None:
    disk, place = TOP / f"xfs-{os.getpid()}", TOP / f"mounted-{os.getpid()}"
    place.mkdir()
    try:
        with disk.open("wb") as file:
            file.truncate(8 << 30)
        subprocess.run(["mkfs.xfs", "-q", str(disk)], env=ENVIRONMENT, check=True)
        again = [sys.executable, __file__, "--at", str(place), str(count)]
        enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_XFS, "sh"]
        subprocess.run([*enter, str(disk), str(place), *again], env=ENVIRONMENT, check=True)
    finally:
        disk.unlink()
        place.rmdir()


def main() -> None:
    ENVIRONMENT["PATH"] += ":/usr/sbin:/sbin"
    arguments = sys.argv[1:]
    if arguments[:1] == ["--at"]:
        count = int(arguments[2])
        compare(Path(arguments[1]), images(count).references(count), "XFS")
        return
    count = int(arguments[0]) if arguments else 100
    copied = int(arguments[1]) if len(arguments) > 1 else min(count, 20)
    made = images(count)
    size = int((made.layout / "size").read_text())
    print(f"a base of {size / 1e6:.0f} MB", flush=True)
    if os.geteuid() == 0:
        on_xfs(count)
    else:
        print("on XFS: left out, it needs root")
    work = TOP / f"work-{os.getpid()}"
    work.mkdir()
    try:
        compare(work, made.references(copied), "tmpfs")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
