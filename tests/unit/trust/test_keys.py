"""Keys as cosign has them, and signatures that count, or do not."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from dibo.errors import OutputError, UsageError
from dibo.trust import keys

PEM, NONE = serialization.Encoding.PEM, serialization.NoEncryption()

# Written by cosign's own code: skopeo 1.18, `skopeo generate-sigstore-key`, passphrase "pass word".
OF_SKOPEO = """-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6
OCwicCI6MX0sInNhbHQiOiJBYnJBL1JMSWk3NGo0VW1UeXZEZUxCdmYvRy9RTGhq
N2xod0tPSkJtc1dnPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
Iiwibm9uY2UiOiJxckl2S1BkV0JHRElEb2JLUkpSd1QyQVlvbVliZ3o0NiJ9LCJj
aXBoZXJ0ZXh0IjoiOVZPZFR6U2I4MExocmRaODc5VEsvS3Q4QVpMNjRjcmljVTdD
NGJvb1BaZ3ZDVGtPUlBlKytNaGxvaUpJMEQ1bGd6Uk54M1RWRjFveXRFQ3lXek1B
emtmcGFCdWkzL1JIT0sreTFZVjZ6ZlFBajVWMW10V2xMdStDNmhvTmlRVGQ3T0N4
MmVmV3o5c0l3cVNRRmsySE5XRXlYVzMzdldUak5xTmRhWjBsKzU1eEZub0piWUtY
VnY4cDdyaUdOckZrWXRiVHEwYmkzVE9KUkE9PSJ9
-----END ENCRYPTED COSIGN PRIVATE KEY-----"""
OF_SKOPEO_PUBLIC = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEgDVg7uQ7QQtdkOB4O4cSnkwcwOsh
55TeMpo85CsnqgRFXAX698lvHyvgw89jmq4VLVQEeF+BFPkijBth5WS8Bg==
-----END PUBLIC KEY-----"""


def test_a_pair_is_written_and_read(tmp_path: Path) -> None:
    private = keys.generate()
    paths = keys.write_pair(private, tmp_path / "team", password=b"secret")
    assert paths == (tmp_path / "team.key", tmp_path / "team.pub")
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o600
    assert b"BEGIN ENCRYPTED SIGSTORE PRIVATE KEY" in paths[0].read_bytes()
    again = keys.read_private_key(paths[0], password=b"secret")
    public = keys.read_public_key(paths[1])
    assert public.signed(b"x", again.sign(b"x"))
    assert not public.signed(b"y", again.sign(b"x"))
    assert not public.signed(b"x", b"no signature")
    assert not public.signed(b"x", keys.generate().sign(b"x"))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "team.key").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        keys.write_pair(keys.generate(), tmp_path / "team", password=b"")
    assert (tmp_path / "team.key").read_text() == "mine"


def test_a_pair_of_skopeo_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text(OF_SKOPEO)
    (tmp_path / "a.pub").write_text(OF_SKOPEO_PUBLIC)
    private = keys.read_private_key(tmp_path / "a.key", password=b"pass word")
    assert keys.read_public_key(tmp_path / "a.pub").signed(b"x", private.sign(b"x"))


@pytest.mark.parametrize(
    "form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]
)
def test_plain_keys_are_read(tmp_path: Path, form: serialization.PrivateFormat) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "a.key").write_bytes(key.private_bytes(PEM, form, NONE))
    private = keys.read_private_key(tmp_path / "a.key", password=None)
    assert private.public().signed(b"x", private.sign(b"x"))


def test_passwords(tmp_path: Path) -> None:
    path, _ = keys.write_pair(keys.generate(), tmp_path / "a", password=b"secret")
    with pytest.raises(UsageError, match="no password was given") as caught:
        keys.read_private_key(path, password=None)
    assert "DIBO_SIGN_PASSWORD" in caught.value.hint
    with pytest.raises(UsageError, match="the password does not open"):
        keys.read_private_key(path, password=b"other")


def greedy() -> str:
    """A key file that asks for a terabyte of memory."""
    document = b"""{"kdf": {"name": "scrypt", "params": {"N": 1073741824, "r": 8, "p": 1}, "salt": "AA=="},
    "cipher": {"name": "nacl/secretbox", "nonce": "AA=="}, "ciphertext": "AA=="}"""
    return (
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
        f"{base64.b64encode(document).decode()}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        greedy(),
    ],
)
def test_what_is_no_private_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.key").write_text(text)
    with pytest.raises(UsageError, match=r"a\.key"):
        keys.read_private_key(tmp_path / "a.key", password=b"")


def test_other_kinds_of_keys(tmp_path: Path) -> None:
    for key in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        (tmp_path / "a.key").write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, NONE))
        with pytest.raises(UsageError, match="expected ECDSA on P-256"):
            keys.read_private_key(tmp_path / "a.key", password=None)
        public = key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / "a.pub").write_bytes(public)
        with pytest.raises(UsageError, match="expected ECDSA on P-256"):
            keys.read_public_key(tmp_path / "a.pub")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        keys.read_public_key(tmp_path / "a.pub")
