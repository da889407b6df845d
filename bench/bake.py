"""Eight small images of Debian baked together, beside eight builds one after the other.

Usage: python bench/bake.py [JOBS]. Takes some minutes and a Debian mirror. The base is built once, before, and its time
counts for each side. Layers are cold: each side has flavours of its own. The eight builds have one store, in which each
finds what those before it built; what they would take on eight runners that start from nothing is estimated from the
base and the first of them. Then one hook changes.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from layers import dibo_program, store_of_our_own, timed

COMMON = "python3-minimal"
PACKAGES = ("bc", "jq", "less", "lsof", "nano", "pv", "time", "tree")
ALONE, BAKED = "alone", "baked"


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


def one_by_one(top: Path, common: list[str]) -> list[float]:
    """Seconds of each build."""
    (top / ALONE).mkdir(exist_ok=True)
    argv = [dibo_program("disk-image-create"), "--base", "debian", "--no-base", "-t", "raw", *common]
    argv += ["--flavours-path", str(top / "flavours")]
    return [timed([*argv, "-o", str(top / ALONE / name), f"{ALONE}-{name}"]) for name in PACKAGES]


def main() -> None:
    loads = []
    with store_of_our_own() as top:
        project = write_project(top)
        jobs = ["-j", sys.argv[1]] if len(sys.argv) > 1 else []
        common = ["--cache-dir", str(top / "cache"), "--epoch", f"bench-{int(time.time())}"]
        build = [dibo_program("dibo"), "build", "--base", "debian", "--no-base", *common]
        base = timed([*build, "--flavours-path", str(top / "flavours"), "only-base"])
        bake = [dibo_program("dibo"), "bake", "--project", str(project), *common, *jobs]
        loads.append(os.getloadavg()[0])
        alone = one_by_one(top, common)
        loads.append(os.getloadavg()[0])
        together = timed(bake)
        loads.append(os.getloadavg()[0])
        for side in (ALONE, BAKED):
            hook(top / "flavours", f"{side}-{PACKAGES[3]}", "echo changed > /etc/own")
        again, together_again = sum(one_by_one(top, common)), timed(bake)
        loads.append(os.getloadavg()[0])
        nothing = timed(bake)
    cold = (base + sum(alone)) / (base + together)
    print(f"eight images, cold: one after the other / baked together = {cold:.2f} (wanted: 2.5)")
    print(
        f"  base {base:.0f} s; without it {sum(alone):.0f} s / {together:.0f} s = {sum(alone) / together:.2f}"
    )
    runners = 8 * (base + alone[0]) / (base + together)
    print(f"  eight runners that start from nothing, estimated / baked together = {runners:.2f}")
    print(
        f"one hook changed: one after the other / baked together = {again / together_again:.2f} (wanted: 6)"
    )
    print(f"  {again:.1f} s, baked {together_again:.1f} s; with nothing changed, baked {nothing:.1f} s")
    print(
        f"  load of this machine, which has {os.cpu_count()} processors: {', '.join(f'{load:.1f}' for load in loads)}"
    )


if __name__ == "__main__":
    main()
