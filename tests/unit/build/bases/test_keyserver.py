"""Ubuntu's image keys from a keyserver: HKP over TLS on loopback, and keys made for the test."""

from __future__ import annotations

import base64
import dataclasses
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dibo.build.bases import ubuntu_keys
from dibo.build.bases.keyserver import LARGEST_ANSWER, lookup_address
from dibo.build.bases.openpgp import certificate
from dibo.build.bases.settings import BaseSettings
from dibo.build.bases.ubuntu_keys import FINGERPRINTS, UbuntuKeys
from dibo.errors import BaseError, Unreachable, UsageError, VerificationFailed
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from tests.support.gpg_keys import Key, Keys, make_key
from tests.support.servers.fake_web_server import FakeWebServer, make_certificate

REAL = Path(__file__).with_name("ubuntu-image-keys.asc")
"""The two keys, as gpg --export prints those of Debian's package ubuntu-keyring."""
LIST = b"0" * 64 + b" *noble-server-cloudimg-amd64-root.tar.xz\n"
URL = "https://images.example/noble/current/SHA256SUMS"


def path_of(key: Key) -> str:
    return f"/pks/lookup?op=get&options=mr&search=0x{key.fingerprint}"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(tls: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWebServer]:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls))
    with FakeWebServer() as web:
        web.secure(tls)
        yield web


@dataclasses.dataclass
class Machine:
    """One without a keyring of Ubuntu's; `verify` is what the base does with a list, in a run of its own."""

    settings: BaseSettings
    workspace: Workspace
    report: Report
    key: Key

    def verify(self, signer: Key | None = None, **changes: object) -> None:
        settings = dataclasses.replace(self.settings, **changes)  # type: ignore[arg-type]
        keys = UbuntuKeys(settings, self.workspace, self.report)
        keys.verify(LIST, (signer or self.key).sign(LIST), description=URL)

    @property
    def kept(self) -> Path:
        return self.workspace.bases / "keys" / f"{self.key.fingerprint}.gpg"


@pytest.fixture
def machine(
    server: FakeWebServer,
    keys: Keys,
    settings: BaseSettings,
    workspace: Workspace,
    report: Report,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Machine:
    server.site.files[path_of(keys.pinned)] = keys.pinned.export()
    monkeypatch.setattr(ubuntu_keys, "KEYRING", tmp_path / "no-package.gpg")
    settings = dataclasses.replace(settings, keyserver=server.url, fingerprint=keys.pinned.fingerprint)
    return Machine(settings, workspace, report, keys.pinned)


def test_a_key_is_fetched_once_and_kept_for_its_user(machine: Machine, server: FakeWebServer) -> None:
    machine.verify()
    assert server.site.paths() == [path_of(machine.key)]
    assert stat.S_IMODE(machine.kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(machine.kept.parent.stat().st_mode) == 0o700
    machine.verify()
    machine.verify(offline=True)
    machine.verify(keyserver="none")
    assert server.site.paths() == [path_of(machine.key)]


def test_both_keys_of_ubuntu_are_pinned() -> None:
    blocks = re.findall(rb"-----BEGIN.*?-----END[^\n]*\n", REAL.read_bytes(), re.DOTALL)
    for fingerprint, block in zip(FINGERPRINTS, blocks, strict=True):
        assert certificate(block, fingerprint)[0] & 0x80


def test_the_second_key_is_asked_for_where_the_first_did_not_sign(
    machine: Machine, server: FakeWebServer, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = (keys.pinned.fingerprint, keys.other.fingerprint)
    monkeypatch.setattr(ubuntu_keys, "FINGERPRINTS", pins)
    server.site.files[path_of(keys.other)] = keys.other.export()
    machine.verify(keys.other, fingerprint=None)
    assert server.site.paths() == [path_of(keys.pinned), path_of(keys.other)]
    del server.site.files[path_of(keys.other)]
    (machine.kept.parent / f"{keys.other.fingerprint}.gpg").unlink()
    with pytest.raises(VerificationFailed, match=f"not signed by the key {' or '.join(pins)}"):
        machine.verify(keys.other, fingerprint=None)


def test_the_package_is_asked_before_the_keyserver(
    machine: Machine, server: FakeWebServer, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package.gpg"
    monkeypatch.setattr(ubuntu_keys, "KEYRING", package)
    package.write_bytes(keys.pinned.export(armour=False))
    machine.verify(keyserver="none")
    assert server.site.paths() == []
    package.write_bytes(keys.other.export(armour=False))  # older than the key
    machine.verify()
    assert server.site.paths() == [path_of(machine.key)]


def test_a_keyring_that_is_named_is_the_only_one(
    machine: Machine, server: FakeWebServer, tmp_path: Path
) -> None:
    own = tmp_path / "own.asc"
    own.write_bytes(machine.key.export())
    machine.verify(keyring=own)
    with pytest.raises(BaseError, match=r"other\.gpg is missing"):
        machine.verify(keyring=tmp_path / "other.gpg")
    assert server.site.paths() == []


def test_what_the_cache_holds_is_not_believed_unseen(
    machine: Machine, server: FakeWebServer, keys: Keys
) -> None:
    machine.verify()
    for foreign in (keys.other.export(armour=False), b"", b"\x99\xff", b"text"):
        machine.kept.write_bytes(foreign)
        machine.verify()
        assert machine.kept.read_bytes() == certificate(machine.key.export(), machine.key.fingerprint)
    assert len(server.site.paths()) == 5


def with_subkey(key: Key, foreign: Key) -> bytes:
    """The key with the public key of another as its subkey, which it never signed."""
    packet = foreign.export(armour=False)
    size = packet[1] + 2
    assert packet[0] == 0x98, "a public key, in the old format, with one octet of length"
    return key.export(armour=False) + b"\xb8" + packet[1:size]


def test_a_subkey_that_the_key_did_not_bind_signs_nothing(
    machine: Machine, server: FakeWebServer, keys: Keys
) -> None:
    server.site.files[path_of(machine.key)] = with_subkey(keys.pinned, keys.other)
    machine.verify()
    with pytest.raises(VerificationFailed, match="is not signed by the key"):
        machine.verify(keys.other)


def armoured(data: bytes) -> bytes:
    text = base64.encodebytes(data)
    return b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n" + text + b"-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda keys: keys.other.export(), "expected the key .*, got [0-9A-F]{40}$"),
        (
            lambda keys: armoured(keys.pinned.export(armour=False) + keys.other.export(armour=False)),
            "expected the key .*, got [0-9A-F]{40} and [0-9A-F]{40}$",
        ),
        (
            lambda _: b"<html>Log in to the network</html>",
            "expected an OpenPGP public key, got something else",
        ),
        (lambda _: b"", "expected an OpenPGP public key, got something else"),
        (lambda keys: keys.pinned.export(secret=True), "expected an OpenPGP public key, got something else"),
        (lambda keys: armoured(keys.pinned.export(armour=False)[:-9]), "ends too early"),
        (lambda _: armoured(b"\x99"), "ends too early"),
        (lambda _: armoured(b"\xb4\x01x"), "got what belongs to one"),
        (lambda _: armoured(b"\x98\x01\x03"), "of version 4 or 6, got version 3"),
        (lambda _: armoured(b"\xa0\x00"), "packet of type 8"),
        (lambda _: b"x" * (LARGEST_ANSWER + 1), "is larger than 1 MiB"),
    ],
    ids=[
        "wrong key",
        "two keys",
        "a login page",
        "nothing",
        "a secret key",
        "a cut key",
        "a cut packet",
        "a user id alone",
        "an old key",
        "compressed",
        "huge",
    ],
)
def test_other_answers(
    answer: object, problem: str, machine: Machine, server: FakeWebServer, keys: Keys
) -> None:
    assert callable(answer)
    server.site.files[path_of(machine.key)] = answer(keys)
    with pytest.raises(BaseError, match=problem) as caught:
        machine.verify()
    assert "--base debian" in caught.value.hint
    assert not machine.kept.exists()
    assert caught.value.message.startswith(server.url)


def test_a_server_without_the_key(machine: Machine, server: FakeWebServer) -> None:
    server.site.files.clear()
    with pytest.raises(BaseError, match="the server answered 404") as caught:
        machine.verify()
    assert "name another by --keyserver" in caught.value.hint
    assert "--base debian" in caught.value.hint


def test_a_server_that_is_silent(machine: Machine, server: FakeWebServer) -> None:
    server.site.inject(path_of(machine.key), *["hang:10"] * 9)
    policy = dataclasses.replace(machine.settings.policy, read=0.2, pauses=(0.0,))
    with pytest.raises(Unreachable) as caught:
        machine.verify(policy=policy)
    assert "ubuntu-keyring" in caught.value.hint


def test_no_server(machine: Machine, server: FakeWebServer) -> None:
    server.close()
    with pytest.raises(Unreachable, match="cannot be reached") as caught:
        machine.verify()
    assert "http_proxy" in caught.value.hint
    assert "--base debian" in caught.value.hint


def test_redirects(machine: Machine, server: FakeWebServer) -> None:
    server.site.files["/moved"] = machine.key.export()
    server.site.redirects[path_of(machine.key)] = "/moved"
    machine.verify()
    machine.kept.unlink()
    server.site.redirects["/moved"] = path_of(machine.key)
    with pytest.raises(BaseError, match="the server answered 302") as caught:
        machine.verify()
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "problem"),
    [({"offline": True}, "told to stay offline"), ({"keyserver": "none"}, "--keyserver none forbids")],
)
def test_no_key_and_no_server_to_ask(
    changes: dict[str, Any], problem: str, machine: Machine, server: FakeWebServer
) -> None:
    with pytest.raises(BaseError, match=problem) as caught:
        machine.verify(**changes)
    assert "apt-get install ubuntu-keyring" in caught.value.hint
    assert server.site.paths() == []


@pytest.mark.parametrize("prolonged", [False, True])
def test_an_expired_key_is_asked_for_once_more(
    prolonged: bool, machine: Machine, server: FakeWebServer, keys: Keys
) -> None:
    key = make_key(keys.pinned.home, f"short-lived-{prolonged}", expires="1y", at="20190101T000000")
    signature = key.sign(LIST, at="20190601T000000")
    machine.key, settings = key, dataclasses.replace(machine.settings, fingerprint=key.fingerprint)
    machine.kept.parent.mkdir()
    machine.kept.write_bytes(certificate(key.export(), key.fingerprint))
    if prolonged:
        key.prolong()
    server.site.files[path_of(key)] = key.export()
    ubuntu = UbuntuKeys(settings, machine.workspace, machine.report)
    if prolonged:
        ubuntu.verify(LIST, signature, description=URL)
    else:
        with pytest.raises(VerificationFailed, match="has expired or was revoked") as caught:
            ubuntu.verify(LIST, signature, description=URL)
        assert "--base debian" in caught.value.hint
    assert server.site.paths() == [path_of(key)]


@pytest.mark.parametrize(
    ("keyserver", "address"),
    [
        ("keys.example", "https://keys.example"),
        ("schlüssel.example", "https://schlüssel.example"),
        ("https://keys.example/", "https://keys.example"),
        ("hkps://keys.example:8443", "https://keys.example:8443"),
        ("hkp://keys.example", "http://keys.example:11371"),
        ("http://[::1]:80/mirror", "http://[::1]:80/mirror"),
    ],
)
def test_addresses_of_keyservers(keyserver: str, address: str) -> None:
    assert lookup_address(keyserver, "AB") == f"{address}/pks/lookup?op=get&options=mr&search=0xAB"


@pytest.mark.parametrize(
    "keyserver",
    [
        *("ldap://keys.example", "https://", "a b", "https://x?y", "https://x:port"),
        *(
            "https://[::1",
            "https://h\u2100.example",
            "keys\x00.example",
            "https://keys.example/\x1b",
            "keys.example/schlüssel",
        ),
    ],
)
def test_what_is_no_address_of_a_keyserver(keyserver: str) -> None:
    with pytest.raises(UsageError, match="is no address of a keyserver"):
        lookup_address(keyserver, "AB")


def test_a_key_that_is_too_large_for_its_own_fingerprint() -> None:
    packet = b"\xc6\xff" + (70_000).to_bytes(4) + b"\x04" + bytes(69_999)
    with pytest.raises(VerificationFailed, match="less than 64 KiB"):
        certificate(packet, FINGERPRINTS[0])


def test_armour_is_read_in_one_go_whatever_its_headers_hold() -> None:
    header = b": ".join([b"a"] * (LARGEST_ANSWER // 4))  # each colon might end the name of a header
    with pytest.raises(VerificationFailed, match="got something else"):
        certificate(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n" + header + b"\n\n-", FINGERPRINTS[0])


def test_threads_that_keep_one_key_at_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a part of its own: the second one neither removes nor finds that of the first."""
    keys = UbuntuKeys(machine.settings, machine.workspace, machine.report)
    keyserver, whole = keys._keyserver, REAL.read_bytes()
    barrier, problems = threading.Barrier(2), []
    replace = Path.replace

    def replace_together(path: Path, target: Path) -> Path:
        barrier.wait(10)
        return replace(path, target)

    def keep() -> None:
        try:
            keyserver._keep(machine.key.fingerprint, whole)
        except Exception as problem:
            problems.append(problem)

    monkeypatch.setattr(Path, "replace", replace_together)
    threads = [threading.Thread(target=keep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert [path.name for path in keyserver.directory.iterdir()] == [f"{machine.key.fingerprint}.gpg"]
