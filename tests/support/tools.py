"""The programs of tools/ as modules; their names have no suffix, and may have dashes. And what one of them reads: the
modules of dibo."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from functools import cache
from types import ModuleType
from typing import Any

from tests.support.markdown import PROJECT


def load_tool(name: str) -> ModuleType:
    """tools/NAME as a module."""
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(PROJECT / "tools" / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


@cache
def modules() -> tuple[Any, ...]:
    """The modules of dibo, parsed once for all tests that look at them: `path` below the package, `text` and `tree`."""
    return tuple(load_tool("measure-house").read_modules(PROJECT))
