"""Eight small images of Debian: mkosi, one after the other, beside `dibo bake`.

Usage: python bench/mkosi.py [JOBS]. Takes a quarter of an hour, a Debian mirror, mkosi 14 (Debian's) and root, without
which that mkosi does nothing. Both have the packages and the hook of bake.py. mkosi makes a disk with a root of 3 GB
(--format gpt_ext4, not bootable), downloads each package once (--cache) and keeps each image as it was before its
hook (--incremental). Cold is without any of this; then the hook of one image changes, which is that image alone on
both sides, and all eight, as a build farm asks for that does not know which has changed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bake import CHANGED, COMMON, PACKAGES, Sides, cost_of, hook, show
from layers import store_of_our_own, timed


class Mkosi:
    """Its images, each in a directory of its own, and the packages that they share."""

    def __init__(self, top: Path) -> None:
        self._top = top / "mkosi"
        (self._top / "cache").mkdir(parents=True)
        for name in PACKAGES:
            hook(self._top, name, f"echo {name} > /etc/own")

    def build(self, *names: str) -> None:
        for name in names:
            place = self._top / name
            script = place / "install.d" / "50-hook"
            argv = ["mkosi", "--directory", str(place), "--cache", str(self._top / "cache"), "--incremental"]
            argv += ["--distribution", "debian", "--release", "bookworm"]
            argv += ["--format", "gpt_ext4", "--root-size", "3G", "--nspawn-keep-unit", "--force"]
            argv += ["--package", COMMON, "--package", name, "--postinst-script", str(script)]
            timed([*argv, "--output", f"{name}.raw", "build"])

    def build_all(self) -> None:
        self.build(*PACKAGES)

    def change(self) -> None:
        hook(self._top, CHANGED, f"echo changed {time.time_ns()} > /etc/own")


def main() -> None:
    with store_of_our_own() as top:
        sides, other = Sides(top, ["-j", sys.argv[1]] if len(sys.argv) > 1 else []), Mkosi(top)
        print("eight images: mkosi, one after the other / baked together")

        def from_nothing() -> None:
            sides.base()
            sides.bake()

        show("cold", (cost_of(other.build_all), cost_of(from_nothing)))
        other.change()
        sides.change()
        one = cost_of(lambda: other.build(CHANGED))
        other.change()
        everything = cost_of(other.build_all)
        baked = cost_of(sides.bake)
        show("one hook changed, that image", (one, baked))
        show("one hook changed, all eight", (everything, baked))


if __name__ == "__main__":
    main()
