"""A plain disk to a compressed qcow2: dibo's writer beside `qemu-img convert`.

Usage: python bench/qcow2.py [ROUNDS]. The disk is that of bench/roots.py, in memory and read before; each way is a
process of its own, they take turns, and the fastest of its rounds counts for each.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from layers import timed
from roots import TOP, raw_disk

WRITE = """
import sys
from pathlib import Path
from dibo.formats.open_target import copy_raw, open_target
source, target, compression = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
options = {"DIBO_QCOW2_COMPRESSION": compression}
with source.open("rb") as raw, open_target("qcow2", target, source.stat().st_size, options) as disk:
    copy_raw(raw, disk)
"""


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    raw = raw_disk()
    outputs = {
        (who, kind): TOP / f"bench-{who}-{kind}.qcow2"
        for who in ("dibo", "qemu-img")
        for kind in ("zlib", "zstd")
    }
    try:
        _warm(raw)
        times = {key: min(each) for key, each in _measure(raw, outputs, rounds).items()}
        for kind, path in ((kind, path) for (who, kind), path in outputs.items() if who == "dibo"):
            for argv in (["check", path], ["compare", path, raw]):
                subprocess.run(["qemu-img", *argv], stdout=subprocess.DEVNULL, check=True)
            others = outputs["qemu-img", kind]
            print(f"{kind}: size, dibo / qemu-img = {path.stat().st_size / others.stat().st_size:.2f}")
    finally:
        for path in outputs.values():
            path.unlink(missing_ok=True)
    faster = times["qemu-img", "zlib"] / times["dibo", "zlib"]
    print(f"zlib: time, qemu-img / dibo = {faster:.1f} (wanted: at least 4)")
    ratio = times["dibo", "zlib"] / times["qemu-img", "zstd"]
    print(f"dibo with zlib / qemu-img with zstd = {ratio:.2f} (wanted: at most 1)")
    ratio = times["dibo", "zstd"] / times["qemu-img", "zstd"]
    print(f"zstd: time, dibo / qemu-img = {ratio:.2f} (wanted: at most 1)")


def _warm(raw: Path) -> None:
    with raw.open("rb") as file:
        while file.read(1 << 20):
            pass


def _measure(
    raw: Path, outputs: dict[tuple[str, str], Path], rounds: int
) -> dict[tuple[str, str], list[float]]:
    times: dict[tuple[str, str], list[float]] = {key: [] for key in outputs}
    for _ in range(rounds):
        for (who, kind), path in outputs.items():
            path.unlink(missing_ok=True)
            if who == "dibo":
                argv = [sys.executable, "-c", WRITE, str(raw), str(path), kind]
            else:
                options = ["-O", "qcow2", "-W", "-m", "16", "-c", "-o", f"compression_type={kind}"]
                argv = ["qemu-img", "convert", "-f", "raw", *options, str(raw), str(path)]
            times[who, kind].append(timed(argv))
    return times


if __name__ == "__main__":
    main()
