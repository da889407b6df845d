"""What is read of a cache directory, and what is removed from it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from dibo.errors import OutputError, UsageError
from dibo.system.cache_directory import CacheKind, check_directory, reason, remove, survey
from dibo.system.workspace import Workspace


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return Workspace(tmp_path / "cache").root


def test_kinds_sizes_and_locks(cache: Path) -> None:
    (cache / "logs/x.log").write_bytes(bytes(10_000))
    for name in ("alive", "dead"):
        (cache / "runs" / name / "deep").mkdir(parents=True)
        (cache / "runs" / name / "deep/file").write_bytes(bytes(20_000))
        (cache / "runs" / name / "lock").touch()
    (cache / "bases/lists").mkdir()
    (cache / "bases/lists/list").touch()
    with (cache / "runs/alive/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        items = {item.path.name: item for item in survey(cache)}
    assert set(items) == {"x.log", "alive", "dead", "list"}
    assert items["x.log"].kind is CacheKind.LOGS and 10_000 <= items["x.log"].size < 40_000
    assert items["alive"].held and not items["dead"].held
    assert items["dead"].size >= 20_000
    assert items["list"].kind is CacheKind.NOTES


def test_no_link_is_followed(cache: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (cache / "runs/link").symlink_to(precious)
    (cache / "logs").rmdir()
    (cache / "logs").symlink_to(precious)
    items = survey(cache)
    assert [item.path.name for item in items] == ["link"]
    remove(items[0])
    assert (precious / "file").exists() and not (cache / "runs/link").is_symlink()


def test_what_is_no_cache_is_refused(tmp_path: Path) -> None:
    assert not check_directory(tmp_path / "missing")
    with pytest.raises(UsageError, match="it has no CACHEDIR"):
        check_directory(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="no directory"):
        check_directory(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory to another user, which takes root")
def test_of_another_user(cache: Path) -> None:
    os.chown(cache, 12345, 12345)
    with pytest.raises(OutputError, match="12345"):
        check_directory(cache)
    error = PermissionError(13, "Permission denied")
    os.chown(cache / "logs", 12345, 12345)
    assert "12345" in reason(error, cache / "logs/x.log")
