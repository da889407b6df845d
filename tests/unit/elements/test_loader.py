"""Elements are found, read and put in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.elements.hooks import merge_hooks, scripts_of, sort_key
from dibo.elements.loader import ElementCatalogue, is_element
from dibo.elements.model import Element, ElementPhase
from dibo.elements.resolve import resolve
from dibo.errors import FlavourError, StackError, UnknownFlavour, UsageError


def write(directory: Path, name: str, **files: str) -> Path:
    """An element whose files are named by keywords: `__` for `/`, `_d_` for `.d/`; scripts are executable."""
    for path, text in {"README.rst": name, **files}.items():
        file = directory / name / path.replace("_d_", ".d/").replace("__", "/").replace("_", "-")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") else 0o644)
    return directory / name


def elements_of(directory: Path, *names: str) -> tuple[Element, ...]:
    catalogue = ElementCatalogue([directory])
    return resolve(names, catalogue.get, exists=catalogue.__contains__)


def test_each_stands_after_what_it_needs_in_the_order_of_the_request(tmp_path: Path) -> None:
    write(tmp_path, "os", element_provides="operating-system\n")
    write(tmp_path, "web", element_deps="tls\nnet\n")
    write(tmp_path, "tls", element_deps="net\n\n")
    write(tmp_path, "net", element_deps="web\n")  # a circle
    names = [element.name for element in elements_of(tmp_path, "os", "web")]
    assert names == ["os", "net", "tls", "web"]


def test_a_name_that_somebody_provides_later_is_no_missing_element(tmp_path: Path) -> None:
    write(tmp_path, "vm", element_deps="block-device\nboot\n")
    write(tmp_path, "boot", element_deps="gpt\n")
    write(tmp_path, "gpt", element_provides="block-device\noperating-system\n")
    assert [element.name for element in elements_of(tmp_path, "vm")] == ["gpt", "boot", "vm"]


def test_an_unknown_element_is_named_with_the_one_that_needs_it(tmp_path: Path) -> None:
    write(tmp_path, "os", element_provides="operating-system", element_deps="bass")
    write(tmp_path, "base")
    with pytest.raises(UnknownFlavour, match=r"'os' needs 'bass': .* did you mean 'base'"):
        elements_of(tmp_path, "os")


def test_the_first_directory_counts_and_one_that_is_none_is_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    write(first, "web", element_provides="operating-system")
    write(second, "web")
    catalogue = ElementCatalogue([first, second])
    assert catalogue.get("web").origin == first / "web"
    assert catalogue.get("web").provides == ("operating-system",)
    with pytest.raises(UsageError, match="'/nowhere' is not a directory"):
        ElementCatalogue([Path("/nowhere")])


def test_comments_in_lists_of_names_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "web", element_deps="# the network\nnet\n")
    with pytest.raises(FlavourError, match="no name of an element"):
        ElementCatalogue([tmp_path]).get("web")


def test_elements_beside_flavours_are_told_by_what_they_have(tmp_path: Path) -> None:
    element = write(tmp_path, "web", post_install_d_50_web="#!/bin/sh")
    flavour = write(tmp_path, "db", install_d_50_db="#!/bin/sh")
    assert is_element(element)
    assert not is_element(flavour)
    assert "web" in ElementCatalogue([], flavours_path=[tmp_path])
    assert "db" not in ElementCatalogue([], flavours_path=[tmp_path])


def test_tests_of_elements_are_no_part_of_them(tmp_path: Path) -> None:
    write(tmp_path, "web", tests__test_web="x", test_elements__a__element_deps="x", static__etc__web="x")
    assert [file.path for file in ElementCatalogue([tmp_path]).get("web").files] == [
        "README.rst",
        "static/etc/web",
    ]


def test_scripts_run_by_number_then_by_name_whatever_element_they_are_of(tmp_path: Path) -> None:
    write(tmp_path, "a", install_d_100_x="#!/bin/sh", install_d_9_x="#!/bin/sh", install_d_data="no script")
    write(tmp_path, "b", install_d_10_b="#!/bin/sh", install_d_10_a="#!/bin/sh", install_d_named="#!/bin/sh")
    (tmp_path / "b/install.d/50-x.sh").write_text("#!/bin/sh")
    (tmp_path / "b/install.d/50-x.sh").chmod(0o755)
    catalogue = ElementCatalogue([tmp_path])
    scripts = scripts_of([catalogue.get("a"), catalogue.get("b")], ElementPhase.INSTALL)
    assert [script.name for script in scripts] == ["named", "9-x", "10-a", "10-b", "100-x"]
    assert sort_key("08-x") < sort_key("9-x")


def test_a_script_that_two_elements_have_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a", install_d_10_x="#!/bin/sh", static__etc__x="a", pkg_map="{}")
    write(tmp_path, "b", install_d_10_x="#!/bin/sh", static__etc__x="b", pkg_map="{}")
    catalogue = ElementCatalogue([tmp_path])
    with pytest.raises(StackError, match=r"duplicated hook.*install.d/10-x is in 'a' and in 'b'"):
        merge_hooks([catalogue.get("a"), catalogue.get("b")])
    (tmp_path / "b/install.d/10-x").unlink()
    catalogue = ElementCatalogue([tmp_path])
    merged = {hook.path: hook.element for hook in merge_hooks([catalogue.get("a"), catalogue.get("b")])}
    assert merged == {"install.d/10-x": "a", "pkg-map": "b", "static/etc/x": "b"}
