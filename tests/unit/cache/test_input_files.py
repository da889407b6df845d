"""Input files in a registry: who finds them, and what a registry may do wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dibo.cache.input_files import RegistryInputs
from dibo.cache.lookup import CacheRepository
from dibo.images.reference import ImageName, parse_repository
from dibo.plan.input_files import InputFile
from dibo.system.report import Report
from tests.support.servers.fake_registry import FakeRegistry

pytestmark = pytest.mark.usefixtures("pauses")

CONTENT = b"a package"


def file_of(content: bytes, *, size: int | None = None) -> InputFile:
    return InputFile(sha256=hashlib.sha256(content).hexdigest(), name="tool_1_all.deb", size=size)


FILE = file_of(CONTENT)


def remote_of(name: ImageName, *, reads: bool = True) -> CacheRepository:
    return CacheRepository(name=name, architecture="amd64", report=Report(quiet=True), reads=reads)


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_file_is_read_by_its_digest(
    server: FakeRegistry, name: ImageName, tmp_path: Path, size: int | None
) -> None:
    server.state.put("cache", CONTENT)
    progress: list[tuple[int, int | None]] = []
    inputs = RegistryInputs([remote_of(name)])
    target = tmp_path / "made/file"
    assert inputs.bring(
        file_of(CONTENT, size=size), target, on_bytes=lambda done, total: progress.append((done, total))
    )
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (CONTENT, 0o644)
    assert progress == [(len(CONTENT), len(CONTENT))]
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_the_second_repository_has_what_the_first_lacks(
    server: FakeRegistry, name: ImageName, tmp_path: Path
) -> None:
    server.state.put("other", CONTENT)
    other = parse_repository(f"{server.host}/other")
    assert RegistryInputs([remote_of(name), remote_of(other)]).bring(FILE, tmp_path / "file")
    assert not RegistryInputs([remote_of(name), remote_of(other, reads=False)]).bring(FILE, tmp_path / "x")


def test_what_stops_a_download_leaves_nothing(server: FakeRegistry, name: ImageName, tmp_path: Path) -> None:
    server.state.put("cache", CONTENT)

    def stop(_done: int, _total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RegistryInputs([remote_of(name)]).bring(FILE, tmp_path / "file", on_bytes=stop)
    assert list(tmp_path.iterdir()) == []


def test_other_bytes_do_not_count(
    server: FakeRegistry, name: ImageName, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.state.blobs["cache", f"sha256:{FILE.sha256}"] = b"b package"
    remote = CacheRepository(name=name, architecture="amd64", report=Report())
    assert not RegistryInputs([remote]).bring(FILE, tmp_path / "file")
    assert not RegistryInputs([remote]).bring(FILE, tmp_path / "file", urgent=True)
    assert list(tmp_path.iterdir()) == []
    assert "has tool_1_all.deb in a state that cannot be used" in capsys.readouterr().err
    assert not remote.off


def test_a_registry_without_files_is_asked_for_few(
    server: FakeRegistry, name: ImageName, tmp_path: Path
) -> None:
    remote = remote_of(name)
    inputs = RegistryInputs([remote])
    for number in range(10):
        assert not inputs.bring(file_of(b"%d" % number), tmp_path / "file")
    assert len(server.state.requests("/blobs/")) == 3
    server.state.put("cache", CONTENT)
    assert not inputs.bring(FILE, tmp_path / "file")
    assert inputs.bring(FILE, tmp_path / "file", urgent=True)
    assert not remote.off


def test_a_registry_with_files_is_asked_for_all(
    server: FakeRegistry, name: ImageName, tmp_path: Path
) -> None:
    server.state.put("cache", CONTENT)
    inputs = RegistryInputs([remote_of(name)])
    assert inputs.bring(FILE, tmp_path / "file")
    for number in range(10):
        assert not inputs.bring(file_of(b"%d" % number), tmp_path / "other")
    assert len({path.rpartition("/")[2] for path in server.state.requests("/blobs/")}) == 11


def test_a_registry_that_is_down_is_asked_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    down = CacheRepository(name=parse_repository("127.0.0.1:9/cache"), architecture="amd64", report=Report())
    inputs = RegistryInputs([down])
    assert not inputs.bring(FILE, tmp_path / "file")
    assert not inputs.bring(FILE, tmp_path / "file", urgent=True)
    assert down.off
    assert capsys.readouterr().err.count("warning") == 1
