"""Flavours larger than a list of arguments may be: nothing that grows with files or variables becomes an argument."""

from __future__ import annotations

import pytest

from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_is_left_with_docker")]

SH = "#!/bin/sh\nset -eu\n"
FILES = 20_000
VARIABLES = 5_000


@pytest.mark.parametrize("options", [["buildah"], ["buildah", "--isolation", "chroot"], ["docker"]], ids=str)
def test_a_flavour_of_many_files_is_built(place: BuildEnv, options: list[str]) -> None:
    name = f"files-{len(options)}"
    directory = write_flavour(
        place.flavours,
        name,
        {"install.d/10-count": SH + "ls /tmp/in_target.d/files/d | wc -l > /count; cat /count\n"},
    )
    (directory / "files" / "d").mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        (directory / "files" / "d" / f"{number:05}").touch()
    said = place.run("dibo", "build", "-x", "--no-base", "--engine", *options, name)
    assert said.code == 0, said.err[-2000:]
    assert str(FILES) in said.err.split()


@pytest.mark.parametrize("options", [["buildah"], ["buildah", "--isolation", "chroot"], ["docker"]], ids=str)
def test_a_flavour_of_many_variables_is_built(place: BuildEnv, options: list[str]) -> None:
    name = f"variables-{len(options)}"
    names = [f"A_VARIABLE_OF_THE_FLAVOUR_{number:04}" for number in range(VARIABLES)]
    write_flavour(
        place.flavours,
        name,
        {"install.d/10-count": SH + "env | grep -c ^A_VARIABLE_OF_THE_FLAVOUR_\n"},
        yaml="environment:\n" + "".join(f"  {each}: {each}\n" for each in names),
    )
    said = place.run("dibo", "build", "-x", "--no-base", "--engine", *options, name)
    assert said.code == 0, said.err[-2000:]
    assert str(VARIABLES) in said.err.split()
