"""What describes the sandbox of a step to the script that makes it, and the errors where it cannot be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.build import sandbox
from dibo.build.engines.image_environment import variables_of
from dibo.build.engines.private_input import private_input
from dibo.build.sandbox import Mount, Sandbox
from dibo.errors import DiboError, EngineError, ImageError, UsageError

INJECTED = "1\0--bind\0/\0/mnt"
"""As a value of a variable: arguments for bwrap, which reads words that end with a NUL."""


def words(directory: Path, **given: object) -> list[bytes]:
    """The arguments of bwrap for a sandbox with these values."""
    values: dict[str, object] = {"network": "none", "environment": {}, "architecture": "amd64", **given}
    Sandbox(**values).write(directory)  # type: ignore[arg-type]
    return (directory / "arguments").read_bytes().split(b"\0")


def test_a_value_is_one_word(tmp_path: Path) -> None:
    found = words(tmp_path, environment={"X": "--bind / /mnt\nx"})
    assert found[found.index(b"X") - 1 :][:3] == [b"--setenv", b"X", b"--bind / /mnt\nx"]


@pytest.mark.parametrize(
    "given",
    [
        {"environment": {"X": INJECTED}},
        {"environment": {"X\0--bind\0/\0/mnt\0--setenv\0Y": "1"}},
        {"mounts": [Mount(source=Path("/srv"), target="/srv\0--bind\0/\0/mnt")]},
        {"mounts": [Mount(source=Path("/srv\0x"), target="/srv")]},
        {"mounts": [Mount(source=Path("/srv"), target="/srv\n/mnt")]},
    ],
    ids=["value", "name", "target", "source", "line"],
)
def test_no_word_becomes_two(tmp_path: Path, given: dict[str, object]) -> None:
    with pytest.raises(EngineError, match=r"a NUL byte|a line break"):
        words(tmp_path, **given)


def test_variables_of_an_image() -> None:
    assert variables_of(["PATH=/bin", "A=", "B=c=d", "C", "=x", "D=a\nb"], "it") == {
        "PATH": "/bin",
        "A": "",
        "B": "c=d",
        "D": "a\nb",
    }


@pytest.mark.parametrize("word", [f"X={INJECTED}", "X\0--bind=1", "X\0"])
def test_a_nul_in_the_environment_of_an_image_is_refused(word: str) -> None:
    with pytest.raises(ImageError, match="it: its config has an environment variable with a NUL byte: 'X'"):
        variables_of(["PATH=/bin", word], "it")


def test_variables_on_standard_input_are_one_line() -> None:
    with pytest.raises(UsageError, match="http_proxy"):
        private_input({"http_proxy": "http://x\nsecret ../../x eA=="}, {})


def test_a_root_that_has_no_sandbox_does_not_make_dibo_recommend_none() -> None:
    said: list[DiboError] = [sandbox.refused(["no"]), sandbox.refused_for_root(["no"])]
    assert ["--isolation chroot" in error.hint for error in said] == [True, False]
