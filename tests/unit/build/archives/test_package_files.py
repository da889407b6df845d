"""Files of packages: what they say of themselves, and an archive of chosen ones."""

from __future__ import annotations

import hashlib
import io
import lzma
from pathlib import Path

import pytest

from dibo.build.archives.package_files import PackageFiles, read_control
from dibo.errors import BaseError, Unreachable, VerificationFailed
from dibo.plan.input_files import InputFile, InputStore, NoInputs, package_file
from dibo.plan.packages import ArchivePackage
from dibo.system.report import Report
from dibo.system.retry import RetryPolicy
from tests.support.input_store import MemoryInputs
from tests.support.requirements import need
from tests.support.servers.debian_archive import make_deb
from tests.support.servers.fake_web_server import FakeWebServer

FIELDS = {"Package": "tool", "Version": "1:2-3+b1", "Architecture": "all", "Depends": "library"}


def package_of(deb: bytes, path: str = "pool/tool_2-3+b1_all.deb") -> ArchivePackage:
    return ArchivePackage(
        name="tool",
        version="1:2-3+b1",
        architecture="all",
        sha256=hashlib.sha256(deb).hexdigest(),
        size=len(deb),
        path=path,
    )


def files_of(
    tmp_path: Path, *addresses: str, offline: bool = False, store: InputStore | None = None
) -> PackageFiles:
    return PackageFiles(
        directory=tmp_path / "packages",
        addresses=addresses,
        policy=RetryPolicy(connect=5.0, pauses=()),
        offline=offline,
        report=Report(quiet=True),
        store=store or NoInputs(),
    )


def test_what_a_package_says_of_itself() -> None:
    time, control = read_control(io.BytesIO(make_deb(FIELDS, time=1234)), name="tool.deb")
    assert time == 1234
    assert control.splitlines()[0] == "Package: tool"


@pytest.mark.parametrize("data", [b"", b"!<arch>\n", b"text", make_deb(FIELDS)[:150]])
def test_what_is_no_package(data: bytes) -> None:
    with pytest.raises(BaseError, match=r"tool.deb is no package of Debian"):
        read_control(io.BytesIO(data), name="tool.deb")


def test_an_archive_of_chosen_packages_is_as_old_as_the_newest(tmp_path: Path) -> None:
    old, new = make_deb(FIELDS, time=1000), make_deb(FIELDS | {"Version": "2"}, time=2000)
    packages = (package_of(old), package_of(new, "pool/other.deb"))
    with FakeWebServer() as gone, FakeWebServer() as server:
        server.site.files |= {"/pool/tool_2-3%2Bb1_all.deb": old, "/pool/other.deb": new}
        files = files_of(tmp_path, gone.url, server.url)
        assert files.write_archive(packages, tmp_path / "archive", suite="trixie") == 2000
        asked = len(server.site.asked)
        files.write_archive(packages, tmp_path / "again", suite="trixie")
        assert len(server.site.asked) == asked
    index = (tmp_path / "archive/Packages").read_text()
    for package in packages:
        stanza = next(text for text in index.split("\n\n") if package.sha256 in text)
        name = stanza.partition("Filename: ")[2].partition("\n")[0]
        assert (tmp_path / "archive" / name).read_bytes() in (old, new)
        assert (tmp_path / "archive" / name).stat().st_mode & 0o777 == 0o644
    release = (tmp_path / "archive/Release").read_text()
    assert hashlib.sha256(index.encode()).hexdigest() in release
    assert "Codename: trixie\n" in release


def test_a_file_that_was_changed_here_is_fetched_again(tmp_path: Path) -> None:
    deb = make_deb(FIELDS)
    with FakeWebServer() as server:
        server.site.files["/pool/other.deb"] = deb
        files = files_of(tmp_path, server.url)
        (path,) = files.fetch((package_of(deb, "pool/other.deb"),))
        path.write_bytes(b"something else")
        (path,) = files.fetch((package_of(deb, "pool/other.deb"),))
    assert path.read_bytes() == deb


def test_a_package_that_is_gone_is_named(tmp_path: Path) -> None:
    with (
        FakeWebServer() as server,
        pytest.raises(BaseError, match=r"the package tool 1:2-3\+b1 \(all\) is gone") as caught,
    ):
        files_of(tmp_path, server.url).fetch((package_of(b"x"),))
    assert "start again" in caught.value.hint


def test_archives_that_refuse_what_they_have_not_or_have_other_files_of_a_path(tmp_path: Path) -> None:
    deb = make_deb(FIELDS)
    package = package_of(deb, "pool/tool.deb")
    with FakeWebServer() as shut, FakeWebServer() as odd, FakeWebServer() as server:
        shut.site.inject("/pool/tool.deb", 403, 403)
        odd.site.files["/pool/tool.deb"] = b"of another archive"
        server.site.files["/pool/tool.deb"] = deb
        (path,) = files_of(tmp_path, shut.url, odd.url, server.url).fetch((package,))
        assert path.read_bytes() == deb
        with pytest.raises(BaseError, match=r"cannot be fetched: .*403") as caught:
            files_of(tmp_path / "again", shut.url).fetch((package,))
    assert "whether you may read" in caught.value.hint


def test_offline(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"tool 1:2-3.* is not here yet"):
        files_of(tmp_path, "http://127.0.0.1:9", offline=True).fetch((package_of(b"x"),))


def test_the_name_of_a_file() -> None:
    package = package_of(b"x")
    expected = InputFile(sha256=package.sha256, name="tool_2-3+b1_all.deb", size=1)
    assert package_file(package) == expected


def test_a_store_is_asked_before_the_archive(tmp_path: Path) -> None:
    deb = make_deb(FIELDS)
    package = package_of(deb)
    store = MemoryInputs(files={package.sha256: deb})
    with FakeWebServer() as server:
        files = files_of(tmp_path, server.url, store=store)
        (path,) = files.fetch((package,))
        assert server.site.asked == []
    assert (path.read_bytes(), files.find(package)) == (deb, path)
    assert store.asked == ["early"]


def test_a_store_is_asked_again_where_the_archive_is_gone(tmp_path: Path) -> None:
    deb = make_deb(FIELDS)
    package = package_of(deb)
    store = MemoryInputs(files={package.sha256: deb}, only_urgent=True)
    files_of(tmp_path, "http://127.0.0.1:9", store=store).fetch((package,))
    assert store.asked == ["early", "urgent"]
    (tmp_path / "packages").rename(tmp_path / "before")
    with FakeWebServer() as server:
        files_of(tmp_path, server.url, store=store).fetch((package,))
        assert server.site.asked
    assert store.asked == ["early", "urgent"] * 2


def test_the_archive_is_asked_for_what_a_store_lacks(tmp_path: Path) -> None:
    deb, store = make_deb(FIELDS), MemoryInputs()
    with FakeWebServer() as server:
        server.site.files["/pool/other.deb"] = deb
        files_of(tmp_path, server.url, store=store).fetch((package_of(deb, "pool/other.deb"),))
    assert store.asked == ["early"]


def test_an_archive_that_has_another_file_is_refused_whatever_a_store_has(tmp_path: Path) -> None:
    deb = make_deb(FIELDS)
    package = package_of(deb, "pool/other.deb")
    store = MemoryInputs(files={package.sha256: deb}, only_urgent=True)
    with FakeWebServer() as server, pytest.raises(VerificationFailed):
        server.site.files["/pool/other.deb"] = b"other"
        files_of(tmp_path, server.url, store=store).fetch((package,))


def test_offline_asks_no_store(tmp_path: Path) -> None:
    store = MemoryInputs()
    with pytest.raises(Unreachable):
        files_of(tmp_path, offline=True, store=store).fetch((package_of(b"x"),))
    assert store.asked == []


def test_compressions_of_control_archives() -> None:
    deb = make_deb(FIELDS)
    start = deb.index(b"control.tar.gz")
    size = int(deb[start + 48 : start + 58])
    import gzip

    tar = gzip.decompress(deb[start + 60 : start + 60 + size])
    packed = lzma.compress(tar)
    header = b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (b"control.tar.xz", 5, 0, 0, b"100644", len(packed))
    text = deb[:start] + header + packed
    assert read_control(io.BytesIO(text), name="x")[1].startswith("Package: tool")


def test_many_packages_come_by_one_connection_and_each_is_checked(tmp_path: Path) -> None:
    need("apt-get")
    debs = [make_deb(FIELDS | {"Package": f"tool-{number}"}) for number in range(8)]
    packages = tuple(package_of(deb, f"pool/tool-{number}.deb") for number, deb in enumerate(debs))
    with FakeWebServer() as first, FakeWebServer() as second:
        for number, deb in enumerate(debs):
            server = first if number < 5 else second
            server.site.files[f"/pool/tool-{number}.deb"] = deb
        first.site.files["/pool/tool-5.deb"] = b"of another archive"
        paths = files_of(tmp_path, first.url, second.url).fetch(packages)
        assert [path.read_bytes() for path in paths] == debs
        agents = {headers["User-Agent"].split("/")[0] for _, headers in second.site.asked}
        assert "Debian APT-HTTP" in agents
        (tmp_path / "other").mkdir()
        second.site.files["/pool/tool-7.deb"] = b"poison"
        with pytest.raises(VerificationFailed, match="has another file as tool"):
            files_of(tmp_path / "other", first.url, second.url).fetch(packages)
    assert not list(tmp_path.rglob("part-*"))
