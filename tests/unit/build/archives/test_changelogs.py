"""What changelogs say of new versions, wherever they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.build.archives.archive import PackageArchive
from dibo.build.archives.changelogs import Changelogs, change_path, news
from dibo.build.archives.package_files import PackageFiles, read_text
from dibo.plan.packages import ArchivePackage
from dibo.system.report import Report
from dibo.system.retry import RetryPolicy
from tests.support.gpg_keys import Key
from tests.support.requirements import need
from tests.support.servers.debian_archive import RELEASE, DebianArchive, debian_archive, make_deb

POLICY = RetryPolicy(connect=5.0, pauses=())


def entry(version: str, *changes: str) -> str:
    lines = "".join(f"  * {change}\n" for change in changes)
    signature = " -- A <a@example>  Thu, 01 Jan 2026 00:00:00 +0000\n\n"
    return f"library ({version}) trixie; urgency=medium\n\n{lines}\n{signature}"


CHANGELOG = entry("3-1", "Mend it.", "And that.") + entry("2-1", "Newer.") + entry("1-1", "First.")


@pytest.mark.parametrize(
    ("before", "versions"),
    [("2-1", ["3-1"]), ("1-1", ["3-1", "2-1"]), ("1-1+b3", ["3-1", "2-1"]), ("0-9", ["3-1"]), ("3-1", [])],
)
def test_entries_after_a_version(before: str, versions: list[str]) -> None:
    text = news(CHANGELOG, before)
    assert [
        line.split()[1].strip("()") for line in text.splitlines() if line.startswith("library")
    ] == versions
    assert "A <a@example>" not in text
    if versions:
        assert text.splitlines()[:3] == [
            "library (3-1) trixie; urgency=medium",
            "  * Mend it.",
            "  * And that.",
        ]


def test_long_ones_are_cut_and_what_is_none_is_nothing() -> None:
    long = news(entry("2-1", *map(str, range(100))), "1-1").splitlines()
    assert len(long) == 41
    assert long[-1] == "… 61 more lines"
    assert news("", "1") == news("hello\nworld\n", "1") == ""


@pytest.mark.parametrize(
    ("version", "path", "expected"),
    [
        ("3.0-1", "pool/main/o/openssl/libssl3_3.0-1_amd64.deb", "main/o/openssl/openssl_3.0-1"),
        ("1:3.0-1+b2", "pool/main/o/openssl/openssl_3.0-1+b2_amd64.deb", "main/o/openssl/openssl_3.0-1"),
    ],
)
def test_where_a_service_has_it(version: str, path: str, expected: str) -> None:
    assert change_path(package(version=version, path=path)) == expected


def package(
    *, version: str = "3-1", path: str = "", sha256: str = "ab" * 32, size: int = 1
) -> ArchivePackage:
    return ArchivePackage(
        name="library",
        version=version,
        architecture="all",
        sha256=sha256,
        size=size,
        path=path or "pool/x/x.deb",
    )


def test_text_of_a_package(tmp_path: Path) -> None:
    deb = tmp_path / "a.deb"
    deb.write_bytes(make_deb({"Package": "a"}, files={"usr/share/doc/a/changelog.Debian": "hello\n"}))
    with deb.open("rb") as file:
        assert read_text(file, ["usr/share/doc/a/changelog.Debian"], limit=1000) == "hello\n"
    for content, paths, limit in (
        (deb.read_bytes(), ["other"], 1000),
        (deb.read_bytes(), ["usr/share/doc/a/changelog.Debian"], 10),
        (deb.read_bytes()[:-100], ["usr/share/doc/a/changelog.Debian"], 1000),
        (b"no package", ["other"], 1000),
    ):
        deb.write_bytes(content)
        with deb.open("rb") as file:
            assert read_text(file, paths, limit=limit) is None


@pytest.fixture
def archive(archive_key: Key, tmp_path: Path) -> Iterator[DebianArchive]:
    need("gpg")
    with debian_archive(archive_key, tmp_path) as archive:
        yield archive


def changelogs(archive: DebianArchive, directory: Path, *, offline: bool = False) -> Changelogs:
    address = f"{archive.url}/debian"
    files = PackageFiles(
        directory=directory, addresses=(address,), policy=POLICY, offline=offline, report=Report(quiet=True)
    )
    archives = [PackageArchive(address=address, suite=suite) for suite in (RELEASE, "no-such")]
    return Changelogs(archives=archives, files=files, policy=POLICY)


def published(archive: DebianArchive, *, more: str = "") -> ArchivePackage:
    """A package with a changelog, in an archive whose state says `more`."""
    deb = archive.publish("library", "3-1", files={"usr/share/doc/library/changelog.Debian": CHANGELOG})
    archive.sign()
    release = f"/debian/dists/{RELEASE}/InRelease"
    archive.site.files[release] = archive.site.files[release].replace(
        b"Origin:", more.encode() + b"Origin:", 1
    )
    return package(
        path="pool/main/library/library_3-1_all.deb", sha256=hashlib.sha256(deb).hexdigest(), size=len(deb)
    )


def test_out_of_a_small_package_and_then_out_of_its_file(archive: DebianArchive, tmp_path: Path) -> None:
    moved = published(archive)
    assert changelogs(archive, tmp_path / "packages").news_of([(moved, "2-1")]) == (news(CHANGELOG, "2-1"),)
    again = changelogs(archive, tmp_path / "packages", offline=True)
    archive.site.asked.clear()
    assert again.news_of([(moved, "1-1")]) == (news(CHANGELOG, "1-1"),)
    assert not archive.site.asked
    assert changelogs(archive, tmp_path / "none", offline=True).news_of([(moved, "1-1")]) == ("",)


def test_of_the_service_that_the_archive_names(archive: DebianArchive, tmp_path: Path) -> None:
    moved = published(archive, more=f"Changelogs: {archive.url}/changelogs/@CHANGEPATH@_changelog\n")
    archive.site.files["/changelogs/main/library/library_3-1_changelog"] = entry(
        "3-1", "Of the service."
    ).encode()
    asked = changelogs(archive, tmp_path / "packages")
    assert asked.news_of([(moved, "2-1")]) == ("library (3-1) trixie; urgency=medium\n  * Of the service.",)
    assert not (tmp_path / "packages").exists()
    del archive.site.files["/changelogs/main/library/library_3-1_changelog"]
    assert asked.news_of([(moved, "2-1")]) == (news(CHANGELOG, "2-1"),)
    large = package(path="pool/x/large.deb", size=5 << 20)
    assert asked.news_of([(large, "2-1")]) == ("",)
    assert asked.news_of([]) == ()
