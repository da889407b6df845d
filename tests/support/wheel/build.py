"""Builds a group of elements of the wheel, as an ordinary user."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from dibo.elements.model import PHASES
from tests.support.host.build_env import BuildEnv, CommandResult
from tests.support.wheel.model import WheelGroup
from tests.support.wheel.traces import WheelImage, read_image

_PROGRAMS = ("stand-ins", "bin")


def write_files(group: WheelGroup, directory: Path) -> None:
    """Write the elements and the files of the user's that are the group's own below `directory`."""
    for path, text in group.files.items():
        file = directory / "elements" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        runs = path.split("/")[1] in {*PHASES, *_PROGRAMS} and not file.name.startswith("package-installs-")
        file.write_text(f"#!/bin/bash\nset -eu -o pipefail\n{text}" if runs else text)
        file.chmod(0o755 if runs else 0o644)
    (directory / "elements").mkdir(exist_ok=True)
    (directory / "inputs").mkdir()
    for name, text in group.inputs.items():
        file = directory / "inputs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") else 0o644)
    for name in group.repositories:
        _commit(directory / "inputs" / name)
    for entry in (directory, *directory.rglob("*")):
        entry.chmod(0o755 if entry.is_dir() else entry.stat().st_mode | 0o444)


def _commit(repository: Path) -> None:
    identity = ["-c", "user.name=otter", "-c", "user.email=otter@example.org"]
    for words in (["init", "-q", "-b", "master"], ["add", "."], [*identity, "commit", "-q", "-m", "First"]):
        subprocess.run(["git", "-C", repository, *words], check=True, stdin=subprocess.DEVNULL)


def variables_of(
    group: WheelGroup, directory: Path, theirs: Path | str, *, registry: str = ""
) -> dict[str, str]:
    """The variables of the group's build, where `write_files` wrote to `directory` and `theirs` has the wheel's."""
    places = {"{inputs}": str(directory / "inputs"), "{registry}": registry}
    given = dict(group.variables)
    for name, place in places.items():
        given = {variable: value.replace(name, place) for variable, value in given.items()}
    return {"ELEMENTS_PATH": f"{directory / 'elements'}:{theirs}", **given}


def build_group(
    group: WheelGroup, place: BuildEnv, directory: Path, theirs: Path | str, *, registry: str = ""
) -> CommandResult:
    """Build the group below the temporary directory of `place`; `image_of_group` reads what was made."""
    base = str(place.directory / "base.tar") if group.base == "tiny" else group.base
    return place.run(
        "disk-image-create",
        *("-n", "-t", group.types, "-o", str(place.temporary / "one"), *group.elements),
        environment={**variables_of(group, directory, theirs, registry=registry), "DIBO_BASE": base},
    )


def image_of_group(place: BuildEnv) -> WheelImage:
    """What was built; the files go again."""
    raw = place.temporary / "one.raw"
    image = read_image(place.temporary / "one.tar", raw if raw.exists() else None)
    for path in place.temporary.glob("one.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return image


def steps_built(result: CommandResult) -> list[str]:
    """The titles of the steps that a build ran."""
    return [line.split("  ")[0] for line in result.err.splitlines() if re.search(r"  built  ", line)]
