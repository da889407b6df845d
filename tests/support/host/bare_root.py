"""A root file system that holds Python, dibo and nothing else: no shell, no program, no /proc, no /dev, no users."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from dibo.system import process
from tests.support.host.installed_dibo import installed_dibo

_NOT_NEEDED = ("test", "idlelib", "ensurepip", "tkinter", "lib2to3", "turtledemo", "pip", "pip-*", "config-*")


def make(root: Path) -> list[str]:
    """Fill an empty directory; the argv that runs `dibo` in it."""
    programs = installed_dibo()
    environment = programs.parent
    python = (programs / "python").resolve()
    _copy(python, root)
    copied = [python]
    for directory in (_standard_library(python), environment):
        target = root / directory.relative_to("/")
        if directory == environment:
            ignore = shutil.ignore_patterns(*_NOT_NEEDED, "__pycache__")
        else:
            ignore = shutil.ignore_patterns(*_NOT_NEEDED, "dist-packages", "site-packages", "__pycache__")
        shutil.copytree(directory, target, symlinks=True, ignore=ignore)
        copied += directory.rglob("*.so*")
    for program in (target for target in (root / programs.relative_to("/")).iterdir() if target.is_file()):
        if program.name not in ("dibo", "pyvenv.cfg") and not program.is_symlink():
            program.unlink()
    for library in _libraries(copied):
        _copy(library, root)
    link = root / "usr" / "bin" / "python3"
    if not link.exists():
        link.symlink_to(python)
    (root / "nothing").mkdir()
    return [str(programs / "python"), "-I", str(programs / "dibo")]


def _standard_library(python: Path) -> Path:
    said = process.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"], capture=True
    )
    return Path(said.stdout.strip())


def _libraries(files: list[Path]) -> set[Path]:
    """What ld.so loads for these files."""
    found: set[Path] = set()
    said = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True).stdout
    for line in said.splitlines():
        found |= {Path(word) for word in line.split() if word.startswith("/") and not word.endswith(":")}
    return {path for path in found if path.is_file()}


def _copy(path: Path, root: Path) -> None:
    """Copy a file to where it is, with what is there a link being a file."""
    target = root / path.relative_to("/")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
