"""diskimage-builder's own tests of dependencies (its tests/test_elementdeps.py), against dibo's resolver.

The tests run as they are; their module under test is one of wrappers around dibo's.
"""

from __future__ import annotations

import logging
import os
import sys
import types
import unittest
from pathlib import Path
from typing import Any

import pytest

from dibo.elements.loader import ElementCatalogue
from dibo.elements.model import Element
from dibo.elements.resolve import AlreadyProvided, NoOperatingSystem, resolve
from dibo.errors import UnknownFlavour, UsageError
from tests.support.dib import needs_wheel, source_of_test

TESTS = 18
"""How many there are in release 3.43.0."""


def _elements(names: list[str], paths: str | None = None) -> list[Element]:
    path = paths or _elements_dir()
    catalogue = ElementCatalogue(Path(entry) for entry in path.split(":"))
    try:
        return list(resolve(names, catalogue.get, exists=catalogue.__contains__))
    except AlreadyProvided as error:
        logging.getLogger("dibo").error("%s", error.message)  # noqa: TRY400 (as they log it)
        raise


def _elements_dir() -> str:
    if not os.environ.get("ELEMENTS_PATH"):
        raise UsageError("ELEMENTS_PATH must be set")
    return os.environ["ELEMENTS_PATH"]


def _module_under_test() -> Any:
    module: Any = types.ModuleType("diskimage_builder.element_dependencies")
    module.MissingElementException = UnknownFlavour
    module.AlreadyProvidedException = AlreadyProvided
    module.MissingOSException = NoOperatingSystem
    module.InvalidElementDir = UsageError
    module._get_elements = _elements
    module.get_elements = lambda names, paths=None: [
        (element.name, str(element.origin)) for element in _elements(names, paths)
    ]
    module.expand_dependencies = lambda names, paths: {element.name for element in _elements(names, paths)}
    module._output_env_vars = lambda elements: None  # dibo prints no shell
    module._get_elements_dir = _elements_dir
    return module


@needs_wheel
def test_their_tests_of_dependencies_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    package: Any = types.ModuleType("diskimage_builder")
    package.element_dependencies = _module_under_test()
    monkeypatch.setitem(sys.modules, "diskimage_builder", package)
    monkeypatch.setitem(sys.modules, "diskimage_builder.element_dependencies", package.element_dependencies)
    theirs = types.ModuleType("test_elementdeps")
    theirs.__file__ = __file__
    exec(compile(source_of_test("tests/test_elementdeps.py"), "test_elementdeps.py", "exec"), theirs.__dict__)
    suite = unittest.defaultTestLoader.loadTestsFromModule(theirs)
    result = unittest.TestResult()
    suite.run(result)
    failures = [text for _, text in (*result.failures, *result.errors)]
    assert not failures, "\n".join(failures)
    assert result.testsRun == TESTS
