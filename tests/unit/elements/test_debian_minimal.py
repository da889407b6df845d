"""Where packages come from in dibo's element debian-minimal: its script, run on files of their own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ELEMENT = Path(__file__).parents[3] / "containerfiles/elements/own/debian-minimal"
DISTRIBUTION = "deb http://deb.debian.org/debian bookworm main\n"
OF_BUILD = "deb [arch=amd64] http://mirror.example/debian bookworm main\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root as the base leaves it: sources of the build, and those of the distribution for the end of it."""
    for name in ("etc/apt/sources.list.d", "etc/apt/sources.distribution", "usr/lib/dibo/finalise.d", "bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/apt/sources.list").write_text(OF_BUILD)
    (tmp_path / "etc/apt/sources.distribution/sources.list").write_text(DISTRIBUTION)
    (tmp_path / "usr/lib/dibo/finalise.d/00-sources").touch()
    (tmp_path / "bin/apt-get").symlink_to("/bin/true")
    return tmp_path


def sources(root: Path, **variables: str) -> dict[str, str]:
    """What is in /etc/apt once the script has run; whether the base's own come back is under `comes back`."""
    text = (ELEMENT / "pre-install.d/00-debian-minimal").read_text()
    (root / "script").write_text(
        re.sub(r"(?<= )/(etc/apt|usr/lib)(?=[/ ])|(?<=\")/(etc/apt)", rf"{root}/\1\2", text)
    )
    environment = {"PATH": f"{root}/bin:{os.environ['PATH']}", "DIB_RELEASE": "bookworm", **variables}
    settings = ELEMENT / "environment.d/10-debian-minimal.bash"
    script = f". {settings} && bash {root}/script"
    subprocess.run(["bash", "-euc", script], env=environment, check=True)
    apt = root / "etc/apt"
    found = {str(path.relative_to(apt)): path.read_text() for path in apt.rglob("*") if path.is_file()}
    return found | {"comes back": str((root / "usr/lib/dibo/finalise.d/00-sources").exists())}


def test_without_variables_the_sources_of_the_base_stay(root: Path) -> None:
    assert sources(root) == {
        "sources.list": OF_BUILD,
        "sources.distribution/sources.list": DISTRIBUTION,
        "comes back": "True",
    }


def test_components_are_added_to_the_sources_of_the_base(root: Path) -> None:
    found = sources(root, DIB_DEBIAN_COMPONENTS="main,contrib")
    assert found["sources.list"] == OF_BUILD.replace("main", "main contrib")
    assert found["sources.distribution/sources.list"] == DISTRIBUTION.replace("main", "main contrib")


def test_a_mirror_takes_their_place(root: Path) -> None:
    mirrors = {
        "DIB_DISTRIBUTION_MIRROR": "http://m/debian",
        "DIB_DEBIAN_SECURITY_MIRROR": "http://m/security",
    }
    assert sources(root, **mirrors) == {
        "sources.list.d/default.list": "deb http://m/debian bookworm main\n",
        "sources.list.d/updates.list": "deb http://m/debian bookworm-updates main\n",
        "sources.list.d/security.list": "deb http://m/security bookworm-security main\n",
        "comes back": "False",
    }


def test_so_do_lines_that_are_given(root: Path) -> None:
    lines = "own:deb http://m:80/debian bookworm main\n\nother:deb http://o/ ./\n"
    assert sources(root, DIB_APT_SOURCES_CONF=lines, DIB_DISTRIBUTION_MIRROR="http://m/debian") == {
        "sources.list.d/own.list": "deb http://m:80/debian bookworm main\n",
        "sources.list.d/other.list": "deb http://o/ ./\n",
        "comes back": "False",
    }
