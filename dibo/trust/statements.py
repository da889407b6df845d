"""Statements about artefacts, signed or not: what provenance is kept in.

    statement    in-toto Statement v1 (in-toto/attestation, spec/v1): `subject`, `predicateType`, `predicate`
    envelope     DSSE (secure-systems-lab/dsse): the statement in base64, and signatures over PAE(type, statement)
    bundle       Sigstore bundle v0.3 (sigstore/protobuf-specs): an envelope, and which key it is to be verified with

    PAE(type, body) = "DSSEv1" SP len(type) SP type SP len(body) SP body        lengths in bytes, decimal

cosign, Sigstore's libraries and securesystemslib read the same. A bundle has no entry of a transparency log: its
verification needs the public key alone.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dibo.errors import SignatureError
from dibo.trust.keys import PrivateKey, PublicKey

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
LARGEST: Final = 16 << 20
"""Bytes of a statement or bundle that is read."""
_MOST_SIGNATURES: Final = 50

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedStatement:
    """What a file or blob says, and who signed it. `payload` are the bytes that signatures are of."""

    document: Document
    payload: bytes
    signatures: tuple[bytes, ...]

    @property
    def digests(self) -> frozenset[str]:
        """The sha256 of each of its subjects, hexadecimal."""
        return frozenset(str(subject["digest"]["sha256"]) for subject in self.document["subject"])

    @property
    def predicate_type(self) -> str:
        return str(self.document["predicateType"])

    def signer(self, keys: Sequence[PublicKey]) -> PublicKey | None:
        """The first of `keys` that signed it; None where none of them did."""
        signed = pre_authentication(PAYLOAD_TYPE, self.payload)
        return next(
            (key for key in keys for signature in self.signatures if key.signed(signed, signature)), None
        )


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a signature is of: PAE of DSSE, protocol.md."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def statement_text(document: Mapping[str, Any]) -> bytes:
    """A statement as JSON, in one way only."""
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def bundle_text(payload: bytes, key: PrivateKey) -> bytes:
    """A statement, signed. The hint is what cosign writes: base64 of the sha256 of the public key in DER."""
    signature = key.sign(pre_authentication(PAYLOAD_TYPE, payload))
    hint = base64.b64encode(bytes.fromhex(key.public().fingerprint())).decode()
    bundle = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return (json.dumps(bundle, indent=1, sort_keys=True) + "\n").encode()


def parse_statement(data: bytes, *, description: str) -> SignedStatement:
    """A statement, an envelope or a bundle. Raises SignatureError for anything else."""
    try:
        if len(data) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST} bytes")
        document = json.loads(data)
        envelope = document.get("dsseEnvelope", document)
        if "payload" not in envelope:
            return _checked(document, data, ())
        if envelope["payloadType"] != PAYLOAD_TYPE:
            raise ValueError(f"its payload is {envelope['payloadType']!r}")
        payload = base64.b64decode(envelope["payload"], validate=True)
        signatures = envelope["signatures"][:_MOST_SIGNATURES]
        decoded = tuple(base64.b64decode(signature["sig"], validate=True) for signature in signatures)
        return _checked(json.loads(payload), payload, decoded)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise SignatureError(
            f"{description} is no statement of in-toto: {error}",
            hint="expected a Statement v1, a DSSE envelope or a Sigstore bundle, as JSON",
        ) from error


def _checked(document: Document, payload: bytes, signatures: tuple[bytes, ...]) -> SignedStatement:
    """Raises ValueError, LookupError, TypeError for what is no Statement v1."""
    if document["_type"] != STATEMENT_TYPE:
        raise ValueError(f"its type is {document['_type']!r}, expected {STATEMENT_TYPE!r}")
    if not isinstance(document["predicate"], dict) or not isinstance(document["predicateType"], str):
        raise TypeError("it has no predicate")
    if not document["subject"] or not all(subject["digest"] for subject in document["subject"]):
        raise ValueError("it has no subject")
    return SignedStatement(
        document={**document, "subject": [_subject(subject) for subject in document["subject"]]},
        payload=payload,
        signatures=signatures,
    )


def _subject(subject: Mapping[str, Any]) -> Document:
    digest = subject["digest"]
    return {**subject, "digest": {"sha256": "", **digest}}
