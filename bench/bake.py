"""Eight small images of Debian baked together, beside eight builds one after the other.

Usage: python bench/bake.py [JOBS]. Takes some minutes and a Debian mirror. The base is built once, before, and its time
counts for each side. Layers are cold: each side has flavours of its own. The eight builds have one store, in which each
finds what those before it built; what they would take on eight runners that start from nothing is estimated from the
base and the first of them. Then one hook changes, twice: artefacts stand where they were made, as at a desk, and the
directory is empty, as on a runner that has the layers alone.

Beside each time stand seconds of CPU. On two processors nothing ends before half of its own: the last column is the
ratio that no order of tasks could exceed.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from layers import dibo_program, store_of_our_own, timed

COMMON = "python3-minimal"
PACKAGES = ("bc", "jq", "less", "lsof", "nano", "pv", "time", "tree")
CHANGED = PACKAGES[3]
ALONE, BAKED = "alone", "baked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What something took: seconds from beginning to end, and of all processors together."""

    seconds: float
    cpu: float
    load: float
    """Of the machine, at the end."""


def cost_of(work: Callable[[], object]) -> Cost:
    begun, cpu = time.monotonic(), _cpu()
    work()
    return Cost(seconds=time.monotonic() - begun, cpu=_cpu() - cpu, load=os.getloadavg()[0])


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_project(top: Path) -> Path:
    """Each image is a flavour with a package and a hook, on one that they share; the same for each side."""
    flavours = top / "flavours"
    hook(flavours, "only-base", "true")
    for side in (ALONE, BAKED):
        hook(flavours, f"{side}-common", "echo common > /etc/common")
        (flavours / f"{side}-common" / "flavour.yaml").write_text(f"packages: [{COMMON}]\n")
        for name in PACKAGES:
            hook(flavours, f"{side}-{name}", f"echo {name} > /etc/own")
            text = f"needs: [{side}-common]\npackages: [{name}]\n"
            (flavours / f"{side}-{name}" / "flavour.yaml").write_text(text)
    entries = "".join(f"  {name}: {{flavours: [{BAKED}-{name}]}}\n" for name in PACKAGES)
    file = top / "dibo.yaml"
    file.write_text(
        "defaults: {base: debian, no-base: true, types: [raw], flavours-path: [flavours], destination: baked}\n"
        f"images:\n{entries}"
    )
    return file


def hook(flavours: Path, name: str, line: str) -> None:
    path = flavours / name / "install.d" / "50-hook"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


class Sides:
    """Both ways of building the same images."""

    def __init__(self, top: Path, jobs: list[str]) -> None:
        self._top = top
        self._common = ["--cache-dir", str(top / "cache"), "--epoch", f"bench-{int(time.time())}"]
        self._bake = [dibo_program("dibo"), "bake", "--project", str(write_project(top))]
        self._bake += [*self._common, *jobs]
        self._changes = 0

    def base(self) -> None:
        argv = [dibo_program("dibo"), "build", "--base", "debian", "--no-base", *self._common]
        timed([*argv, "--flavours-path", str(self._top / "flavours"), "only-base"])

    def build(self, *names: str) -> None:
        """One image after the other."""
        (self._top / ALONE).mkdir(exist_ok=True)
        argv = [dibo_program("disk-image-create"), "--base", "debian", "--no-base", "-t", "raw"]
        argv += [*self._common, "--flavours-path", str(self._top / "flavours")]
        for name in names:
            timed([*argv, "-o", str(self._top / ALONE / name), f"{ALONE}-{name}"])

    def build_all(self) -> None:
        self.build(*PACKAGES)

    def bake(self) -> None:
        timed(self._bake)

    def change(self) -> None:
        self._changes += 1
        for side in (ALONE, BAKED):
            hook(self._top / "flavours", f"{side}-{CHANGED}", f"echo changed {self._changes} > /etc/own")

    def remove_outputs(self) -> None:
        for side in (ALONE, BAKED):
            shutil.rmtree(self._top / side, ignore_errors=True)

    def both(self) -> tuple[Cost, Cost]:
        return cost_of(self.build_all), cost_of(self.bake)


def main() -> None:
    with store_of_our_own() as top:
        sides = Sides(top, ["-j", sys.argv[1]] if len(sys.argv) > 1 else [])
        base = cost_of(sides.base)
        first = cost_of(lambda: sides.build(PACKAGES[0]))
        others = cost_of(lambda: sides.build(*PACKAGES[1:]))
        cold = _sum(first, others), cost_of(sides.bake)
        sides.change()
        changed = sides.both()
        sides.change()
        sides.remove_outputs()
        changed_empty = sides.both()
        nothing = sides.both()
    print("eight images: one after the other / baked together")
    show("cold, with the base", (_sum(base, cold[0]), _sum(base, cold[1])), wanted="2.5")
    show("cold, without the base", cold)
    show("one hook changed, where artefacts stand", changed, wanted="6")
    show("one hook changed, in an empty directory", changed_empty)
    show(
        "one hook changed, alone in an empty directory, baked where they stand",
        (changed_empty[0], changed[1]),
    )
    show("nothing changed", nothing)
    runners = 8 * (base.seconds + first.seconds) / (base.seconds + cold[1].seconds)
    print(f"eight runners that start from nothing, estimated / baked together = {runners:.2f}")
    print(f"the machine has {os.cpu_count()} processors")


def _sum(*costs: Cost) -> Cost:
    return Cost(
        seconds=sum(cost.seconds for cost in costs),
        cpu=sum(cost.cpu for cost in costs),
        load=costs[-1].load,
    )


def show(what: str, sides: tuple[Cost, Cost], *, wanted: str = "") -> None:
    """The ratio, and how large it could be if all that is baked together ran on all processors all the time."""
    alone, baked = sides
    bound = alone.seconds / (baked.cpu / (os.cpu_count() or 1))
    texts = [f"{cost.seconds:.1f} s ({cost.cpu:.1f} s of CPU, load {cost.load:.1f})" for cost in sides]
    goal = f", wanted {wanted}" if wanted else ""
    print(
        f"  {what}: {' / '.join(texts)} = {alone.seconds / baked.seconds:.2f} (at most {bound:.2f}{goal})",
        flush=True,
    )


if __name__ == "__main__":
    main()
