"""diskimage-builder's own `disk-image-create`, from the wheel, as root.

It makes mounts and loop devices. The mounts live in a mount namespace of their own and die with its processes, which
die with the command; loop devices whose file is below the directory are detached at the end, whatever happened.

    programs/    stand-ins that come first on its PATH: an fstrim that does nothing, for kernels that cannot
    venv/        diskimage-builder with what it needs
    home/        downloads that it keeps
    build/       where it builds
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.build.bases.mirror import archives_of, sources
from tests.support import dib
from tests.support.requirements import need, unmet

PROGRAMS: Final = (
    "sudo",
    "kpartx",
    "losetup",
    "mmdebstrap",
    "debootstrap",
    "unshare",
    "mkfs.ext4",
    "qemu-img",
)
LIMIT: Final = 3600.0
"""Seconds that a build may take: it is there for what never ends."""
_ALONE: Final = (
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DibEngine:
    directory: Path

    def build(self, name: str, elements: Sequence[str], environment: Mapping[str, str]) -> Path:
        """`name`.tar of the elements, without `base`. Raises AssertionError with the end of its output."""
        target = self.directory / name
        argv = ["disk-image-create", "-n", "-t", "tar", "-o", str(target), *elements]
        with (self.directory / f"{name}.log").open("w+b") as log:
            done = subprocess.run(
                [*_ALONE, *argv],
                env={**self._environment(), **environment},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=LIMIT,
                check=False,
            )
            log.seek(max(0, log.tell() - 4000))
            assert done.returncode == 0, log.read().decode(errors="replace")
        return target.with_name(f"{name}.tar")

    def _environment(self) -> dict[str, str]:
        path = (self.directory / "programs", self.directory / "venv" / "bin")
        return {
            "PATH": ":".join([*map(str, path), "/usr/sbin:/usr/bin:/sbin:/bin"]),
            "HOME": str(self.directory / "home"),
            "USER": "root",
            "LC_ALL": "C.UTF-8",
            "TMP_DIR": str(self.directory / "build"),
            "DIB_NO_TMPFS": "1",
            "DIB_NO_TIMESTAMP": "1",
            "OVERWRITE_OLD_IMAGE": "1",
        }


@contextlib.contextmanager
def dib_engine() -> Iterator[DibEngine]:
    """The engine in a new directory, which goes away; what it needs and is not here skips the test."""
    if os.geteuid() != 0:
        unmet("diskimage-builder builds as root alone: NOTHING was compared with it")
    need(*PROGRAMS)
    wheel = dib.wheel()
    if wheel is None:
        unmet(f"{dib.WHEEL} is missing: remove .venv and run `make setup`; NOTHING was compared with it")
    directory = Path(tempfile.mkdtemp(prefix="dibo-beside-", dir="/var/tmp"))
    try:
        for name in ("programs", "home", "build"):
            (directory / name).mkdir()
        fstrim = directory / "programs" / "fstrim"
        fstrim.write_text("#!/bin/sh\n")
        fstrim.chmod(0o755)
        python = "/usr/bin/python3"
        subprocess.run([python, "-m", "venv", directory / "venv"], check=True, capture_output=True)
        pip = directory / "venv" / "bin" / "pip"
        subprocess.run([pip, "install", "--quiet", wheel], check=True, capture_output=True, timeout=LIMIT)
        yield DibEngine(directory=directory)
    finally:
        detach_below(directory)
        shutil.rmtree(directory)


def detach_below(directory: Path) -> None:
    """Detach loop devices whose file is, or was, below the directory."""
    columns = ["losetup", "--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"]
    for line in subprocess.run(columns, check=True, capture_output=True, text=True).stdout.splitlines():
        device, _, file = line.partition(" ")
        if file.startswith(f"{directory}/"):
            subprocess.run(["losetup", "--detach", device], check=True)


def mirrors(release: str) -> dict[str, str]:
    """Variables that say where Debian's packages are taken from: as this machine's apt does, if it knows the release,
    else from Debian itself."""
    addresses = {one.suite: one.address for one in archives_of(release, None)}
    addresses |= {one.suite: one.address for one in archives_of(release, sources(release, mirror=None))}
    return {
        "DIB_DISTRIBUTION_MIRROR": addresses[release],
        "DIB_DEBIAN_SECURITY_MIRROR": addresses[f"{release}-security"],
    }
