"""The base `ubuntu`, from a loopback server with the layout and the signatures of the real one."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import shutil
from pathlib import Path

import pytest

from dibo.build.bases import releases, ubuntu, ubuntu_keys
from dibo.build.bases.settings import BaseSettings
from dibo.build.bases.ubuntu import Ubuntu
from dibo.errors import BaseError, Unreachable, UsageError, VerificationFailed
from dibo.plan.base import SquashFs, TarFile
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from tests.support.gpg_keys import Key, Keys
from tests.support.servers.fake_web_server import FakeWebServer

TAR = b"\xfd7zXZ\0" + bytes(range(256)) * 2000
FILE = "noble-server-cloudimg-amd64-root.tar.xz"
PLACE = "/noble/current"
LIST = f"{PLACE}/SHA256SUMS"


def publish(web: FakeWebServer, key: Key, files: dict[str, bytes]) -> None:
    """Put `files` on the server, with list and signature."""
    lines = [f"{hashlib.sha256(body).hexdigest()} *{name}\n" for name, body in files.items()]
    text = "".join(lines).encode()
    web.site.files |= {f"{PLACE}/{name}": body for name, body in files.items()}
    web.site.files |= {LIST: text, f"{LIST}.gpg": key.sign(text)}


@pytest.fixture
def settings(settings: BaseSettings, web: FakeWebServer, keys: Keys) -> BaseSettings:
    publish(web, keys.pinned, {FILE: TAR, "noble-server-cloudimg-amd64.img": b"QFI", "MANIFEST": b""})
    return dataclasses.replace(
        settings, cloud_images=f"{web.url}/", keyring=keys.keyring, fingerprint=keys.pinned.fingerprint
    )


@pytest.fixture
def make(settings: BaseSettings, workspace: Workspace, report: Report) -> Make:
    return Make(settings, workspace, report)


@dataclasses.dataclass
class Make:
    settings: BaseSettings
    workspace: Workspace
    report: Report

    def __call__(self, release: str = "noble", **changes: object) -> Ubuntu:
        """A base as a new run of dibo makes it."""
        settings = dataclasses.replace(self.settings, **changes)  # type: ignore[arg-type]
        return Ubuntu(release, settings=settings, workspace=self.workspace, report=self.report)


def test_good(make: Make, web: FakeWebServer) -> None:
    base = make()
    sha256 = hashlib.sha256(TAR).hexdigest()
    assert base.name == "ubuntu:noble"
    assert base.ingredients() == (
        ("kind", "ubuntu"),
        ("release", "noble"),
        ("file", FILE),
        ("sha256", sha256),
    )
    assert web.site.paths() == [LIST, f"{LIST}.gpg"], "ingredients download no root"
    source = base.source()
    assert source == TarFile(path=make.workspace.bases / f"sha256-{sha256}-{FILE}")
    assert source.path.read_bytes() == TAR


def test_the_second_time_only_the_list_is_asked_for(make: Make, web: FakeWebServer) -> None:
    make().source()
    web.site.asked.clear()
    make().source()
    assert web.site.paths() == [LIST]
    assert "If-None-Match" in web.site.asked[0][1]


def test_a_tampered_tarball(make: Make, web: FakeWebServer) -> None:
    web.site.files[f"{PLACE}/{FILE}"] = TAR[:-1] + b"x"
    with pytest.raises(VerificationFailed, match=f"{FILE} has the sha256"):
        make().source()
    assert not list(make.workspace.bases.glob("sha256-*"))


def test_a_changed_list(make: Make, web: FakeWebServer) -> None:
    web.site.files[LIST] = web.site.files[LIST].replace(b"noble", b"nobel")
    with pytest.raises(VerificationFailed, match=r"SHA256SUMS has a bad signature"):
        make().ingredients()


def test_a_changed_list_is_not_hidden_by_an_older_good_one(make: Make, web: FakeWebServer) -> None:
    make().ingredients()
    web.site.files[LIST] += b"0" * 64 + b" *more\n"
    with pytest.raises(VerificationFailed):
        make().ingredients()


@pytest.mark.parametrize("signature", [b"", b"not a signature", b"\x88" * 100])
def test_what_is_no_signature(make: Make, web: FakeWebServer, signature: bytes) -> None:
    web.site.files[f"{LIST}.gpg"] = signature
    with pytest.raises(VerificationFailed, match="is not signed by the key"):
        make().ingredients()


def test_a_good_signature_by_a_key_that_is_not_pinned(make: Make, web: FakeWebServer, keys: Keys) -> None:
    web.site.files[f"{LIST}.gpg"] = keys.other.sign(web.site.files[LIST])
    with pytest.raises(VerificationFailed, match=f"signed by {keys.other.fingerprint}"):
        make().ingredients()


def test_two_good_signatures_one_of_them_pinned(make: Make, web: FakeWebServer, keys: Keys) -> None:
    text = web.site.files[LIST]
    web.site.files[f"{LIST}.gpg"] = keys.other.sign(text, armour=False) + keys.pinned.sign(text, armour=False)
    make().ingredients()


def test_ubuntus_own_key_is_the_default_pin(make: Make) -> None:
    with pytest.raises(
        VerificationFailed, match=f"not signed by the key {' or '.join(ubuntu_keys.FINGERPRINTS)}"
    ):
        make(fingerprint=None).ingredients()


def test_no_keyring(make: Make, tmp_path: Path) -> None:
    with pytest.raises(BaseError, match=r"keyring.*missing") as caught:
        make(keyring=tmp_path / "none.gpg").ingredients()
    assert "apt-get install ubuntu-keyring" in caught.value.hint


def test_a_pin_that_is_no_fingerprint(make: Make) -> None:
    with pytest.raises(UsageError, match="not the fingerprint"):
        make(fingerprint="DEADBEEF")


def test_list_renewed_between_list_and_signature(make: Make, web: FakeWebServer, keys: Keys) -> None:
    new = web.site.files[LIST] + b"0" * 64 + b" *more\n"
    old_signature = web.site.files[f"{LIST}.gpg"]
    publish_later = {LIST: new, f"{LIST}.gpg": keys.pinned.sign(new)}
    web.site.files |= {LIST: new, f"{LIST}.gpg": old_signature}
    policy = dataclasses.replace(make.settings.policy, sleep=lambda _: web.site.files.update(publish_later))
    make(policy=policy).ingredients()


def test_the_first_form_that_is_listed(make: Make, web: FakeWebServer, keys: Keys) -> None:
    stem = "noble-server-cloudimg-amd64"
    squash, gzipped = b"hsqs" + bytes(9), b"\x1f\x8b" + bytes(9)
    publish(web, keys.pinned, {f"{stem}.squashfs": squash, f"{stem}-root.tar.gz": gzipped})
    assert dict(make().ingredients())["file"] == f"{stem}-root.tar.gz"
    publish(web, keys.pinned, {f"{stem}.squashfs": squash})
    assert isinstance(make().source(), SquashFs)


def test_another_name_by_base_image_file(make: Make, web: FakeWebServer, keys: Keys) -> None:
    publish(web, keys.pinned, {FILE: TAR, "mine.tar": b"\x1f\x8bmine"})
    source = make(base_image_file="mine.tar").source()
    assert isinstance(source, TarFile)
    assert source.path.read_bytes() == b"\x1f\x8bmine"


def test_what_is_not_listed(make: Make) -> None:
    with pytest.raises(BaseError, match="lists none of noble-server-cloudimg-arm64-root") as caught:
        make(architecture="arm64").ingredients()
    assert FILE in caught.value.hint


def test_a_disk_image_is_no_root(make: Make) -> None:
    with pytest.raises(BaseError, match="neither a tar"):
        make(base_image_file="noble-server-cloudimg-amd64.img").source()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_that_breaks_off(make: Make, web: FakeWebServer, ranges: bool) -> None:
    web.site.ranges = ranges
    web.site.inject(f"{PLACE}/{FILE}", "cut:200000")
    source = make().source()
    assert isinstance(source, TarFile)
    assert source.path.read_bytes() == TAR
    assert web.site.asked[-1][1].get("Range") == "bytes=200000-"


def test_a_new_list_means_a_new_root(make: Make, web: FakeWebServer, keys: Keys) -> None:
    before = make().ingredients()
    publish(web, keys.pinned, {FILE: TAR + b"new"})
    base = make()
    assert base.ingredients() != before
    source = base.source()
    assert isinstance(source, TarFile)
    assert source.path.read_bytes() == TAR + b"new"


def test_one_run_believes_one_list(make: Make, web: FakeWebServer, keys: Keys) -> None:
    base = make()
    before = base.ingredients()
    publish(web, keys.pinned, {FILE: TAR + b"new"})
    assert base.ingredients() == before


def test_the_last_list_serves_while_the_server_does_not(
    make: Make, web: FakeWebServer, said: io.StringIO
) -> None:
    source = make().source()
    web.close()
    assert make().source() == source
    assert make().ingredients() == make().ingredients()
    assert said.getvalue().count("dibo: warning:") == 1
    assert "the list that was verified last" in said.getvalue()


def test_told_to_stay_offline(make: Make, web: FakeWebServer, said: io.StringIO) -> None:
    source = make().source()
    web.site.asked.clear()
    assert make(offline=True).source() == source
    assert web.site.asked == []
    assert "warning" not in said.getvalue()


def test_offline_with_nothing_kept(make: Make, web: FakeWebServer) -> None:
    with pytest.raises(Unreachable, match="was never read"):
        make(offline=True).ingredients()
    make().ingredients()
    with pytest.raises(Unreachable, match="is not here yet"):
        make(offline=True).source()
    web.close()
    shutil.rmtree(make.workspace.bases / "lists")
    with pytest.raises(Unreachable, match=r"SHA256SUMS cannot be reached") as caught:
        make().ingredients()
    assert "--base debian" in caught.value.hint


def test_a_kept_list_is_not_believed_unseen(make: Make, web: FakeWebServer) -> None:
    make().ingredients()
    (kept,) = (make.workspace.bases / "lists").iterdir()
    kept.write_text(kept.read_text().replace('"list": "', '"list": "AAAA'))
    with pytest.raises(Unreachable):
        make(offline=True).ingredients()
    make().ingredients()


def test_no_such_release(make: Make) -> None:
    with pytest.raises(BaseError, match=r"/oracular/current/SHA256SUMS: the server answered 404"):
        make("oracular").ingredients()


def test_503_then_ok(make: Make, web: FakeWebServer) -> None:
    web.site.inject(LIST, 503)
    web.site.inject(f"{PLACE}/{FILE}", 502)
    make().source()


def test_names_of_releases() -> None:
    assert ubuntu.release_name("24.04") == "noble"
    assert ubuntu.release_name("plucky") == "plucky"
    assert releases.UBUNTU[max(releases.UBUNTU)] == releases.NEWEST_UBUNTU_LTS
    for wrong in ("25.99", "../x", "bookworm", ""):
        with pytest.raises(UsageError):
            ubuntu.release_name(wrong)
