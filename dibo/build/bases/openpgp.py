"""OpenPGP certificates as keyservers send them: one armoured block, checked against a fingerprint.

    -----BEGIN PGP PUBLIC KEY BLOCK-----        armour (RFC 9580, 6.2): base64, perhaps with a CRC-24
    packet*                                     RFC 9580, 4.2: one octet of type, length, body
        public key, (user id | user attribute | public subkey | signature)*

A certificate is the packets from its public key to the next one. The fingerprint covers the public key alone
(RFC 9580, 5.5.4); what binds user ids and subkeys to it are signatures, which gpgv checks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import Final

from dibo.errors import VerificationFailed

_SIGNATURE: Final = 2
_PUBLIC_KEY: Final = 6
_PARTS: Final = (_SIGNATURE, _PUBLIC_KEY, 13, 14, 17)  # user id, public subkey, user attribute
_IGNORED: Final = (10, 12, 21)  # marker, trust, padding
_BLOCK: Final = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\r?\n(?:[^\r\n:]+: [^\r\n]*\r?\n)*[ \t]*\r?\n"
    rb"([A-Za-z0-9+/=\s]+?)(?:\r?\n=[A-Za-z0-9+/]{4}[ \t]*)?\r?\n-----END PGP PUBLIC KEY BLOCK-----"
)


def certificate(answer: bytes, fingerprint: str) -> bytes:
    """The binary certificate in `answer`, armoured or not, which must hold that of the key with `fingerprint` (hex,
    capitals) and no other. Raises VerificationFailed."""
    kept, keys = [], []
    for packet_type, packet, body in _packets(without_armour(answer)):
        if packet_type in _IGNORED:
            continue
        if packet_type not in _PARTS:
            raise VerificationFailed(f"expected a public key, got an OpenPGP packet of type {packet_type}")
        if packet_type == _PUBLIC_KEY:
            keys.append(_fingerprint(body))
        elif not keys:
            raise VerificationFailed("expected a public key, got what belongs to one")
        kept.append(packet)
    if keys != [fingerprint]:
        raise VerificationFailed(f"expected the key {fingerprint}, got {' and '.join(keys) or 'none'}")
    return b"".join(kept)


def without_armour(answer: bytes) -> bytes:
    """Public keys in binary, also where they come armoured. Raises VerificationFailed for what is neither."""
    match = _BLOCK.search(answer)
    if match is None:
        if b"-----BEGIN PGP" in answer or not answer or answer[0] < 0x80:
            raise VerificationFailed("expected an OpenPGP public key, got something else")
        return answer
    try:
        return base64.b64decode(b"".join(match[1].split()), validate=True)
    except binascii.Error as error:
        raise VerificationFailed(f"the armour of the public key is malformed: {error}") from error


def _packets(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Type, whole packet and body of each packet."""
    position = 0
    while position < len(data):
        first, start = data[position], position
        if first < 0x80:
            raise VerificationFailed("the public key is malformed: an OpenPGP packet has no valid type")
        packet_type, (header, size) = (
            (first & 0x3F, _length(data, position + 1))
            if first & 0x40
            else (first >> 2 & 0x0F, _old_length(data, position + 1, first & 3))
        )
        position += 1 + header + size
        if header == 0 or position > len(data):
            raise VerificationFailed("the public key is malformed: an OpenPGP packet ends too early")
        yield packet_type, data[start:position], data[position - size : position]


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Octets of a length in the new format (RFC 9580, 4.2.1), and what it says; 0 octets for a partial one."""
    first = data[at] if at < len(data) else 224
    if first < 192:
        return 1, first
    if first < 224:
        return 2, ((first - 192) << 8) + int.from_bytes(data[at + 1 : at + 2]) + 192
    return (5, int.from_bytes(data[at + 1 : at + 5])) if first == 255 else (0, 0)


def _old_length(data: bytes, at: int, kind: int) -> tuple[int, int]:
    """The same for the format of old (RFC 9580, 4.2.2); 0 octets for an indeterminate one."""
    octets = (1, 2, 4, 0)[kind]
    return octets, int.from_bytes(data[at : at + octets])


def _fingerprint(body: bytes) -> str:
    version = body[0] if body else 0
    if version == 4:
        if len(body) >= 1 << 16:  # the hash has two octets for its length (RFC 9580, 5.5.4.2)
            raise VerificationFailed("the public key is malformed: a key of version 4 has less than 64 KiB")
        digest = hashlib.sha1(b"\x99" + len(body).to_bytes(2) + body, usedforsecurity=False)
    elif version == 6:
        digest = hashlib.sha256(b"\x9b" + len(body).to_bytes(4) + body)
    else:
        raise VerificationFailed(f"expected a public key of version 4 or 6, got version {version}")
    return digest.hexdigest().upper()
