"""Signatures for Secure Boot, checked by the programs that others check them with."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from dibo.errors import LayoutError, UsageError
from dibo.formats.authenticode import digest, signer
from dibo.formats.pe import read_headers, sections, unified_image
from tests.support.requirements import need
from tests.unit.formats.test_pe import PARTS, stub

__all__ = ["stub"]


def make_key(
    directory: Path, name: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> tuple[Path, Path]:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(0xFFFF_FFFF_FFFF)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    paths = directory / f"{name}.key", directory / f"{name}.crt"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths[0].write_bytes(private)
    paths[1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return paths


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_key(tmp_path_factory.mktemp("keys"), "db", rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="module")
def image(stub: bytes) -> bytes:
    return unified_image(stub, architecture="amd64", parts=PARTS)


def test_sbverify_and_osslsigncode_accept_it(image: bytes, keys: tuple[Path, Path], tmp_path: Path) -> None:
    need("sbverify")
    signed = tmp_path / "signed.efi"
    signed.write_bytes(signer(*keys)(image))
    argv = ["sbverify", "--cert", str(keys[1]), str(signed)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Signature verification OK" in done.stdout
    assert "gap" not in done.stderr


def test_another_certificate_and_a_changed_image_are_refused(
    image: bytes, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    need("sbverify")
    other = make_key(tmp_path, "unknown", rsa.generate_private_key(65537, 2048))
    signed, changed = tmp_path / "signed.efi", tmp_path / "changed.efi"
    data = bytearray(signer(*keys)(image))
    signed.write_bytes(data)
    data[5000] ^= 1
    changed.write_bytes(data)
    for certificate, file in ((other[1], signed), (keys[1], changed)):
        assert subprocess.run(
            ["sbverify", "--cert", str(certificate), str(file)], capture_output=True
        ).returncode


def test_the_digest_is_that_of_sbsign(image: bytes, keys: tuple[Path, Path], tmp_path: Path) -> None:
    """sbsign has a time in its signature, so only the digest is compared, which is in it as it is."""
    need("sbsign")
    plain, signed = tmp_path / "plain.efi", tmp_path / "signed.efi"
    plain.write_bytes(image)
    argv = ["sbsign", "--key", str(keys[0]), "--cert", str(keys[1]), "--output", str(signed), str(plain)]
    subprocess.run(argv, check=True, capture_output=True)
    assert digest(image) in signed.read_bytes()[len(image) - 8 :]


def test_the_same_input_gives_the_same_bytes_and_the_sections_stay(
    image: bytes, keys: tuple[Path, Path]
) -> None:
    sign = signer(*keys)
    assert sign(image) == sign(image)
    assert sections(sign(image)) == sections(image)
    headers = read_headers(sign(image))
    assert headers is not None
    assert headers.certificates_at is not None


def test_what_cannot_be_signed(image: bytes, keys: tuple[Path, Path]) -> None:
    sign = signer(*keys)
    with pytest.raises(LayoutError, match="is no program for UEFI"):
        sign(b"text")
    with pytest.raises(LayoutError, match="has a signature already"):
        sign(sign(image))


def test_keys_that_do_not_do(keys: tuple[Path, Path], tmp_path: Path) -> None:
    other = make_key(tmp_path, "unknown", rsa.generate_private_key(65537, 2048))
    curve = make_key(tmp_path, "curve", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(UsageError, match="is not the key of the certificate"):
        signer(keys[0], other[1])
    with pytest.raises(UsageError, match="is not an RSA key"):
        signer(*curve)
    with pytest.raises(UsageError, match="not a key and a certificate in PEM"):
        signer(keys[1], keys[0])
    with pytest.raises(UsageError, match=r"cannot read .*/none: No such file"):
        signer(tmp_path / "none", keys[1])
