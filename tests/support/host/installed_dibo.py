"""dibo as people install it: the wheel in a virtual environment, away from the checkout, open to every user.

Root runs tests as somebody else, who can read neither root's Python nor root's checkout. What is installed here also
proves that the wheel carries flavours, containerfiles and converters.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dibo.system import process
from tests.support.timeouts import TIMEOUT

PROJECT = Path(__file__).resolve().parents[3]
_CARRIED = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "dibo",
    "flavours",
    "containerfiles",
    "converters",
    "share",
)

_KEPT_SECONDS = 24 * 3600


@functools.cache
def installed_dibo() -> Path:
    """The directory of programs of that environment. It is made once for each state of the checkout, and kept in the
    system's temporary directory, since a wheel with its dependencies takes a quarter of a minute."""
    place = Path(tempfile.gettempdir()) / f"dibo-installed-{os.geteuid()}-{_state()}"
    with _alone():
        if not (place / "done").exists():
            for old in place.parent.glob(f"dibo-installed-{os.geteuid()}-*"):
                if time.time() - old.stat().st_mtime > _KEPT_SECONDS:  # younger ones may be in use
                    shutil.rmtree(old)
            if place.exists():  # somebody was interrupted
                shutil.rmtree(place)
            _install(place)
    return place / "venv" / "bin"


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Tests run side by side (Makefile); whoever comes second waits until it is made."""
    with (Path(tempfile.gettempdir()) / f"dibo-installed-{os.geteuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(place: Path) -> None:
    source = place / "source"
    source.mkdir(parents=True, mode=0o755)
    for name in _CARRIED:
        path = PROJECT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
        else:
            shutil.copy(path, source / name)
    python = "/usr/bin/python3" if os.geteuid() == 0 and Path("/usr/bin/python3").exists() else sys.executable
    process.run([python, "-m", "venv", str(place / "venv")], options=process.ProcessOptions(timeout=TIMEOUT))
    pip = str(place / "venv" / "bin" / "pip")
    process.run(
        [pip, "install", "--quiet", f"{source}[dask,watch]"], options=process.ProcessOptions(timeout=TIMEOUT)
    )
    shutil.rmtree(source)
    process.run(["chmod", "-R", "a+rX", str(place)])
    (place / "done").touch()


def _state() -> str:
    """A digest of all that the wheel is made of."""
    digest = hashlib.sha256()
    for name in _CARRIED:
        top = PROJECT / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                mode = path.stat().st_mode & 0o111
                digest.update(f"{path.relative_to(PROJECT)}\0{mode}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
