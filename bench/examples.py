"""The example projects, each baked together beside its images built one after the other.

Usage: python bench/examples.py [EXAMPLE ...]. Takes minutes for each, a Debian mirror, and busybox of this machine.
Each side begins with an empty store; a kit is made before, and its time is told apart. Tests are left out of both,
since they boot the same machines: with --tests the bake is done once more with them, and each boot is told.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml
from layers import ENVIRONMENT, dibo_program, small_root, store_of_our_own, timed

from dibo.projects.load import load_project

EXAMPLES = Path(__file__).parents[1] / "examples"
BASE = "localhost/busybox"


def copied(name: str, top: Path, *, tests: bool) -> Path:
    """The project file of a copy, which finds flavours beside it."""
    (top / ".git").mkdir(exist_ok=True)
    directory = top / ("with-tests" if tests else "without") / name
    shutil.copytree(EXAMPLES / name, directory)
    file = directory / "dibo.yaml"
    if not tests:
        document = yaml.safe_load(file.read_text())
        for image in document["images"].values():
            image.pop("tests", None)
        file.write_text(yaml.safe_dump(document, sort_keys=False))
    return file


def prepare(project: Path, top: Path, common: list[str]) -> float:
    """What README.md of the example makes before: seconds, 0 for nothing."""
    if not (project.parent / "application").is_dir():
        return 0.0
    small_root(top / "busybox.tar")
    script = (
        f'c=$(buildah from scratch) && buildah add --quiet "$c" {top}/busybox.tar / && '
        f'buildah commit --quiet --rm "$c" {BASE} && cd {project.parent} && '
        f"buildah build --quiet --build-arg BASE={BASE} --tag application application && "
        "buildah push --quiet application oci:application-image"
    )
    timed(["sh", "-c", script])
    kit = [dibo_program("dibo"), "build", "--kit", "metal", "--base", "debian"]
    return timed([*kit, "-o", str(project.parent / "kit"), *common])


def common_of(top: Path, epoch: str) -> list[str]:
    return ["--cache-dir", str(top / "cache"), "--epoch", epoch]


def alone(name: str, epoch: str) -> tuple[float, float]:
    """Seconds of the preparation, and of all images one after the other."""
    with store_of_our_own() as top:
        project = copied(name, top, tests=False)
        common = common_of(top, epoch)
        prepared = prepare(project, top, common)
        names = [image.name for image in load_project(project).images]
        build = [dibo_program("dibo"), "build", "--project", str(project), *common]
        return prepared, sum(timed([*build, image]) for image in names)


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    for name in words or ("web-server", "image-matrix", "bare-metal"):
        epoch = f"bench-{int(time.time())}"
        loads = [os.getloadavg()[0]]
        prepared, one_by_one = alone(name, epoch)
        loads.append(os.getloadavg()[0])
        with store_of_our_own() as top:
            project = copied(name, top, tests=False)
            common = common_of(top, epoch)
            prepare(project, top, common)
            bake = [dibo_program("dibo"), "bake", *common, "--project"]
            together = timed([*bake, str(project)])
            loads.append(os.getloadavg()[0])
            again = timed([*bake, str(project)])
            print(
                f"{name}: one after the other {one_by_one:.0f} s, baked {together:.0f} s "
                f"= {one_by_one / together:.2f}; with nothing changed {again:.1f} s"
                + (f"; its kit before {prepared:.0f} s" if prepared else "")
            )
            if "--tests" in sys.argv:
                boots(bake, name, top, project)
        print(
            f"  load of this machine, which has {os.cpu_count()} processors: "
            f"{', '.join(f'{load:.1f}' for load in loads)}",
            flush=True,
        )


def boots(bake: list[str], name: str, top: Path, project: Path) -> None:
    """Tell how long each test of the example takes."""
    tested = copied(name, top, tests=True)
    for made in ("kit", "application-image"):
        if (project.parent / made).is_dir():
            shutil.copytree(project.parent / made, tested.parent / made)
    done = subprocess.run(
        [*bake, str(tested), "--json"], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    for image in json.loads(done.stdout)["images"]:
        for test in image["tests"]:
            print(f"  {image['name']}: test {test['name']} {test['outcome']}, {test['took']:.0f} s")


if __name__ == "__main__":
    main()
