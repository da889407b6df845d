"""Which disk is full, in words."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dibo.errors import OutputError
from dibo.system import disk_space


def test_the_place_the_file_system_and_the_room(tmp_path: Path) -> None:
    mount, kind = disk_space.mount_of(tmp_path)
    assert str(tmp_path).startswith(mount)
    said = disk_space.describe([tmp_path / "not" / "there", tmp_path])
    assert said.startswith(f"{tmp_path} on the {kind} at {mount} (")
    assert said.endswith(" left)")


def test_a_full_disk_is_told_from_other_errors(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert disk_space.reason(full, tmp_path) == f"the disk is full: {disk_space.describe([tmp_path])}"
    assert (
        disk_space.reason(PermissionError(errno.EACCES, "Permission denied"), tmp_path) == "Permission denied"
    )


@pytest.mark.parametrize(
    "line",
    [
        "tar: write error: No space left on device",
        "open x: disk quota exceeded",
        "xorriso : FAILURE : Image size 44494s exceeds free space on media 2048s",
    ],
)
def test_what_programs_say(line: str) -> None:
    assert disk_space.says_full(["other", line])
    assert not disk_space.says_full(["space", "no device left"])


def test_a_temporary_directory_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    disk_space.require_temporary_directory()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="which does not exist"):
        disk_space.require_temporary_directory()
