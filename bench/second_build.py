"""The second build: one small hook at the end of a stack changed, or nothing; beside another state of dibo, in one run.

    python bench/second_build.py [REVISION]

Builds `vm` with two flavours on Debian once, then what changed, in turns with the sources of REVISION (HEAD), which
git checks out beside. Seconds of each, and of CPU, the best of some rounds. A profile of the changed hook
to raw is kept as second_build.trace.json in the current directory. Takes ten minutes and a Debian mirror.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from layers import ENVIRONMENT, store_of_our_own

ROUNDS: Final = 3
PROJECT: Final = Path(__file__).parents[1]
HOOK: Final = "install.d/99-tweak"
PROFILE: Final = "second_build.trace.json"
CASES: Final = (
    ("hook changed, to raw", "raw", True, False),
    ("nothing changed", "raw", False, False),
    ("nothing changed, disk removed, to raw", "raw", False, True),
    ("hook changed, to qcow2", "qcow2", True, False),
    ("nothing changed, disk removed, to qcow2", "qcow2", False, True),
)


@contextlib.contextmanager
def checked_out(revision: str, top: Path) -> Iterator[Path]:
    """The sources of another revision."""
    place = top / "sources"
    git = ["git", "-c", f"safe.directory={PROJECT}", "-C", str(PROJECT)]
    tar = subprocess.run([*git, "archive", "--format=tar", revision], check=True, capture_output=True).stdout
    place.mkdir()
    subprocess.run(["tar", "-x", "-C", str(place)], input=tar, check=True)
    yield place


class Took(NamedTuple):
    """Seconds."""

    elapsed: float
    cpu: float


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Side:
    """dibo of one state of the sources, with a cache and flavours of its own."""

    def __init__(self, name: str, sources: Path, top: Path) -> None:
        self.name, self.sources, self.top = name, sources, top / name
        self.top.mkdir()
        self.best: dict[str, Took] = {}
        for number in ("tweak", "other"):
            hook = self.top / "flavours" / number / HOOK
            hook.parent.mkdir(parents=True)
            hook.write_text(f"#!/bin/sh\necho 1 > /etc/{number}\n")
            hook.chmod(0o755)

    def change(self) -> None:
        hook = self.top / "flavours" / "tweak" / HOOK
        hook.write_text(f"#!/bin/sh\necho {time.time_ns()} > /etc/tweak\n")

    def build(self, kind: str, *options: str) -> Took:
        argv = [
            sys.executable,
            "-c",
            "import sys; from dibo.cli.main import disk_image_create as m; sys.exit(m())",
        ]
        argv += ["-o", str(self.top / "disk"), "-t", kind, "--base", "debian", "--epoch", "2026-11"]
        argv += [
            "--cache-dir",
            str(self.top / "cache"),
            "--flavours-path",
            str(self.top / "flavours"),
            *options,
        ]
        begun, cpu = time.monotonic(), cpu_of_children()
        done = subprocess.run(
            [*argv, "vm", "other", "tweak"],
            env={**ENVIRONMENT, "PYTHONPATH": str(self.sources)},
            cwd=self.top,  # `python -c` imports from the current directory first
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{self.name}: {done.stdout}{done.stderr}")
        return Took(time.monotonic() - begun, cpu_of_children() - cpu)

    def run(self, case: tuple[str, str, bool, bool]) -> None:
        name, kind, changes, removes = case
        if changes:
            self.change()
        if removes:
            (self.top / f"disk.{kind}").unlink()
        took = self.build(kind)
        self.best[name] = Took(*map(min, took, self.best.get(name, took)))


def main() -> None:
    revision = sys.argv[1] if len(sys.argv) > 1 else "HEAD"
    loads = []
    with store_of_our_own(Path(tempfile.gettempdir())) as top, checked_out(revision, top) as sources:
        sides = [Side("now", PROJECT, top), Side("before", sources, top)]
        for side in sides:
            print(f"{side.name}: first build {side.build('raw').elapsed:.0f} s")
            side.build("qcow2")
        for _ in range(ROUNDS):
            loads.append(os.getloadavg()[0])
            for case in CASES:
                for side in sides:
                    side.run(case)
        now, before = sides
        now.change()
        now.build("raw", "--profile", str(Path(PROFILE).absolute()))
    for name, took in now.best.items():
        was = before.best[name]
        print(
            f"{name}: {took.elapsed:.2f} s, before {was.elapsed:.2f} s: {was.elapsed / took.elapsed:.2f}; "
            f"of CPU {took.cpu:.2f} s, before {was.cpu:.2f} s: {was.cpu / took.cpu:.2f}"
        )
    print(
        f"load of this machine, which has {os.cpu_count()} processors: {', '.join(f'{x:.1f}' for x in loads)}"
    )


if __name__ == "__main__":
    main()
