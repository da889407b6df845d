"""Artefacts stand as long as nothing about them, and nothing that they are made of, has changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dibo.artefacts.standing import StandingArtefacts, is_current, name_of_outputs


def standing(directory: Path, **ingredients: Any) -> StandingArtefacts:
    return StandingArtefacts(
        directory=directory / "cache",
        ingredients={"image": "k", "options": {"A": "1"}} | ingredients,
        paths=[directory / "web.raw", directory / "web.microvm", directory / "web.manifest.json"],
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "web.raw").write_bytes(b"disk")
    (tmp_path / "web.manifest.json").write_text("{}")
    (tmp_path / "web.microvm").mkdir()
    (tmp_path / "web.microvm" / "kernel").write_bytes(b"kernel")
    standing(tmp_path).save()
    return tmp_path


def test_what_nobody_changed_stands(place: Path) -> None:
    assert standing(place).stand()
    assert (place / "cache").stat().st_mode & 0o077 == 0


def test_nothing_stands_before_it_was_made(tmp_path: Path) -> None:
    assert not standing(tmp_path).stand()


def replaced(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def overwritten(path: Path) -> None:
    """The same size, and the times of before."""
    times = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("name", ["web.raw", "web.manifest.json", "web.microvm/kernel"])
@pytest.mark.parametrize("change", [Path.unlink, replaced, overwritten, lambda path: path.chmod(0o600)])
def test_a_file_that_changed_does_not_stand(place: Path, name: str, change: Callable[[Path], object]) -> None:
    change(place / name)
    assert not standing(place).stand()


def test_a_file_that_came_into_a_directory(place: Path) -> None:
    (place / "web.microvm" / "more").touch()
    assert not standing(place).stand()


@pytest.mark.parametrize("ingredients", [{"image": "other"}, {"options": {"A": "2"}}, {"time": 1}])
def test_artefacts_of_something_else_do_not_stand(place: Path, ingredients: dict[str, Any]) -> None:
    assert not standing(place, **ingredients).stand()


def test_a_broken_record_is_none(place: Path) -> None:
    (record,) = (place / "cache").iterdir()
    for text in ("", "{", "[]", "\xff"):
        record.write_text(text, encoding="latin-1")
        assert not standing(place).stand()


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/dev/zero"), os.mkfifo, Path.mkdir])
def test_a_record_that_is_no_file(place: Path, make: Callable[[Path], object]) -> None:
    (record,) = (place / "cache").iterdir()
    record.unlink()
    make(record)
    assert not standing(place).stand()
    assert not is_current(record)


def test_a_record_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    standing(tmp_path).save()
    assert not standing(tmp_path).stand()


def test_a_name_does_not_depend_on_where_the_command_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert name_of_outputs([Path("web.raw")]) == name_of_outputs([tmp_path / "web.raw"])
    assert name_of_outputs([Path("web.raw")]) != name_of_outputs([tmp_path / "web.qcow2"])
