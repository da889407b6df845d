"""What a signature counts for."""

from __future__ import annotations

import json

import pytest

from dibo.errors import SignatureError
from dibo.trust import claims
from dibo.trust.claims import Claims

DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
HERE = "registry.example:5000/team/web"


def said(digest: str = DIGEST, reference: str = f"{HERE}:1", **annotations: str) -> Claims:
    return Claims(digest=digest, reference=reference, annotations=annotations)


def test_the_bytes_are_those_of_cosign() -> None:
    document = json.loads(claims.compose(said(key="k")))
    assert document == {
        "critical": {
            "type": "cosign container image signature",
            "image": {"docker-manifest-digest": DIGEST},
            "identity": {"docker-reference": f"{HERE}:1"},
        },
        "optional": {"creator": "dibo", "key": "k"},
    }
    assert claims.parse(claims.compose(said(key="k"))).annotations["key"] == "k"


@pytest.mark.parametrize(
    ("signed", "why"),
    [
        (said(), ""),
        (said(reference=HERE), ""),  # as cosign signs, for any tag
        (said(OTHER), "the manifest"),
        (said(reference=f"{HERE}:2"), "the tag 2, expected 1"),
        (said(reference="registry.example:5000/team/other:1"), "team/other"),
        (said(reference="mirror.example/team/web:1"), "mirror.example"),
        (said(reference="///"), "names no image"),
    ],
)
def test_where_it_counts(signed: Claims, why: str) -> None:
    reason = claims.mismatch(signed, said())
    assert (why in reason) if why else reason == ""


def test_annotations_that_are_wanted_must_be_there() -> None:
    wanted = said(key="one")
    assert claims.mismatch(said(key="one", more="x"), wanted) == ""
    assert "another key" in claims.mismatch(said(key="two"), wanted)
    assert "another key" in claims.mismatch(said(), wanted)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b'{"critical": null}',
        claims.compose(said()).replace(claims.TYPE.encode(), b"a signature of something else"),
        claims.compose(said("md5:0")),
        b"[" * 100_000,
    ],
)
def test_what_is_no_signature_of_an_image(payload: bytes) -> None:
    with pytest.raises(SignatureError, match="something else"):
        claims.parse(payload)
