"""`dibo doctor --fix`: what it repairs, that it does so once, and what it leaves alone."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path

import pytest

from dibo.api.upkeep import doctor
from dibo.build import repairs
from dibo.build.bases import ubuntu_keys
from dibo.build.bases.ubuntu_keys import FINGERPRINTS
from dibo.build.finding import Finding
from dibo.cli.main import dibo
from dibo.errors import EngineError, UsageError
from dibo.images.sources import buildah_environment
from dibo.system import package_names
from tests.support.programs import fake
from tests.support.servers.fake_web_server import FakeWebServer

REAL_KEYS = Path(__file__).parent / "bases/ubuntu-image-keys.asc"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of an ordinary user of a machine with buildah, whose store nobody configured."""
    fake(tmp_path, "buildah", """echo '{"store": {"GraphRoot": "/g", "RunRoot": "/r"}}'""")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() or 1000)
    monkeypatch.setattr(buildah_environment, "SYSTEM_STORAGE_CONF", tmp_path / "etc")
    for name in ("STORAGE_DRIVER", "CONTAINERS_STORAGE_CONF", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def repair(findings: list[Finding]) -> str:
    (finding,) = findings
    assert not finding.works
    assert finding.repair is not None
    assert "`dibo doctor --fix` does that" in str(finding)
    return finding.repair()


def test_storage_is_configured_once(home: Path) -> None:
    path = home / "config/containers/storage.conf"
    assert repair(list(repairs.storage_configuration())) == f"wrote {path}: driver overlay"
    storage = tomllib.loads(path.read_text())["storage"]
    assert storage == {"driver": "overlay", "graphroot": "/g", "runroot": "/r"}
    assert list(repairs.storage_configuration()) == []


@pytest.mark.parametrize("where", ["config/containers/storage.conf", "etc"])
def test_a_configuration_of_storage_stays(where: str, home: Path) -> None:
    (home / where).parent.mkdir(parents=True, exist_ok=True)
    (home / where).write_text("mine")
    assert list(repairs.storage_configuration()) == []


def test_images_that_overlay_would_hide_keep_their_driver(home: Path) -> None:
    (home / "data/containers/storage/vfs-images").mkdir(parents=True)
    (finding,) = repairs.storage_configuration()
    assert finding.repair is None
    assert "images of the driver vfs" in finding.advice


def test_a_runtime_directory_is_made_where_the_user_may(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", os.getuid)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    assert repair(list(repairs.runtime_directory())) == f"mkdir -m 700 {home}/run"
    assert stat.S_IMODE((home / "run").stat().st_mode) == 0o700
    assert list(repairs.runtime_directory()) == []


def test_a_runtime_directory_of_another_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    (finding,) = repairs.runtime_directory()
    assert (finding.works, finding.repair, finding.command) == (False, None, "unset XDG_RUNTIME_DIR")


def test_a_cache_directory_that_is_open_to_others(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert list(repairs.cache_directory(cache)) == []
    cache.mkdir(mode=0o755)
    cache.chmod(0o775)
    assert repair(list(repairs.cache_directory(cache))) == f"chmod 700 {cache}"
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert list(repairs.cache_directory(cache)) == []
    (tmp_path / "link").symlink_to(tmp_path)
    assert list(repairs.cache_directory(tmp_path / "link")) == []


def test_a_cache_directory_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 4000)
    (finding,) = repairs.cache_directory(tmp_path)
    assert finding.repair is None
    assert "sudo chown" in finding.command or finding.works


def test_the_command_repairs_the_cache_and_fetches_the_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ubuntu_keys, "KEYRING", tmp_path / "no-package")
    monkeypatch.setattr(doctor, "_base", lambda *_: iter(()))
    monkeypatch.setattr("dibo.build.engines.choose.examine", lambda *_: iter(()))
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o755)
    blocks = REAL_KEYS.read_bytes().split(b"-----BEGIN")[1:]
    with FakeWebServer() as web:
        for fingerprint, block in zip(FINGERPRINTS, blocks, strict=True):
            path = f"/pks/lookup?op=get&options=mr&search=0x{fingerprint}"
            web.site.files[path] = b"-----BEGIN" + block
        argv = ["doctor", "build", "--json", "--cache-dir", str(cache), "--keyserver", web.url]

        def answer(*more: str) -> dict[str, object]:
            dibo([*argv, *more])
            document: dict[str, object] = json.loads(capsys.readouterr().out)
            return document

        before = answer()
        assert before["fixed"] == []
        assert not (cache / "bases").exists()
        fixed = answer("--fix")["fixed"]
        assert f"fetched the keys of Ubuntu's images from {web.url}" in fixed  # type: ignore[operator]
        assert {path.name for path in (cache / "bases/keys").iterdir()} == {
            f"{each}.gpg" for each in FINGERPRINTS
        }
        assert answer("--fix")["fixed"] == []


def test_a_repair_that_fails_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ubuntu_keys, "KEYRING", tmp_path / "no-package")
    monkeypatch.setattr(doctor, "_base", lambda *_: iter(()))
    monkeypatch.setattr("dibo.build.engines.choose.examine", lambda *_: iter(()))
    argv = ["doctor", "build", "--fix", "--offline", "--cache-dir", str(tmp_path / "cache")]
    assert dibo(argv) == 0
    said = capsys.readouterr()
    assert "told to stay offline" in said.err
    assert "--  keys of Ubuntu's images" in said.out


def test_only_what_a_purpose_needs_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    monkeypatch.setattr("dibo.system.process.find", lambda _: None)
    assert dibo(["doctor", "boot"]) == EngineError.exit_code
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "NO  dibo boot, amd64: qemu-system-x86_64"
    assert "this machine is not ready for boot" in said.err
    assert dibo(["doctor", "convert", "-t", "raw", "--cache-dir", str(tmp_path)]) == 0
    assert "mksquashfs" not in capsys.readouterr().out
    assert (
        dibo(["doctor", "convert", "-t", "squashfs", "--cache-dir", str(tmp_path)]) == EngineError.exit_code
    )
    assert "NO  type squashfs: mksquashfs" in capsys.readouterr().out
    assert dibo(["doctor", "fly"]) == UsageError.exit_code
    assert "dibo doctor takes build, ramdisk" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("os_release", "advice"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "sudo apt-get install xz-utils"),
        ("ID=linuxmint\nID_LIKE='ubuntu debian'\n", "sudo apt-get install xz-utils"),
        ("ID=fedora\n", "sudo dnf install xz"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "sudo dnf install xz"),
        ("ID=arch\n", "xz, which Debian has in the package xz-utils"),
        ("ID='\n", "sudo apt-get install xz-utils"),
        (None, "sudo apt-get install xz-utils"),
    ],
)
def test_packages_have_the_names_of_the_distribution(
    os_release: str | None, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "os-release"
    if os_release is not None:
        path.write_text(os_release)
    monkeypatch.setattr(package_names, "OS_RELEASE", path)
    assert package_names.how_to_install("xz") == f"install it: {advice}"
    assert set(package_names.FEDORA) <= set(package_names.PACKAGES)


@pytest.mark.parametrize(
    ("advice", "root", "user"),
    [
        (
            "install it: sudo apt-get install xz-utils",
            "apt-get install xz-utils",
            "sudo apt-get install xz-utils",
        ),
        ("sudo apt-get install x, where there is one", "apt-get install x", "sudo apt-get install x"),
        ("chmod 700 /x\nor another", "chmod 700 /x", "chmod 700 /x"),
        ("ask somebody", "", ""),
    ],
)
def test_the_command_in_an_advice(advice: str, root: str, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding(title="x", works=False, advice=advice)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert finding.command == root
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert finding.command == user
