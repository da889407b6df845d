"""What a layer costs beyond its hook: dibo beside `buildah build --layers` doing the same RUNs; what the sandbox costs
beside the isolation chroot, which shuts nothing off; and a cached build.

Usage: python bench/layers.py [NUMBER]. Uses a container store of its own, which it removes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BUSYBOX = "/bin/busybox"
ROUNDS = 3
ENVIRONMENT = {**os.environ, "BUILDAH_ISOLATION": "chroot"}


def dibo_program(name: str) -> str:
    """The one beside this Python, else the one on PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name) or sys.exit(f"{name} is not installed")


def timed(argv: list[str], **environment: str) -> float:
    begun = time.monotonic()
    done = subprocess.run(
        argv, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")
    return time.monotonic() - begun


@contextlib.contextmanager
def store_of_our_own(parent: Path | None = None) -> Iterator[Path]:
    """A directory that goes away, in `parent` or at home, with a container store in it that buildah and dibo use."""
    top = Path(tempfile.mkdtemp(prefix="dibo-bench-", dir=parent or Path.home()))
    for name in ("data", "run"):
        (top / name).mkdir(mode=0o700)
    # Programs that are installed have their bytecode; these may not write it beside themselves.
    ENVIRONMENT["PYTHONPYCACHEPREFIX"] = str(top / "bytecode")
    ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)
    # Rootless storage goes by XDG_DATA_HOME, root's by a file.
    ENVIRONMENT.update(XDG_DATA_HOME=str(top / "data"), XDG_RUNTIME_DIR=str(top / "run"))
    if os.geteuid() == 0:
        (top / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{top}/data/graph"\nrunroot = "{top}/run/graph"\n'
        )
        ENVIRONMENT["CONTAINERS_STORAGE_CONF"] = str(top / "storage.conf")
    else:
        ENVIRONMENT["STORAGE_DRIVER"] = "overlay"
    try:
        yield top
    finally:
        enter = [] if os.geteuid() == 0 else ["buildah", "unshare"]
        subprocess.run([*enter, "rm", "-rf", str(top)], env=ENVIRONMENT, check=False)


def small_root(path: Path) -> None:
    """A root of busybox alone, static: enough for the runner and for hooks of one line."""
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    with tarfile.open(path, "w") as tar:
        for name in (
            "bin",
            "etc",
            "mnt",
            "tmp",
            "run",
            "var",
            "var/lib",
            "dev",
            "proc",
            "sys",
            "root",
            "usr",
            "usr/sbin",
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        tar.add(BUSYBOX, "bin/busybox")
        for applet in applets:
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)


def by_isolation(build: list[str]) -> dict[str, float]:
    """Seconds that the same build takes with each isolation: the best of some rounds, in turns."""
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for isolation in ("bwrap", "chroot"):
            took = timed([*build, "--isolation", isolation])
            best[isolation] = min(took, best.get(isolation, took))
    return best


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    dibo = dibo_program("dibo")
    with store_of_our_own() as top:
        small_root(top / "root.tar")
        names = [f"layer{n:02}" for n in range(number)]
        for name in names:
            hook = top / "flavours" / name / "install.d" / f"{name[5:]}-touch"
            hook.parent.mkdir(parents=True)
            hook.write_text(f"#!/bin/sh\necho {time.time_ns()} > /{name}\n")
            hook.chmod(0o755)
        common = [*("--no-base", "--base", str(top / "root.tar"), "--flavours-path", str(top / "flavours"))]
        common += ["--cache-dir", str(top / "cache")]
        timed([dibo, "build", *common, names[0]])  # the base is in the store afterwards
        ours = timed([dibo, "build", *common, "--refresh", *names])
        cached = timed([dibo, "build", *common, *names])
        lines = [
            "FROM scratch",
            "ADD root.tar /",
            *(f"RUN echo {time.time_ns()} > /{name}" for name in names),
        ]
        (top / "Containerfile").write_text("\n".join(lines) + "\n")
        tag = f"localhost/dibo-bench:{os.getpid()}"
        (top / "Base").write_text("FROM scratch\nADD root.tar /\n")
        timed(["buildah", "build", "--layers", "-f", str(top / "Base"), "-t", f"{tag}-base", str(top)])
        theirs = timed(["buildah", "build", "--layers", "-t", tag, str(top)])
        again = timed(["buildah", "build", "--layers", "-t", tag, str(top)])
        isolated = by_isolation([dibo, "build", *common, "--refresh", *names])
        start = min(timed([dibo, "--version"]) for _ in range(5))
    each = (ours - theirs) / number
    print(f"{number} trivial layers: dibo / buildah build --layers = {ours / theirs:.2f}")
    print(f"  beyond buildah: {each:+.3f} s a layer (wanted: at most 0.5)")
    sandbox = (isolated["bwrap"] - isolated["chroot"]) / number
    print(
        f"the sandbox beside isolation chroot: {isolated['bwrap']:.2f} s, {isolated['chroot']:.2f} s: "
        f"{1000 * sandbox:+.0f} ms a step (wanted: at most 50)"
    )
    print(
        f"all cached: dibo / buildah build --layers = {cached / again:.2f}; dibo took {cached:.2f} s (wanted: under 1)"
    )
    print(f"dibo --version: {start:.3f} s (wanted: under 0.2)")


if __name__ == "__main__":
    main()
