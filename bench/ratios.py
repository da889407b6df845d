"""Whether dibo became slower: a few ratios in a minute, beside those that were recorded (ratios.json).

    python bench/ratios.py [--record] [ROUNDS]

CI shows the table after its tests. What moved by more than a tenth is marked; nothing fails, since a busy machine moves
ratios too. Each way is a process, the ways take turns, and of each the fastest round counts. The root is made here, of
200 MB, a third noise and the rest words, in a directory that goes away.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from layers import dibo_program, timed
from roots import TAG, synthetic, write_layout

RECORD: Final = Path(__file__).with_suffix(".json")
MOVED: Final = 0.1
FILES: Final = 10_000
FILE_BYTES: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """dibo beside what does the same, or a part of it."""

    name: str
    dibo: list[str]
    beside: list[str]


def cases(work: Path) -> list[Case]:
    tar, disk = work / "root.tar", work / "disk.raw"
    synthetic(tar, 1, FILE_BYTES, FILES)
    write_layout(work / "layout", [tar], "zstd")
    layer = max((work / "layout/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    dibo = dibo_program("dibo")

    def convert(kind: str, name: str) -> list[str]:
        options = ["--bare", "--image-size", "0.5", "--cache-dir", str(work / "cache"), "-q", "-t", kind]
        return [dibo, "convert", *options, "-o", str(work / name), f"oci:{work / 'layout'}:{TAG}"]

    timed(convert("raw", "disk"))
    unpack = 'zstd -dcq "$1" > "$2" && dd bs=1M if="$2" of="$3"'
    pack = ["qemu-img", "convert", "-W", "-m", "16", "-c", "-f", "raw", "-O", "qcow2", str(disk)]
    return [
        Case(
            name="start of the command line, python", dibo=[dibo, "--help"], beside=[sys.executable, "-c", ""]
        ),
        Case(
            name="zstd layer to raw, zstd -dc and dd",
            dibo=convert("raw", "web"),
            beside=["sh", "-c", unpack, "sh", str(layer), str(work / "tar"), str(work / "copy")],
        ),
        Case(
            name="zstd layer to qcow2, qemu-img of the raw disk",
            dibo=convert("qcow2", "web"),
            beside=[*pack, str(work / "packed.qcow2")],
        ),
        Case(
            name="zstd layer to tar, zstd -dc",
            dibo=convert("tar", "web"),
            beside=["sh", "-c", 'zstd -dcq "$1" > "$2"', "sh", str(layer), str(work / "tar")],
        ),
    ]


def ratios(rounds: int) -> dict[str, float]:
    """The time of dibo by that of the other, by the names of both."""
    with tempfile.TemporaryDirectory(prefix="dibo-bench-") as directory:
        times: dict[str, list[tuple[float, float]]] = {}
        listed = cases(Path(directory))
        for _ in range(rounds):
            for case in listed:
                for path in Path(directory).glob("web.*"):
                    path.unlink()
                times.setdefault(case.name, []).append((timed(case.dibo), timed(case.beside)))
    return {
        name: min(dibo for dibo, _ in pairs) / min(beside for _, beside in pairs)
        for name, pairs in times.items()
    }


def table(now: dict[str, float], recorded: dict[str, float]) -> str:
    lines = ["| dibo, beside | ratio | recorded | |", "|---|---:|---:|---|"]
    for name, ratio in now.items():
        before = recorded.get(name)
        change = ratio / before - 1 if before else 0.0
        mark = f"**{change:+.0%}**" if abs(change) > MOVED else ""
        lines.append(f"| {name} | {ratio:.2f} | {f'{before:.2f}' if before else 'new'} | {mark} |")
    return "\n".join(lines)


def main() -> None:
    numbers = [word for word in sys.argv[1:] if word.isdigit()]
    now = ratios(int(numbers[0]) if numbers else 3)
    if "--record" in sys.argv:
        RECORD.write_text(json.dumps({name: round(ratio, 2) for name, ratio in now.items()}, indent=1) + "\n")
    print(table(now, json.loads(RECORD.read_text()) if RECORD.exists() else {}))


if __name__ == "__main__":
    main()
