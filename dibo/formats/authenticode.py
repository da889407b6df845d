"""Signatures of programs for UEFI, as Secure Boot checks them: Authenticode.

    data directory 4 of the optional header: u32 offset, u32 size of the certificate table, at the end of the file
    certificate table: u32 length with this header, u16 revision 0x0200, u16 type 2, PKCS #7 in DER, zeros to 8 bytes

    digest    SHA-256 of the file without the checksum, that directory and the certificate table, padded to 8 bytes
    SignedData (RFC 2315)
        content      SpcIndirectDataContent: what is signed (a PE image), and the digest
        certificate  the signer's
        signer       contentType and the digest of the content as attributes, signed with RSA (PKCS #1 v1.5)

Windows Authenticode Portable Executable Signature Format (Microsoft, 2008); UEFI 2.10, 32.5.3.3. There is no time in
a signature: the same image, key and certificate give the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dibo.errors import LayoutError, UsageError
from dibo.formats.pe import CHECKSUM_AT, read_headers

_UNIT: Final = 8
_CERTIFICATE: Final = struct.Struct("<IHH")
_REVISION, _PKCS7_TYPE = 0x0200, 2
_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
_INDIRECT_DATA: Final = "1.3.6.1.4.1.311.2.1.4"
_PE_IMAGE: Final = "1.3.6.1.4.1.311.2.1.15"
_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_RSA: Final = "1.2.840.113549.1.1.1"
_CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
_OBSOLETE: Final = "<<<Obsolete>>>".encode("utf-16-be")


def signer(key_file: Path, certificate_file: Path) -> Callable[[bytes], bytes]:
    """What signs an image with an RSA key and its certificate, both PEM. Raises UsageError for files that are not such,
    and for a key that is not the certificate's."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{key_file} and {certificate_file} are not a key and a certificate in PEM: {error}",
            hint="make them with openssl req -x509 -newkey rsa:2048 -nodes -keyout db.key -out db.crt -subj /CN=db/",
        ) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise UsageError(f"{key_file} is not an RSA key: firmware checks RSA with SHA-256")
    if key.public_key() != certificate.public_key():
        raise UsageError(f"{key_file} is not the key of the certificate {certificate_file}")
    encoded = certificate.public_bytes(serialization.Encoding.DER)
    issuer = certificate.issuer.public_bytes()
    serial = certificate.serial_number

    def sign(image: bytes) -> bytes:
        content = _content(digest(image))
        attributes = _attributes(content)
        signature = key.sign(_der(0x31, attributes), padding.PKCS1v15(), hashes.SHA256())
        identity = _sequence(issuer, _integer(serial))
        return with_certificate(image, _signed_data(content, encoded, identity, attributes, signature))

    return sign


def digest(image: bytes) -> bytes:
    """SHA-256 of an unsigned image, as a signature covers it. Raises LayoutError for what is no such image."""
    padded = image + bytes(-len(image) % _UNIT)
    checksum_at, directory_at = _places(image)
    return hashlib.sha256(
        padded[:checksum_at] + padded[checksum_at + 4 : directory_at] + padded[directory_at + 8 :]
    ).digest()


def with_certificate(image: bytes, pkcs7: bytes) -> bytes:
    """The image with a certificate table. Raises LayoutError for one that has a table already."""
    _, directory_at = _places(image)
    entry = _CERTIFICATE.pack(_CERTIFICATE.size + len(pkcs7), _REVISION, _PKCS7_TYPE) + pkcs7
    entry += bytes(-len(entry) % _UNIT)
    padded = bytearray(image + bytes(-len(image) % _UNIT))
    struct.pack_into("<II", padded, directory_at, len(padded), len(entry))
    return bytes(padded) + entry


def _places(image: bytes) -> tuple[int, int]:
    """Where the checksum and the data directory of certificates are."""
    headers = read_headers(image)
    if headers is None or headers.certificates_at is None:
        raise LayoutError("what is to be signed for Secure Boot is no program for UEFI")
    if any(image[headers.certificates_at : headers.certificates_at + 8]):
        raise LayoutError("what is to be signed for Secure Boot has a signature already")
    return headers.optional_at + CHECKSUM_AT, headers.certificates_at


def _content(image_digest: bytes) -> bytes:
    """SpcIndirectDataContent."""
    link = _der(0xA0, _der(0xA2, _der(0x80, _OBSOLETE)))
    data = _sequence(_oid(_PE_IMAGE), _sequence(_der(0x03, b"\0"), link))
    return _sequence(data, _sequence(_algorithm(_SHA256), _der(0x04, image_digest)))


def _attributes(content: bytes) -> bytes:
    """The members of the SET, in the order of their bytes, as DER has sets."""
    members = [
        _sequence(_oid(_CONTENT_TYPE), _der(0x31, _oid(_INDIRECT_DATA))),
        _sequence(_oid(_MESSAGE_DIGEST), _der(0x31, _der(0x04, hashlib.sha256(_value_of(content)).digest()))),
    ]
    return b"".join(sorted(members))


def _signed_data(
    content: bytes, certificate: bytes, identity: bytes, attributes: bytes, signature: bytes
) -> bytes:
    info = _sequence(
        _integer(1),
        identity,
        _algorithm(_SHA256),
        _der(0xA0, attributes),
        _algorithm(_RSA),
        _der(0x04, signature),
    )
    signed = _sequence(
        _integer(1),
        _der(0x31, _algorithm(_SHA256)),
        _sequence(_oid(_INDIRECT_DATA), _der(0xA0, content)),
        _der(0xA0, certificate),
        _der(0x31, info),
    )
    return _sequence(_oid(_SIGNED_DATA), _der(0xA0, signed))


# DER (X.690): tag, length, value.


def _der(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def _value_of(encoded: bytes) -> bytes:
    """An element without its tag and length."""
    return encoded[2 + (encoded[1] & 0x7F if encoded[1] & 0x80 else 0) :]


def _sequence(*members: bytes) -> bytes:
    return _der(0x30, b"".join(members))


def _integer(number: int) -> bytes:
    return _der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def _algorithm(name: str) -> bytes:
    return _sequence(_oid(name), b"\x05\0")


def _oid(name: str) -> bytes:
    first, second, *rest = map(int, name.split("."))
    value = bytearray([40 * first + second])
    for number in rest:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(number & 0x7F | 0x80)
        value += bytes(reversed(digits))
    return _der(0x06, bytes(value))
