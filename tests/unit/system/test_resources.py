"""What this machine has."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import dibo
from dibo.errors import UsageError
from dibo.system.resources import available_memory, expanded, processors, read_whole


def test_memory_that_programs_can_take() -> None:
    memory = available_memory()
    total = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal:")
    )
    assert memory is not None
    assert 0 <= memory <= total


def test_processors() -> None:
    assert processors() >= 1


def test_homes_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/web") == Path("/home/me/web")
    assert expanded("a/~b") == Path("a/~b")
    with pytest.raises(UsageError, match="the path ~nobodyhere/web begins at the home directory of a user"):
        expanded("~nobodyhere/web")


def test_files_that_users_write(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a\n")
    assert read_whole(tmp_path / "list") == b"a\n"
    os.mkfifo(tmp_path / "pipe")  # as `<(…)` in a shell
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"b\n",))
    writer.start()
    assert read_whole(tmp_path / "pipe") == b"b\n"
    writer.join()
    with pytest.raises(OSError, match="it has more than 16 MiB"):
        read_whole(Path("/dev/zero"))


def test_no_other_code_looks_for_homes() -> None:
    """Path.expanduser raises RuntimeError for a user that is not known."""
    package = Path(dibo.__file__).parent
    users = [file for file in package.rglob("*.py") if ".expanduser()" in file.read_text()]
    assert users == [package / "system/resources.py"]
