"""Variables of environment.d before any script runs, and the Containerfile that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.elements.container import ElementContainer, read_container
from dibo.elements.environment import ElementEnvironment, read_environment
from dibo.elements.loader import ElementCatalogue
from dibo.elements.model import Element
from dibo.errors import FlavourError, UsageError


def elements(tmp_path: Path, files: dict[str, str]) -> tuple[Element, ...]:
    for path, text in files.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    catalogue = ElementCatalogue([tmp_path])
    return tuple(catalogue.get(name) for name in sorted({path.split("/")[0] for path in files}))


def read(tmp_path: Path, text: str, **environment: str) -> ElementEnvironment:
    made = elements(tmp_path, {"one/environment.d/10-one": text})
    return read_environment(made, names=("A", "B"), environment=environment)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=1\n", "1"),
        ("export A='1 2' # why\n", "1 2"),
        ("export A=${A:-1}\n", "1"),
        ("B=x\nexport A=$B/y\n", "x/y"),
        ("# A=1\n", ""),
        ("export A=\n", ""),
        ("A=$(date)\nA=2\n", "2"),
    ],
)
def test_values_that_are_known(tmp_path: Path, text: str, value: str) -> None:
    assert read(tmp_path, text).get("A") == value


@pytest.mark.parametrize(
    "text",
    [
        "export A=$(date)\n",
        "if true; then\n    export A=1\nfi\n",
        "A=1 command\n",
        "A=$UNKNOWN\n",
        "true && A=1\n",
    ],
)
def test_values_that_only_bash_can_tell(tmp_path: Path, text: str) -> None:
    with pytest.raises(FlavourError, match=r"one/environment.d/10-one:\d computes A") as caught:
        read(tmp_path, text).get("A")
    assert caught.value.hint == "set A yourself"
    assert read(tmp_path, text, A="of the user").get("A") == "of the user"


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    made = elements(
        tmp_path,
        {"a/environment.d/100-a": "A=late\n", "b/environment.d/9-b": "A=early\nB=$A\n"},
    )
    environment = read_environment(made, names=("A", "B"), environment={})
    assert (environment.get("A"), environment.get("B")) == ("late", "early")


def test_the_containerfile_of_a_release(tmp_path: Path) -> None:
    made = elements(
        tmp_path,
        {
            "a/environment.d/10-a.bash": "export DIB_RELEASE=${DIB_RELEASE:-9}\n",
            "b/containerfiles/9": "FROM nine\n",
            "b/containerfiles/10": "FROM ten\n",
        },
    )
    options = {"DIB_CONTAINER_CONTEXT": "/here"}
    request = read_container(made, options)
    empty = (("DIB_CONTAINERFILE_NETWORK_DRIVER", ""), ("DIB_CONTAINERFILE_BUILDOPTS", ""))
    assert request == ElementContainer(
        path=tmp_path / "b/containerfiles/9",
        release="9",
        options=(("DIB_CONTAINER_CONTEXT", "/here"), *empty),
    )
    assert read_container(made, {"DIB_RELEASE": "10"}).path == tmp_path / "b/containerfiles/10"
    with pytest.raises(UsageError, match="no element of the stack has containerfiles/11"):
        read_container(made, {"DIB_RELEASE": "11"})


def test_the_containerfile_that_a_variable_names(tmp_path: Path) -> None:
    made = elements(tmp_path, {"a/containerfiles/9": "FROM nine\n", "a/other": "FROM other\n"})
    named = {"DIB_RELEASE": "9", "DIB_CONTAINERFILE_DOCKERFILE": str(tmp_path / "a/other")}
    assert read_container(made, named).path == tmp_path / "a/other"
    with pytest.raises(UsageError, match="DIB_RELEASE is not set"):
        read_container(made, {})
    with pytest.raises(UsageError, match="names /no/such, which is no file"):
        read_container(made, {"DIB_CONTAINERFILE_DOCKERFILE": "/no/such"})
