"""Layers to an erofs: `dibo convert -t erofs` beside mkfs.erofs, which needs the tree unpacked.

Usage: python bench/erofs.py [ROUNDS]. The root is that of bench/roots.py, in memory and read before; the ways take
turns, and of each the fastest round counts. Neither way compresses. tar does not do what whiteouts ask for, which is a
little less than what a conversion does; as a user it gives all files to that user.
"""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial

from convert import Bench, Way, converted, ratio
from layers import ENVIRONMENT, timed
from roots import TOP, debian

UNPACK = """
set -eu
mkdir "$DIR"
for layer in "$@"; do
    zstd -dcq "$layer" | tar -x --warning=none --exclude="./dev/*" --delay-directory-restore -C "$DIR"
done
"""


def unpacked(directory: str) -> float:
    return timed(["sh", "-c", UNPACK, "sh", *map(str, debian().layers)], DIR=directory)


def mkfs(bench: Bench, directory: str) -> float:
    return timed(["mkfs.erofs", str(bench.work / "mkfs.erofs"), directory])


def unpacked_and_mkfs(bench: Bench) -> float:
    directory = str(bench.work / "tree")
    return unpacked(directory) + mkfs(bench, directory)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    ENVIRONMENT["PATH"] += ":/usr/sbin:/sbin"
    work, tree = TOP / f"work-{os.getpid()}", TOP / f"tree-{os.getpid()}"
    work.mkdir(parents=True)
    try:
        debian()
        unpacked(str(tree))
        bench = Bench(work=work, registry="")
        reference = f"oci:{debian().layout}"
        ways: dict[str, Way] = {
            "mkfs": partial(mkfs, directory=str(tree)),
            "unpacked": unpacked_and_mkfs,
            "dibo": converted(reference, "erofs"),
            "raw": converted(reference, "raw"),
        }
        bench.run(ways, {}, rounds)
        print(f"Debian, {debian().bytes / 1e6:.0f} MB, {debian().files} files")
        ratio("unpacking + mkfs.erofs / layers to erofs", bench["unpacked"] / bench["dibo"], "at least 1")
        ratio("mkfs.erofs of the tree alone / layers to erofs", bench["mkfs"] / bench["dibo"], "at least 1")
        ratio("layers to erofs / layers to raw ext4", bench["dibo"] / bench["raw"], "at most 1")
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(tree, ignore_errors=True)


if __name__ == "__main__":
    main()
