"""The base `debian`: its command, its ingredients, its mirrors. It runs in tests/integration/test_bases.py."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from dibo.build.archives.apt_sources import apt_sources
from dibo.build.bases import debian, releases
from dibo.build.bases.debian import Debian, suite_name
from dibo.build.bases.mirror import Sources, sources
from dibo.build.bases.settings import BaseSettings
from dibo.errors import BaseError, ToolMissing, UsageError
from tests.support.servers.fake_web_server import FakeWebServer

MIRROR = "http://mirror.example/debian"
ONE_LINE = f"""\
# deb http://old.example/debian trixie main
deb [arch=amd64 signed-by=/x] {MIRROR} trixie main contrib # a remark
deb-src {MIRROR} trixie main
deb {MIRROR} trixie-updates main
deb http://security.example/debian-security trixie-security main
deb http://other.example/debian trixie-backports main
deb http://third.example/trixie trixie contrib
deb cdrom:[Debian]/ trixie main
"""
DEB822 = f"""\
Types: deb deb-src
# a remark
URIs: {MIRROR}
Suites: trixie
 trixie-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 URIs: http://evil.example/

Types: deb
Enabled: no
URIs: http://disabled.example/
Suites: trixie
Components: main

types: deb
uris: http://security.example/debian-security
suites: trixie-security
components: main
"""
FOUND = (
    (MIRROR, "trixie"),
    (MIRROR, "trixie-updates"),
    ("http://security.example/debian-security", "trixie-security"),
)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host that has what a Debian base needs."""
    for tool in ("mmdebstrap", "newuidmap"):
        (tmp_path / tool).touch(mode=0o755)
    (tmp_path / "keyring.gpg").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(debian, "KEYRING", tmp_path / "keyring.gpg")
    for name in (
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ftp_proxy",
    ):
        monkeypatch.delenv(name, raising=False)


def host(directory: Path, *, system: str = "debian", **files: str) -> Path:
    (directory / "etc/apt/sources.list.d").mkdir(parents=True)
    (directory / "etc/os-release").write_text(f'NAME="x"\nID={system}\n')
    for name, text in files.items():
        (directory / "etc/apt" / name.replace("__", "/").replace("_", ".")).write_text(text)
    return directory


def test_sources_of_the_host_in_both_formats(tmp_path: Path) -> None:
    lines = host(tmp_path / "a", sources_list=ONE_LINE)
    stanzas = host(tmp_path / "b", sources_list_d__debian_sources=DEB822.replace("sources.list.d", ""))
    (stanzas / "etc/apt/sources.list.d/debian.sources").write_text(DEB822)
    for each in (lines, stanzas):
        found = sources("trixie", mirror=None, host=each)
        assert found is not None
        assert found.entries == FOUND
        assert not found.own_security


def test_sources_of_other_hosts_do_not_count(tmp_path: Path) -> None:
    assert sources("bookworm", mirror=None, host=host(tmp_path / "a", sources_list=ONE_LINE)) is None
    assert (
        sources("trixie", mirror=None, host=host(tmp_path / "b", system="ubuntu", sources_list=ONE_LINE))
        is None
    )
    assert sources("trixie", mirror=None, host=tmp_path / "missing") is None
    assert sources("trixie", mirror=None, host=host(tmp_path / "c")) is None


def test_sources_of_the_host_that_apt_does_not_read_or_that_need_a_login(tmp_path: Path) -> None:
    directory = host(tmp_path, sources_list=ONE_LINE)
    (directory / "etc/apt/sources.list.d/broken.list").write_text("deb http://broken.example/debian\n")
    (directory / "etc/apt/sources.list.d/broken.sources").write_text("Types: deb\n")
    login = "deb http://me:secret@own.example/debian trixie main\n"
    (directory / "etc/apt/sources.list").write_text(login + ONE_LINE)
    read = sources("trixie", mirror=None, host=directory)
    assert read is not None
    assert read.entries == FOUND


def test_formats() -> None:
    assert [source.address for source in apt_sources("a.list", ONE_LINE)].count(MIRROR) == 2
    assert list(apt_sources("a.sources", "")) == []
    assert {source.address for source in apt_sources("a.sources", DEB822)} == {
        MIRROR,
        "http://security.example/debian-security",
    }


def test_a_mirror_by_name() -> None:
    one = sources("trixie", mirror=MIRROR)
    assert one == Sources(entries=FOUND[:2], own_security=True)
    assert sources("trixie", mirror=f"{MIRROR} {FOUND[2][0]}") == Sources(entries=FOUND)
    assert sources("sid", mirror=MIRROR) == Sources(entries=((MIRROR, "sid"),))


@pytest.mark.parametrize(
    "wrong", ["mirror.example", "ftp://x/", "http://a http://b http://c", "http://a/'$(id)'"]
)
def test_what_is_no_mirror(wrong: str) -> None:
    with pytest.raises(UsageError, match="is not a mirror"):
        sources("trixie", mirror=wrong)


def test_a_snapshot_may_be_old() -> None:
    found = sources("sid", mirror="http://s.example/archive/debian/20261101T000000Z/")
    assert found is not None
    assert "[arch=arm64 check-valid-until=no]" in found.lines("arm64")


@pytest.mark.usefixtures("here")
def test_the_command(settings: BaseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    said = dataclasses.replace(settings, mirror=MIRROR, epoch="2026-11-01")
    for uid, mode in ((0, "--mode=root"), (1000, "--mode=unshare")):
        monkeypatch.setattr("os.geteuid", lambda uid=uid: uid)
        command = Debian("13", settings=said).source()
        assert command.argv[:2] == ("mmdebstrap", mode)
        assert command.argv[-2:] == ("trixie", "-")
        assert {"--verbose", "--skip=cleanup/apt/lists"} <= set(command.argv)
        assert any(MIRROR in word for word in command.argv if word.startswith("--setup-hook="))
        assert dict(command.environment)["SOURCE_DATE_EPOCH"] == "1793491200"
        assert dict(command.environment)["http_proxy"] == "http://proxy.example:3128"


def test_ingredients_know_no_mirror_and_no_user(
    settings: BaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Debian("trixie", settings=settings).ingredients()
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    assert Debian("13", settings=dataclasses.replace(settings, mirror=MIRROR)).ingredients() == plain
    assert Debian("trixie", settings=dataclasses.replace(settings, epoch="2")).ingredients() != plain
    assert dict(plain)["suite"] == "trixie"


def test_the_list_of_packages() -> None:
    found = debian.packages()
    assert {"cloud-init", "openssh-server", "systemd-sysv", "netplan.io"} <= set(found)
    assert all(name == name.strip() and "#" not in name and name for name in found)


def test_the_base_of_elements_has_neither_cloud_init_nor_a_network(
    settings: BaseSettings, here: None
) -> None:
    base = Debian("trixie", settings=settings, packages_of=debian.MINIMAL_ROOT)
    assert base.name == "debian-minimal:trixie"
    assert base.ingredients() != Debian("trixie", settings=settings).ingredients()
    assert "--include=tzdata" in base.source().argv


def test_what_is_missing(
    settings: BaseSettings, monkeypatch: pytest.MonkeyPatch, here: None, tmp_path: Path
) -> None:
    monkeypatch.setattr(debian, "KEYRING", tmp_path / "none")
    with pytest.raises(BaseError, match="no keyring") as keyring:
        Debian("trixie", settings=settings).source()
    assert "debian-archive-keyring" in keyring.value.hint
    monkeypatch.setattr("dibo.system.process.find", lambda _: None)
    with pytest.raises(ToolMissing, match="mmdebstrap is not installed") as tool:
        Debian("trixie", settings=settings).source()
    assert "apt-get install mmdebstrap" in tool.value.hint


def test_names_of_releases() -> None:
    assert suite_name("12") == "bookworm"
    assert suite_name("sid") == "sid"
    assert releases.NEWEST_DEBIAN_STABLE in releases.DEBIAN.values()
    for wrong in ("99", "bullseye", "noble", "a b", ""):
        with pytest.raises(UsageError):
            suite_name(wrong)


def test_the_mirror_serves_the_build_and_goes(tmp_path: Path) -> None:
    """The setup-hook, run as mmdebstrap runs it, and what it leaves for the last step of a build."""
    apt = tmp_path / "etc/apt"
    (apt / "sources.list.d").mkdir(parents=True)
    own = "deb [signed-by=/k.gpg] http://own.example/debian trixie main\n"
    security = "deb [signed-by=/k.gpg] http://own.example/debian-security trixie-security main\n"
    (apt / "sources.list").write_text(own + security)
    found = sources("trixie", mirror=MIRROR)
    assert found is not None
    hook = debian._setup_hook(found, "trixie", "amd64")
    subprocess.run(["sh", "-c", hook, "exec", tmp_path], check=True)
    assert (apt / "sources.list").read_text() == (
        f"deb [signed-by=/k.gpg arch=amd64] {MIRROR} trixie main\n"
        f"deb [signed-by=/k.gpg arch=amd64] {MIRROR} trixie-updates main\n{security}"
    )
    last = (tmp_path / "usr/lib/dibo/finalise.d/00-sources").read_text().replace("/etc/", f"{tmp_path}/etc/")
    subprocess.run(["sh", "-c", last], check=True)
    assert (apt / "sources.list").read_text() == own + security
    assert sorted(path.name for path in apt.iterdir()) == ["sources.list", "sources.list.d"]


def test_a_release_that_the_mirror_does_not_have(settings: BaseSettings) -> None:
    with FakeWebServer() as server:
        server.site.files["/debian/dists/duke/Release"] = b"Suite: duke"
        said = dataclasses.replace(settings, mirror=f"{server.url}/debian")
        Debian("duke", settings=said).ingredients()
        with pytest.raises(BaseError, match=f"the mirror {server.url}/debian has no release foo") as caught:
            Debian("foo", settings=said).ingredients()
        assert "trixie (13)" in caught.value.hint
        asked = len(server.site.asked)
        Debian("trixie", settings=said).ingredients()
        Debian("foo", settings=dataclasses.replace(said, offline=True)).ingredients()
        assert len(server.site.asked) == asked, "what dibo knows needs no network"
    Debian("foo", settings=said).ingredients()  # nobody answers: mmdebstrap may have a proxy of its own
