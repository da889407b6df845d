"""Tests of an image: what is booted how, and which steps are expected to pass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from dibo.flavours.located_yaml import YamlKind
from dibo.projects import keys
from dibo.projects.entry import ProjectEntry
from dibo.projects.model import BootOptions, ProjectTest, TestStep

_LAST_PORT = 65535
_MOST = 10**9
DEFAULT_TEST = "boot"
"""The name of the test whose steps stand directly under `tests`."""


def boot_options(entries: Iterable[ProjectEntry]) -> BootOptions:
    """Those of all `entries`, of which later ones count more. Raises ProjectError."""
    boot = BootOptions()
    for entry in entries:
        boot = _changed(boot, entry.mapping(keys.BOOT_KEYS))
    return boot


def _changed(boot: BootOptions, given: Mapping[str, ProjectEntry]) -> BootOptions:
    words = {"firmware": keys.FIRMWARE, "machine": keys.MACHINES, "network": keys.GUEST_NETWORKS}
    values: dict[str, object] = {}
    for key, entry in given.items():
        if key in words:
            values[key] = entry.word(words[key])
        elif key in ("cpus", "memory", "timeout"):
            values[key] = _count(entry)
        elif key == "ports":
            values[key] = tuple(_port(item) for item in entry.items())
        else:
            values[key] = entry.text()
    return replace(boot, **values)  # type: ignore[arg-type]


def _count(entry: ProjectEntry) -> int:
    number = int(entry.number("a whole number of 1 or more"))
    if not 1 <= number <= _MOST:
        entry.fail(f"expected a whole number from 1 to {_MOST}, got {number}")
    return number


def _port(entry: ProjectEntry) -> str:
    expected = "a port, such as 80 or 8080:80/tcp"
    if entry.kind is YamlKind.INTEGER and not entry.value.text.isdecimal():
        entry.fail_kind(expected)  # 22:22, which is a number of base 60
    text = entry.value.text if entry.kind is YamlKind.INTEGER else entry.text(keys.PORT, expected)
    *here, guest = map(int, text.partition("/")[0].split(":")[-2:])
    if not 0 < guest <= _LAST_PORT or here > [_LAST_PORT]:
        entry.fail(f"{text!r}: ports are numbers from 1 to {_LAST_PORT}")
    return text


def tests_of(entries: Iterable[ProjectEntry], boot: BootOptions) -> tuple[ProjectTest, ...]:
    """Steps that stand directly in the lists are one test, the first. Raises ProjectError."""
    steps: list[TestStep] = []
    tests: dict[str, ProjectTest] = {}
    for entry in entries:
        for item in entry.items():
            if item.at("steps") is None and item.at("name") is None:
                steps.append(_step(item))
                continue
            test = _test(item, boot)
            if test.name in tests or test.name == DEFAULT_TEST:
                item.fail(f"there is another test called {test.name}")
            tests[test.name] = test
    if not steps:
        return tuple(tests.values())
    first = ProjectTest(name=DEFAULT_TEST, steps=tuple(steps), boot=boot, position=steps[0].position)
    return (first, *tests.values())


def _test(entry: ProjectEntry, boot: BootOptions) -> ProjectTest:
    given = entry.mapping(keys.TEST_KEYS)
    for key in ("name", "steps"):
        if key not in given:
            entry.fail(f"the key {key} is missing", hint="a test has the keys name and steps")
    options = {key: value for key, value in given.items() if key in keys.BOOT_KEYS}
    steps = tuple(_step(item) for item in given["steps"].items())
    if not steps:
        given["steps"].fail("the list is empty")
    return ProjectTest(
        name=given["name"].text(keys.TEST_NAME, f"a name: {keys.NAME_TEXT}"),
        steps=steps,
        boot=_changed(boot, options),
        position=entry.position,
    )


def _step(entry: ProjectEntry) -> TestStep:
    given = entry.mapping(keys.STEP_KINDS)
    if len(given) != 1:
        entry.fail(f"expected one of {', '.join(keys.STEP_KINDS)}, got {len(given)} of them")
    ((kind, value),) = given.items()
    if kind == "wait":
        text = value.number("a number of seconds", whole=False)
        if float(text) > 86400:
            value.fail(f"expected at most 86400 seconds, got {text}")
    elif kind == "screenshot" and value.text().strip():
        text = str(value.local_path())
    else:
        text = value.text()
    if kind == "expect":
        try:
            re.compile(text, re.MULTILINE)
        except re.error as error:
            value.fail(
                f"{text!r} is no regular expression: {error}", hint="the syntax is that of Python's re"
            )
    if kind in ("run", "screenshot") and not text.strip():
        value.fail(f"the step {kind} is empty")
    return TestStep(kind=kind, value=text, position=entry.position)
