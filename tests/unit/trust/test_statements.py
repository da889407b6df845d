"""Statements in envelopes and bundles: the vector of DSSE, what was signed, and what is none."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from dibo.errors import SignatureError
from dibo.trust import keys
from dibo.trust.statements import (
    PAYLOAD_TYPE,
    bundle_text,
    parse_statement,
    pre_authentication,
    statement_text,
)

STATEMENT: dict[str, Any] = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "web", "digest": {"sha256": "0" * 64}}],
    "predicateType": "https://example.com/test",
    "predicate": {"a": 1},
}
TEAM, STRANGER = keys.generate(), keys.generate()


def test_the_vector_of_the_specification() -> None:
    """protocol.md of DSSE."""
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pre_authentication("http://example.com/HelloWorld", b"hello world") == expected


def test_what_is_signed_is_read_back() -> None:
    bundle = bundle_text(statement_text(STATEMENT), TEAM)
    assert bundle == bundle_text(statement_text(STATEMENT), TEAM), "the same bytes once more"
    envelope = json.dumps(json.loads(bundle)["dsseEnvelope"]).encode()
    for data in (bundle, envelope):
        read = parse_statement(data, description="web")
        assert read.payload == statement_text(STATEMENT) and read.digests == {"0" * 64}
        assert read.signer([STRANGER.public(), TEAM.public()]) == TEAM.public()
        assert read.signer([STRANGER.public()]) is None
    plain = parse_statement(statement_text(STATEMENT), description="web")
    assert plain.signatures == () and plain.signer([TEAM.public()]) is None


def test_another_payload_does_not_keep_the_signature() -> None:
    document = json.loads(bundle_text(statement_text(STATEMENT), TEAM))
    other = statement_text({**STATEMENT, "predicate": {"a": 2}})
    document["dsseEnvelope"]["payload"] = base64.b64encode(other).decode()
    assert parse_statement(json.dumps(document).encode(), description="web").signer([TEAM.public()]) is None


def envelope(payload: bytes, **more: object) -> bytes:
    fields = {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE, "signatures": []}
    return json.dumps({**fields, **more}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 100_000,
        b"{}",
        json.dumps({**STATEMENT, "_type": "https://in-toto.io/Statement/v0.1"}).encode(),
        json.dumps({**STATEMENT, "subject": []}).encode(),
        json.dumps({**STATEMENT, "subject": [{"name": "x"}]}).encode(),
        json.dumps({**STATEMENT, "subject": [{"digest": "x"}]}).encode(),
        json.dumps({**STATEMENT, "predicate": None}).encode(),
        envelope(b"x"),
        envelope(statement_text(STATEMENT), payloadType="text/plain"),
        envelope(statement_text(STATEMENT), signatures=[{"sig": "%"}]),
        envelope(statement_text(STATEMENT), signatures=5),
        json.dumps({"dsseEnvelope": 5}).encode(),
    ],
)
def test_what_is_no_statement(data: bytes) -> None:
    with pytest.raises(SignatureError, match="web is no statement of in-toto"):
        parse_statement(data, description="web")
