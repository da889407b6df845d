"""Locks: what they say counts, whatever the archive has."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from dibo.api.settings import current_settings
from dibo.build.archives.locked import locked_files, read_lock, require_base, require_files
from dibo.build.bases.settings import base_settings
from dibo.errors import BaseError, ManifestError, UsageError
from dibo.plan.base import NoStore
from dibo.plan.lock import LockedBase, lock_document
from dibo.settings.settings import Options
from tests.support.flavours import read_stack, write_flavour
from tests.support.servers.debian_archive import DebianArchive
from tests.unit.build.archives.conftest import MakeBase

LISTS = [("tool-a",), ("tool-c",)]


def lock_of(make_base: MakeBase, tmp_path: Path) -> Path:
    answers = make_base().resolve(LISTS, NoStore()).answers
    path = tmp_path / "dibo.lock"
    path.write_text(json.dumps(lock_document(answers, epoch="2026-10")))
    return path


def test_a_lock_counts_more_than_the_archive(
    archive: DebianArchive, make_base: MakeBase, tmp_path: Path
) -> None:
    first = make_base().resolve(LISTS, NoStore())
    path = lock_of(make_base, tmp_path)
    assert read_lock(path).epoch == "2026-10"
    archive.publish("library", "3.0.17-2", depends="libc")
    archive.sign()
    assert make_base().resolve(LISTS, NoStore()) != first
    base = make_base()
    base._settings = dataclasses.replace(base._settings, lock=path)
    archive.site.asked.clear()
    assert base.resolve(LISTS, NoStore()) == first
    assert base.resolve(LISTS[:1], NoStore()).base == first.base
    assert not archive.site.asked


def test_a_lock_in_a_manifest(make_base: MakeBase, tmp_path: Path) -> None:
    lock = lock_of(make_base, tmp_path)
    manifest = tmp_path / "web.manifest.json"
    manifest.write_text(json.dumps({"lock": json.loads(lock.read_text())}))
    assert read_lock(manifest) == read_lock(lock)


def test_a_wish_that_a_lock_does_not_know(make_base: MakeBase, tmp_path: Path) -> None:
    base = make_base()
    base._settings = dataclasses.replace(base._settings, lock=lock_of(make_base, tmp_path))
    with pytest.raises(ManifestError, match="has no packages for 'tool-b' on what lies below"):
        base.resolve([("tool-b",)], NoStore())


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 2}', '{"format": 1, "epoch": "x", "chosen": {"a": []}}', '{"lock": null}'],
)
def test_what_is_no_lock(text: str, tmp_path: Path) -> None:
    path = tmp_path / "dibo.lock"
    path.write_text(text)
    with pytest.raises(ManifestError, match="is no lock"):
        read_lock(path)


def test_a_damaged_lock(make_base: MakeBase, tmp_path: Path) -> None:
    path = lock_of(make_base, tmp_path)
    document = json.loads(path.read_text())
    for answer in document["chosen"].values():
        for package in answer["packages"]:
            package["path"] = "../../etc/passwd"
    path.write_text(json.dumps(document))
    base = make_base()
    base._settings = dataclasses.replace(base._settings, lock=path)
    with pytest.raises(ManifestError, match=r"is damaged: .* a path out of its archive"):
        base.resolve(LISTS, NoStore())
    with pytest.raises(ManifestError, match="cannot read the lock"):
        read_lock(tmp_path / "none")


def test_a_base_that_is_another_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dibo.lock"
    base = LockedBase(name="ubuntu:noble amd64", ingredients={"sha256": "aa"})
    path.write_text(json.dumps(lock_document([], epoch="2026-10", bases=(base,))))
    require_base(path, "ubuntu:noble amd64", {"sha256": "aa"})
    with pytest.raises(ManifestError, match=r'ubuntu:noble amd64 of .* is gone: sha256: "aa" -> "bb"'):
        require_base(path, "ubuntu:noble amd64", {"sha256": "bb"})
    with pytest.raises(ManifestError, match="has no base debian:trixie amd64"):
        require_base(path, "debian:trixie amd64", {})
    path.write_text(json.dumps(lock_document([], epoch="2026-10")))
    require_base(path, "debian:trixie amd64", {})


def test_packages_that_left_the_archive_come_from_a_snapshot(
    archive: DebianArchive, make_base: MakeBase, tmp_path: Path
) -> None:
    first = make_base().resolve(LISTS, NoStore())
    path = tmp_path / "dibo.lock"
    snapshots = (f"{archive.url}/snapshot",)
    path.write_text(json.dumps(lock_document(first.answers, epoch="2026-10", snapshots=snapshots)))
    package = next(package for package in first.steps[0] if package.name == "library")
    deb = archive.site.files[f"/debian/{package.path}"]
    archive.withdraw("library", "3.0.17-1")
    base = make_base()
    base._settings = dataclasses.replace(base._settings, lock=path)
    with pytest.raises(BaseError, match=r"the package library 3.0.17-1 \(all\) is gone"):
        base.write_archive(first.steps[0], tmp_path / "none")
    archive.site.files[f"/snapshot/{package.path}"] = deb
    base.write_archive(first.steps[0], tmp_path / "packages")


def test_a_lock_names_the_epoch(tmp_path: Path) -> None:
    path = tmp_path / "dibo.lock"
    path.write_text(json.dumps(lock_document([], epoch="2026-10")))
    settings = current_settings(Options(flavours=("x",), lock=str(path)), {})
    assert (settings.epoch, settings.lock) == ("2026-10", path)
    assert base_settings(settings).resolves
    assert current_settings(Options(lock=str(path), epoch="2026-10"), {}).epoch == "2026-10"
    with pytest.raises(UsageError, match="contradict each other"):
        current_settings(Options(lock=str(path), epoch="2026-11"), {})


def test_files_that_flavours_have_fetched(tmp_path: Path) -> None:
    def write(name: str, digit: str, *, url: str = "https://example.org/tool") -> None:
        write_flavour(tmp_path, name, yaml=f"fetch: [{{url: '{url}', sha256: {digit * 64}}}]\n")

    write("web", "a")
    write("other", "b")
    path = tmp_path / "dibo.lock"
    both = locked_files(read_stack(tmp_path, "web", "other"), "amd64")
    path.write_text(json.dumps(lock_document([], epoch="2026-11", fetched=both)))
    require_files(path, read_stack(tmp_path, "web"), "amd64")
    write("web", "a", url="https://mirror.example/tool")  # where it is does not matter
    require_files(path, read_stack(tmp_path, "web"), "amd64")
    with pytest.raises(ManifestError, match="web/tool arm64 is new"):
        require_files(path, read_stack(tmp_path, "web"), "arm64")
    write("web", "c")
    with pytest.raises(
        ManifestError, match=rf"other files .*: web/tool amd64 sha256 {'a' * 64} → {'c' * 64}"
    ):
        require_files(path, read_stack(tmp_path, "web", "other"), "amd64")
    (tmp_path / "web" / "flavour.yaml").unlink()
    with pytest.raises(ManifestError, match="web/tool amd64 is gone"):
        require_files(path, read_stack(tmp_path, "web"), "amd64")
    path.write_text(json.dumps(lock_document([], epoch="2026-11")))  # of an earlier version
    require_files(path, read_stack(tmp_path, "other"), "amd64")
