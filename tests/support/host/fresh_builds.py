"""What is to be built after an archive of packages has moved, and what an artefact holds then."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

from tests.support.host.build_env import BuildEnv
from tests.support.host.docker_build_env import ok


def forget_states(place: BuildEnv) -> None:
    """Let the next command ask the archive."""
    for path in (place.cache / "archives/states").glob("*"):
        os.utime(path, (0, 0))


def plan(place: BuildEnv, *names: str) -> list[dict[str, Any]]:
    forget_states(place)
    layers: list[dict[str, Any]] = json.loads(ok(place.run("dibo", "plan", "--json", "--no-base", *names)))[
        "layers"
    ]
    return layers


def to_build(layers: list[dict[str, Any]]) -> list[str]:
    return [layer["title"] for layer in layers if not layer["held"]]


def content(artefact: Path, path: str) -> str:
    with tarfile.open(artefact) as tar:
        file = tar.extractfile(f"./{path}")
        assert file is not None
        return file.read().decode()
