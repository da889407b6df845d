"""Bases that are one file."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import pytest

from dibo.build.bases.settings import BaseSettings
from dibo.build.bases.tarball import LocalFile, file_name, remote_file, root_file
from dibo.errors import BaseError, Unreachable, UsageError, VerificationFailed
from dibo.plan.base import SquashFs, TarFile
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from tests.support.servers.fake_web_server import FakeWebServer

TAR = b"\x1f\x8b" + bytes(5000)
SHA = hashlib.sha256(TAR).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root.tar.gz"
    path.write_bytes(TAR)
    return path


def test_local(root: Path, settings: BaseSettings, workspace: Workspace) -> None:
    base = LocalFile(root, settings=settings, workspace=workspace)
    assert base.name == "root.tar.gz"
    assert base.ingredients() == (("kind", "file"), ("sha256", SHA))
    assert base.source() == TarFile(path=root)


def test_the_same_ingredients_wherever_it_lies(
    root: Path, tmp_path: Path, settings: BaseSettings, workspace: Workspace
) -> None:
    other = tmp_path / "other.tgz"
    other.write_bytes(TAR)
    found = {LocalFile(path, settings=settings, workspace=workspace).ingredients() for path in (root, other)}
    assert len(found) == 1


def test_hashed_once_and_again_when_changed(
    root: Path, settings: BaseSettings, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = LocalFile(root, settings=settings, workspace=workspace).ingredients()
    with monkeypatch.context() as patched:
        patched.setattr(
            "dibo.system.http.digest_of", lambda _: pytest.fail("hashed although nothing changed")
        )
        assert LocalFile(root, settings=settings, workspace=workspace).ingredients() == before
    root.write_bytes(TAR + b"more")
    assert LocalFile(root, settings=settings, workspace=workspace).ingredients() != before


def test_a_file_rewritten_in_place_with_its_time_set_back_is_another_base(
    root: Path, settings: BaseSettings, workspace: Workspace
) -> None:
    before = LocalFile(root, settings=settings, workspace=workspace).ingredients()
    rewrite(root)
    assert LocalFile(root, settings=settings, workspace=workspace).ingredients() != before


def test_a_file_that_changes_between_plan_and_build(
    root: Path, settings: BaseSettings, workspace: Workspace
) -> None:
    base = LocalFile(root, settings=settings, workspace=workspace)
    base.ingredients()
    rewrite(root)
    with pytest.raises(VerificationFailed, match="changed while dibo worked"):
        base.source()


def rewrite(root: Path) -> None:
    """Other bytes, the same size and mtime."""
    state = root.stat()
    with root.open("r+b") as file:
        file.seek(100)
        file.write(b"x")
    os.utime(root, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_a_local_file_with_a_sha256(root: Path, settings: BaseSettings, workspace: Workspace) -> None:
    right = dataclasses.replace(settings, sha256=f"sha256:{SHA.upper()}")
    wrong = dataclasses.replace(settings, sha256="0" * 64)
    for _ in range(2):  # the second time from the note
        LocalFile(root, settings=right, workspace=workspace).ingredients()
        with pytest.raises(VerificationFailed, match="wanted 000"):
            LocalFile(root, settings=wrong, workspace=workspace).ingredients()


def test_remote(web: FakeWebServer, settings: BaseSettings, workspace: Workspace, report: Report) -> None:
    web.site.files["/a/root.tar.gz"] = TAR
    url = f"{web.url}/a/root.tar.gz"
    base = remote_file(f"{url}#sha256={SHA}", settings=settings, workspace=workspace, report=report)
    assert base.ingredients() == (("kind", "file"), ("sha256", SHA))
    assert web.site.paths() == []
    source = base.source()
    assert source == TarFile(path=workspace.bases / f"sha256-{SHA}-root.tar.gz")
    web.close()
    said = dataclasses.replace(settings, sha256=SHA)
    assert remote_file(url, settings=said, workspace=workspace, report=report).source() == source


def test_remote_needs_the_right_sha256(
    web: FakeWebServer, settings: BaseSettings, workspace: Workspace, report: Report
) -> None:
    web.site.files["/root.tar.gz"] = TAR
    url = f"{web.url}/root.tar.gz"
    with pytest.raises(UsageError, match="has no sha256"):
        remote_file(url, settings=settings, workspace=workspace, report=report)
    with pytest.raises(UsageError, match="not a sha256"):
        remote_file(f"{url}#sha256=12", settings=settings, workspace=workspace, report=report)
    two = dataclasses.replace(settings, sha256="1" * 64)
    with pytest.raises(UsageError, match="two different"):
        remote_file(f"{url}#sha256={SHA}", settings=two, workspace=workspace, report=report)
    wrong = remote_file(f"{url}#sha256={'0' * 64}", settings=settings, workspace=workspace, report=report)
    with pytest.raises(VerificationFailed):
        wrong.source()
    offline = dataclasses.replace(settings, offline=True)
    with pytest.raises(Unreachable, match="not here yet"):
        remote_file(f"{url}#{SHA}", settings=offline, workspace=workspace, report=report).source()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x1f\x8b", TarFile),
        (b"\xfd7zXZ\0", TarFile),
        (b"BZh9", TarFile),
        (b"\x28\xb5\x2f\xfd", TarFile),
        (bytes(257) + b"ustar\0", TarFile),
        (bytes(257) + b"ustar  ", TarFile),
        (b"hsqs", SquashFs),
    ],
)
def test_the_first_bytes_tell(tmp_path: Path, head: bytes, kind: type) -> None:
    path = tmp_path / "misnamed.iso"
    path.write_bytes(head + bytes(600))
    assert isinstance(root_file(path), kind)


@pytest.mark.parametrize("head", [b"", b"QFI\xfb", bytes(1024)])
def test_what_is_no_root(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "root.tar"
    path.write_bytes(head)
    with pytest.raises(BaseError, match="neither a tar"):
        root_file(path)


def test_names_from_addresses() -> None:
    assert file_name("https://x/a/b%2e%20.tar?q=../../etc") == "b._.tar"
    assert file_name("https://x/") == "root"
    assert "/" not in file_name("https://x/%2fetc%2fpasswd")
