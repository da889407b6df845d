"""The elements of diskimage-builder itself: input of tests, never shipped.

`make` fetches the wheel where it makes .venv. Tests that need it are skipped without it, and fail where CI=true.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

WHEEL: Final = "diskimage_builder-3.43.0-py3-none-any.whl"
SDIST: Final = "diskimage_builder-3.43.0.tar.gz"
_OF_TESTS: Final = "diskimage_builder-3.43.0/tests/elements/"


def wheel() -> Path | None:
    """The wheel, where there is one."""
    path = Path(sys.prefix) / "test-inputs" / WHEEL
    return path if path.is_file() else None


def sdist() -> Path | None:
    """The source archive, where there is one."""
    path = Path(sys.prefix) / "test-inputs" / SDIST
    return path if path.is_file() else None


needs_wheel = pytest.mark.skipif(
    wheel() is None and os.environ.get("CI") != "true",
    reason=f"{WHEEL} is missing: remove .venv and run `make setup`; NOTHING of it was tested",
)


needs_sdist = pytest.mark.skipif(
    sdist() is None and os.environ.get("CI") != "true",
    reason=f"{SDIST} is missing: remove .venv and run `make setup`; NOTHING of it was tested",
)


def unpack_test_elements(target: Path) -> Path:
    """The directory of the elements that tests of diskimage-builder build, below `target` for everybody to read."""
    path = sdist()
    assert path is not None
    with tarfile.open(path) as archive:
        for member in archive:
            if not member.isfile() or not member.name.startswith(_OF_TESTS):
                continue
            written = target / member.name.removeprefix(_OF_TESTS)
            written.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            assert content is not None
            written.write_bytes(content.read())
            written.chmod(0o755 if member.mode & 0o111 else 0o644)
    return target


def unpack(target: Path) -> Path:
    """The directory of elements, unpacked below `target` for everybody to read, with executable files as they are."""
    path = wheel()
    assert path is not None
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            written = Path(archive.extract(member, target))
            mode = member.external_attr >> 16
            if written.is_file():
                written.chmod(0o755 if mode & 0o111 else 0o644)
    for directory, _, _ in os.walk(target):
        Path(directory).chmod(0o755)
    return target / "diskimage_builder" / "elements"


@cache
def source_of_test(name: str) -> str:
    """The text of a test of diskimage-builder's own."""
    path = wheel()
    assert path is not None
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"diskimage_builder/{name}").decode()


@cache
def package() -> Path:
    """The directory of the whole package, unpacked once in a process."""
    target = Path(tempfile.mkdtemp(prefix="dibo-dib-"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    return unpack(target).parent


def elements() -> Path:
    """The directory of its elements."""
    return package() / "elements"


def import_from() -> None:
    """Let this process import the package."""
    if str(package().parent) not in sys.path:
        sys.path.append(str(package().parent))


def load_program(path: str, name: str) -> ModuleType:
    """A Python program of an element, as a module whose functions a test calls."""
    import_from()
    loader = SourceFileLoader(name, str(elements() / path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
