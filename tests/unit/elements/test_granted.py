"""Which files of the user's scripts of elements see."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.elements import granted
from dibo.elements.granted import Grants
from dibo.errors import FlavourError


def targets(tmp_path: Path, **variables: str) -> list[str]:
    return [
        file.target.replace(str(tmp_path), "") for file in Grants(Path("/nowhere")).of(variables, home=False)
    ]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("a.repo", "firmware/one.scexe", "firmware/deep/two.exe"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_each_path_of_a_list_is_seen(files: Path) -> None:
    value = f"{files}/a.repo file://{files}/firmware/one.scexe {files}/none relative/a.repo"
    assert targets(files, DIB_YUM_REPO_CONF=value) == ["/a.repo", "/firmware/one.scexe"]


def test_all_in_a_directory_is_seen(files: Path) -> None:
    assert targets(files, DIB_ILO_FIRMWARE_PATH=f"{files}/firmware") == [
        "/firmware/one.scexe",
        "/firmware/deep/two.exe",
    ]
    assert targets(files, TMP_DIR=str(files)) == []


def test_programs_of_this_machine_are_no_files_of_the_user(files: Path) -> None:
    assert targets(files, DIB_DEV_USER_SHELL="/bin/sh", DIB_X="/usr/share /proc/self/status /") == []


def test_a_large_directory_is_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granted, "_FILES", 2)
    with pytest.raises(FlavourError, match="which DIB_X names, has more than 2 files"):
        targets(files, DIB_X=str(files))
