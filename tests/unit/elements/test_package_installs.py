"""package-installs.yaml, with the programs of the element package-installs as an oracle."""

from __future__ import annotations

import collections
import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.elements.package_installs import (
    ElementPackage,
    PackageRequest,
    PhasePackages,
    packages_by_phase,
    parse_legacy_packages,
    parse_package_installs,
    variables_read,
)
from dibo.errors import FlavourError
from tests.support import dib
from tests.support.dib import needs_wheel

ARCHITECTURE = {"ARCH": "amd64"}


def parsed(text: str, element: str = "web") -> tuple[PackageRequest, ...]:
    return parse_package_installs(text, element=element, origin=f"{element}/package-installs.yaml")


def names(requests: tuple[PackageRequest, ...], **environment: str) -> dict[str, tuple[list[str], list[str]]]:
    return {
        phase: ([p.name for p in packages.installs], [p.name for p in packages.removals])
        for phase, packages in packages_by_phase(requests, ARCHITECTURE | environment).items()
    }


def test_each_key() -> None:
    requests = parsed(
        """
        vim:
        gcc: {phase: pre-install.d, build-only: True}
        nano: {uninstall: True}
        kept: {uninstall: False}
        late: {phase: post-install.d}
        from-source: {installtype: source}
        from-package: {installtype: package}
        here: {arch: "arm64, amd64"}
        there: {arch: "arm64, ppc64le"}
        not-here: {not-arch: "arm64, amd64"}
        not-there: {not-arch: "arm64 , ppc64le"}
        three: {dib_python_version: 3}
        two: {dib_python_version: 2}
        """
    )
    assert names(requests, DIB_PYTHON_VERSION="3") == {
        "pre-install.d": (["gcc"], ["gcc"]),
        "install.d": (["vim", "kept", "from-source", "here", "not-there", "three"], ["nano"]),
        "post-install.d": (["late"], []),
    }
    assert names(requests, DIB_INSTALLTYPE_web="package")["install.d"][0][2] == "from-package"
    assert names(requests, DIB_DEFAULT_INSTALLTYPE="package")["install.d"][0][2] == "from-package"


def test_conditions_are_joined_and_alternatives_are_judged_alone() -> None:
    requests = parsed(
        """
        linux:
          - {not-arch: arm64, when: KERNEL = linux}
          - arch: arm64
            when:
              - RELEASE!=xenial
              - KERNEL=linux
        other: {when: KERNEL != linux}
        """
    )
    assert names(requests, KERNEL="linux", RELEASE="noble") == {"install.d": (["linux"], [])}
    assert names(requests, KERNEL="other", RELEASE="noble") == {"install.d": (["other"], [])}
    assert names(requests, ARCH="arm64", KERNEL="linux", RELEASE="noble") == {"install.d": (["linux"], [])}
    assert names(requests, ARCH="arm64", KERNEL="linux", RELEASE="xenial") == {}


def test_a_variable_that_is_not_set_is_an_error_where_it_decides() -> None:
    requests = parsed("web: {arch: arm64, when: [A = 1, FLAG = 1]}")
    assert names(requests) == {}  # the architecture decides
    with pytest.raises(FlavourError, match="when: the variable FLAG is not set") as caught:
        names(requests, ARCH="arm64", A="1")
    assert caught.value.message.startswith("web/package-installs.yaml: web: ")
    assert "environment.d" in caught.value.hint


def test_what_one_element_wants_to_stay_is_not_removed() -> None:
    removing = parsed("gcc: {build-only: true}\nnano: {uninstall: true}", "builder")
    keeping = parsed("gcc:\nnano:", "user")
    for requests in ((*removing, *keeping), (*keeping, *removing)):
        (packages,) = packages_by_phase(requests, ARCHITECTURE).values()
        assert not packages.removals and not packages.build_only
        assert {package.element for package in packages.installs if package.name == "gcc"} == {
            "builder",
            "user",
        }
    elsewhere = parsed("gcc: {phase: pre-install.d}\nnano: {arch: arm64}", "user")
    assert names((*removing, *elsewhere))["install.d"] == (["gcc"], ["gcc", "nano"])


def test_build_only_packages_are_listed() -> None:
    (packages,) = packages_by_phase(parsed("gcc: {build-only: true}"), ARCHITECTURE).values()
    gcc = (ElementPackage(name="gcc", element="web"),)
    assert packages == PhasePackages(installs=gcc, removals=gcc, build_only=gcc)


def test_the_order_is_that_of_the_files() -> None:
    letters = "zyxwvutsrqponmlkjihgfedcba"
    requests = parsed("\n".join(f"{letter}:" for letter in letters))
    assert names(requests + requests)["install.d"] == (list(letters), [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[vim]", "expected a mapping of packages"),
        ("vim: [a]", "vim: expected nothing, a mapping or a list of mappings, got 'a'"),
        ("vim: {phases: install.d}", "vim: unknown key 'phases'; did you mean 'phase'"),
        ("vim: {phase: root.d}", "vim: phase: expected one of pre-install.d, install.d, post-install.d"),
        ("vim: {installtype: sources}", "vim: installtype: expected one of source, package"),
        ("vim: {uninstall: maybe}", "vim: uninstall: expected true or false, got 'maybe'"),
        ("vim: {arch: a, not-arch: b}", "vim: arch and not-arch exclude each other"),
        ("vim: {arch: {a: b}}", "vim: arch: expected"),
        ("vim: {when: A > 1}", "vim: when: expected VARIABLE = value"),
        ("vim: {when: [1]}", "vim: when: expected VARIABLE = value"),
        ("--force: ", "--force: expected the name of a package"),
        ("'a b': ", "a b: expected the name of a package"),
        ("7: ", "7: expected the name of a package"),
        ("vim: {", "web/package-installs.yaml:1: "),
        ("vim: \nvim: ", "the key 'vim' stands there twice"),
    ],
)
def test_invalid_files(text: str, message: str) -> None:
    with pytest.raises(FlavourError) as caught:
        parsed(text)
    assert message in caught.value.message and caught.value.message.startswith("web/package-installs.yaml:")


def test_json_and_empty_files() -> None:
    text = '{\n\t"libxml2": null,\n\t"grub2": {"phase": "pre-install.d"}}'
    assert names(parsed(text)) == {"pre-install.d": (["grub2"], []), "install.d": (["libxml2"], [])}
    assert parsed("# nothing\n") == ()


def test_older_text_files() -> None:
    text = "# comment\n\nvim\n  gcc  \n-build-essential\n"
    requests = parse_legacy_packages(text, element="web", phase="install.d", origin="f")
    assert names(requests) == {"install.d": (["vim", "gcc", "build-essential"], ["build-essential"])}
    with pytest.raises(FlavourError, match=r"^f:2: expected the name of a package, got 'a b'"):
        parse_legacy_packages("vim\na b\n", element="web", phase="install.d", origin="f")


def test_variables_that_decide() -> None:
    text = "a: {when: [X = 1, Y != 2]}\nb: {installtype: source}\nc: {dib_python_version: 3}"
    assert variables_read(parsed(text, "my-web")) == (
        *("ARCH", "DIB_DEFAULT_INSTALLTYPE", "DIB_INSTALLTYPE_my_web", "DIB_PYTHON_VERSION", "X", "Y"),
    )
    assert variables_read(parsed("a:")) == ("ARCH",)


@pytest.fixture(scope="module")
def squash() -> Callable[..., Any]:
    """collect_data of the element's own program."""
    program = dib.load_program("package-installs/bin/package-installs-squash", "installs_squash")
    return program.collect_data  # type: ignore[no-any-return]


KEYS = st.fixed_dictionaries(
    {},
    optional={
        "phase": st.sampled_from(["pre-install.d", "install.d", "post-install.d"]),
        "installtype": st.sampled_from(["source", "package"]),
        "arch": st.sampled_from(["amd64", "arm64,amd64", "arm64"]),
        "dib_python_version": st.sampled_from([2, 3]),
        "when": st.sampled_from(["A=1", "A != 1", ["A = 1", "B = 2"], ["A=1", "B!=2"]]),
    },
)
FILES = st.lists(
    st.dictionaries(
        st.sampled_from(["vim", "gcc", "nano"]),
        st.one_of(st.none(), KEYS, st.lists(KEYS, max_size=3)),
        max_size=3,
    ),
    min_size=1,
    max_size=3,
)


@needs_wheel
@given(files=FILES, installtype=st.sampled_from(["source", "package"]), python=st.sampled_from(["2", "3"]))
def test_filters_are_those_of_the_program(
    squash: Callable[..., Any], files: list[dict[str, Any]], installtype: str, python: str
) -> None:
    environment = {
        "ARCH": "amd64",
        "A": "1",
        "B": "2",
        "DIB_DEFAULT_INSTALLTYPE": installtype,
        "DIB_PYTHON_VERSION": python,
    }
    data: Any = collections.defaultdict(functools.partial(collections.defaultdict, list))
    requests: list[PackageRequest] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.environ", environment)
        for number, file in enumerate(files):
            data = squash(data, file, f"e{number}")
            requests += parsed(json.dumps(file), f"e{number}")
    expected = {
        phase: sorted(set(operations["install"]))
        for phase, operations in data.items()
        if operations["install"]
    }
    found = {
        phase: sorted((package.name, package.element) for package in packages.installs)
        for phase, packages in packages_by_phase(requests, environment).items()
    }
    assert found == expected


REMOVING = st.sampled_from([{}, {"uninstall": True}, {"build-only": True}])


@needs_wheel
@given(files=st.lists(st.dictionaries(st.sampled_from(["vim", "gcc"]), REMOVING), min_size=1, max_size=4))
def test_removals_are_those_of_the_program(squash: Callable[..., Any], files: list[dict[str, Any]]) -> None:
    data: Any = collections.defaultdict(functools.partial(collections.defaultdict, list))
    requests: list[PackageRequest] = []
    for number, file in enumerate(files):
        data = squash(data, file, f"e{number}")
        requests += parsed(json.dumps(file), f"e{number}")
    packages = packages_by_phase(requests, ARCHITECTURE).get("install.d", PhasePackages())
    assert {package.name for package in packages.removals} == {
        name for name, _ in data["install.d"]["uninstall"]
    }
    assert {package.name for package in packages.installs} == {
        name for name, _ in data["install.d"]["install"]
    }


@needs_wheel
def test_files_of_all_elements_can_be_read() -> None:
    files = sorted(dib.elements().glob("*/package-installs.*"))
    assert len(files) > 50
    for path in files:
        assert parse_package_installs(path.read_text(), element=path.parent.name, origin=str(path))
