"""Warnings for what an author probably did not mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.errors import FlavourError
from dibo.flavours.lint import lint
from dibo.system import resources
from tests.support.flavours import read_stack, write_flavour


def warnings(directory: Path, *names: str, **chosen: str) -> tuple[str, ...]:
    return lint(read_stack(directory, *names), chosen.get)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("package-installs.yaml", "package-installs.yaml"),
        ("element-deps", "element-deps"),
        ("static/etc/motd", "static"),
        ("source-repository-nova", "source-repository-nova"),
        ("mkosi.extra/etc/motd", "mkosi.extra"),
    ],
)
def test_files_of_other_builders(tmp_path: Path, path: str, name: str) -> None:
    write_flavour(tmp_path, "web", [path, "install.d/10-x", f"files/{path}"])
    (warning,) = warnings(tmp_path, "web")
    assert warning.startswith(f"the flavour 'web' has {name}, which dibo does not read: ")


def test_an_ignored_file_of_another_builder_is_meant(tmp_path: Path) -> None:
    write_flavour(tmp_path, "web", {"element-deps": "", ".dibo-ignore": "/element-deps\n"})
    assert warnings(tmp_path, "web") == ()


@pytest.mark.parametrize(
    ("name", "meant"), [("debain", "debian"), ("ubunut-noble", "ubuntu-noble"), ("defualt", "default")]
)
def test_a_misspelt_distribution(tmp_path: Path, name: str, meant: str) -> None:
    write_flavour(tmp_path, "web", yaml=f"packages: {{{name}: [x]}}\n")
    assert warnings(tmp_path, "web") == (
        f"the flavour 'web' lists packages for {name!r}; did you mean {meant!r}?",
    )


def test_distributions_that_are_right_or_of_others(tmp_path: Path) -> None:
    write_flavour(
        tmp_path, "web", yaml="packages: {debian: [x], ubuntu-noble: [x], default: [x], devuan: [x]}\n"
    )
    assert warnings(tmp_path, "web") == ()


def test_a_variable_in_packages_that_nobody_declares(tmp_path: Path) -> None:
    write_flavour(tmp_path, "net", yaml="environment: {KIND: x}\n")
    write_flavour(tmp_path, "web", yaml="needs: [net]\npackages: ['a-$KIND', 'b-$ARCH', 'c-${KINT}']\n")
    with pytest.raises(
        FlavourError, match=r"'web': packages\.default: .* the variable KINT, .* did you mean KIND"
    ):
        warnings(tmp_path, "web")


def test_a_default_that_nobody_replaces(tmp_path: Path) -> None:
    write_flavour(tmp_path, "web", yaml="environment: {PLACE: $HOME/x, PRICE: '5$'}\n")
    (warning,) = warnings(tmp_path, "web")
    assert warning.startswith(
        "the default of PLACE in the flavour 'web' has $HOME, which dibo does not replace"
    )


def test_a_variable_that_may_be_a_secret(tmp_path: Path) -> None:
    write_flavour(tmp_path, "web", yaml="environment: {API_TOKEN: '', PORT: 80}\n")
    write_flavour(tmp_path, "mine", yaml="local: true\nenvironment: {http_proxy: ''}\n")
    assert warnings(tmp_path, "web", "mine", PORT="1", http_proxy="x") == ()
    (warning,) = warnings(tmp_path, "web", "mine", API_TOKEN="hunter2")
    assert "API_TOKEN" in warning
    assert "hunter2" not in warning


def test_flavours_of_dibo_have_nothing_to_warn_of() -> None:
    directory = resources.shared("flavours")
    for path in directory.iterdir():
        assert lint(read_stack(directory, path.name), lambda _: None) == ()
