"""The elements of diskimage-builder, out of its wheel, as input and as an oracle of tests.

Its programs have names that dibo's have too, so it is never installed beside dibo but unpacked into a directory of its
own, by `make setup-check` or by the command in HOW. Tests that need it are skipped where it is missing, and say so.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

RELEASE = "3.43.0"
PACKAGE = Path(sys.prefix) / "diskimage-builder" / "diskimage_builder"
HOW = f"pip install --no-deps --target {PACKAGE.parent} diskimage-builder=={RELEASE}"

needs_wheel = pytest.mark.skipif(
    not PACKAGE.is_dir(), reason=f"the elements of diskimage-builder are not unpacked; {HOW}"
)
"""Marks a test that reads them."""


def elements() -> Path:
    """The directory of its elements."""
    return PACKAGE / "elements"


def load_program(path: str, name: str) -> ModuleType:
    """A Python program of an element, as a module whose functions a test calls."""
    if str(PACKAGE.parent) not in sys.path:
        sys.path.append(str(PACKAGE.parent))
    loader = SourceFileLoader(name, str(elements() / path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
