"""Eight small images of Debian baked together, beside eight builds one after the other.

Usage: python bench/bake.py [JOBS]. Takes some minutes and a Debian mirror. All builds are cold: each side has an epoch
of its own. The eight builds have one store, in which each finds what those before it built; what they would take on
eight runners that start from nothing is estimated from the first of them, which does. Then one hook changes.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from layers import dibo_program, store_of_our_own, timed

COMMON = "python3-minimal"
PACKAGES = ("bc", "jq", "less", "lsof", "nano", "pv", "time", "tree")


def write_project(top: Path) -> Path:
    """Each image is a flavour with a package and a hook, on one that they share."""
    flavours = top / "flavours"
    hook(flavours, "common", "echo common > /etc/common")
    (flavours / "common" / "flavour.yaml").write_text(f"packages: [{COMMON}]\n")
    for name in PACKAGES:
        hook(flavours, name, f"echo {name} > /etc/own")
        (flavours / name / "flavour.yaml").write_text(f"needs: [common]\npackages: [{name}]\n")
    entries = "".join(f"  {name}: {{flavours: [{name}]}}\n" for name in PACKAGES)
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


def one_by_one(top: Path, epoch: str) -> list[float]:
    """Seconds of each build."""
    (top / "alone").mkdir(exist_ok=True)
    argv = [dibo_program("disk-image-create"), "--base", "debian", "--no-base", "-t", "raw", "--epoch", epoch]
    argv += ["--flavours-path", str(top / "flavours"), "--cache-dir", str(top / "cache")]
    return [timed([*argv, "-o", str(top / "alone" / name), name]) for name in PACKAGES]


def main() -> None:
    with store_of_our_own() as top:
        project = write_project(top)
        jobs = ["-j", sys.argv[1]] if len(sys.argv) > 1 else []
        bake = [
            dibo_program("dibo"),
            "bake",
            "--project",
            str(project),
            "--cache-dir",
            str(top / "cache"),
            *jobs,
        ]
        now = int(time.time())
        loads = [os.getloadavg()[0]]
        alone = one_by_one(top, f"alone-{now}")
        loads.append(os.getloadavg()[0])
        together = timed([*bake, "--epoch", f"baked-{now}"])
        loads.append(os.getloadavg()[0])
        hook(top / "flavours", PACKAGES[3], "echo changed > /etc/own")
        alone_again = one_by_one(top, f"alone-{now}")
        together_again = timed([*bake, "--epoch", f"baked-{now}"])
        loads.append(os.getloadavg()[0])
        nothing = timed([*bake, "--epoch", f"baked-{now}"])
    total, again = sum(alone), sum(alone_again)
    print(f"eight images, cold: one after the other / baked together = {total / together:.2f} (wanted: 2.5)")
    print(f"  {total:.0f} s, of which the first {alone[0]:.0f} s; baked {together:.0f} s")
    print(f"  eight runners that start from nothing, estimated / baked = {8 * alone[0] / together:.2f}")
    print(
        f"one hook changed: one after the other / baked together = {again / together_again:.2f} (wanted: 6)"
    )
    print(f"  {again:.1f} s, baked {together_again:.1f} s; with nothing changed, baked {nothing:.1f} s")
    print(
        f"  load of this machine, which has {os.cpu_count()} processors: {', '.join(f'{x:.1f}' for x in loads)}"
    )


if __name__ == "__main__":
    main()
