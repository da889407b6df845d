"""A statement of a manifest: what it says of what was built and of what was converted, and that it hides nothing."""

from __future__ import annotations

import hashlib
from typing import Any

from dibo.artefacts.provenance import ManifestFile, provenance_text, root_digest, statement_of
from dibo.artefacts.provenance import ProvenanceRequest as Request
from dibo.trust import keys
from dibo.trust.statements import parse_statement

HEX = "0123456789abcdef" * 4
FILE = ManifestFile.of("web.manifest.json", b"{}")
COMMON: dict[str, Any] = {
    "made-by": {"dibo": "1", "command": "disk-image-create", "python": "3"},
    "architecture": "amd64",
    "source-date-epoch": 7,
    "options": {},
    "artefacts": [{"type": "qcow2", "name": "web.qcow2", "size": 1, "sha256": HEX}],
}
BUILT: dict[str, Any] = {
    **COMMON,
    "base": {
        "name": "debian:trixie",
        "wanted": "debian",
        "release": None,
        "mirror": None,
        "ingredients": {"kind": "debian"},
    },
    "flavours": [
        {
            "name": "web",
            "digest": f"sha256:{HEX}",
            "from": "elsewhere",
            "asked": True,
            "files": {"a": f"sha256:{HEX}"},
        },
        {"name": "base", "digest": f"sha256:{HEX}", "from": "dibo", "asked": False},
    ],
    "layers": [
        {"title": "debian:trixie", "key": HEX, "local": False, "digest": f"sha256:{HEX}"},
        {
            "title": "web install.d: a",
            "key": HEX,
            "local": False,
            "digest": f"sha256:{HEX}",
            "flavour": "web",
        },
    ],
}
CONVERTED: dict[str, Any] = {
    **COMMON,
    "image": {"name": "registry.example/web:1", "digest": f"sha256:{HEX}", "key": None},
    "layers": [{"diff-id": f"sha256:{HEX}"}],
}


def names(statement: dict[str, Any]) -> list[str]:
    return [one["name"] for one in statement["predicate"]["buildDefinition"]["resolvedDependencies"]]


def test_of_a_build() -> None:
    statement = statement_of(BUILT, FILE)
    flavours = ["flavours/web", "flavours/web/a", "flavours/base"]
    assert names(statement) == ["base", *flavours, "layers/0", "layers/1", "root"]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["flavours"] == ["web"]
    base, *_, layer, root = definition["resolvedDependencies"]
    assert base["uri"] == "urn:dibo:base:debian:trixie" and "digest" not in base
    assert layer["digest"] == {"sha256": HEX} and layer["annotations"]["flavour"] == "web"
    line = f"sha256:{HEX}\n".encode()
    assert root["digest"] == {"sha256": hashlib.sha256(line * 2).hexdigest()}
    run = statement["predicate"]["runDetails"]
    assert run["builder"] == {"id": "urn:dibo:builder", "version": {"dibo": "1", "python": "3"}}
    assert run["byproducts"] == [{"name": FILE.name, "digest": {"sha256": hashlib.sha256(b"{}").hexdigest()}}]


def test_of_elements() -> None:
    element = {**BUILT["flavours"][0], "name": "os"}
    statement = statement_of({**BUILT, "flavours": [], "elements": [element]}, FILE)
    assert names(statement) == ["base", "elements/os", "elements/os/a", "layers/0", "layers/1", "root"]
    assert statement["predicate"]["buildDefinition"]["externalParameters"]["elements"] == ["os"]


def test_a_base_with_a_digest() -> None:
    base = {**BUILT["base"], "ingredients": {"image": f"sha256:{HEX}"}}
    statement = statement_of({**BUILT, "base": base}, FILE)
    found = statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    assert found["digest"] == {"sha256": HEX}


def test_of_a_conversion() -> None:
    statement = statement_of(CONVERTED, FILE)
    assert names(statement) == ["image", "layers/0", "root"]
    assert root_digest(CONVERTED) == hashlib.sha256(f"sha256:{HEX}\n".encode()).hexdigest()
    assert (
        statement["predicate"]["buildDefinition"]["externalParameters"]["image"] == "registry.example/web:1"
    )


def test_signed_and_unsigned_say_the_same() -> None:
    key = keys.generate()
    signed, bare = (provenance_text(BUILT, FILE, Request(key=one)).encode() for one in (key, None))
    read = parse_statement(signed, description="web")
    assert read.payload == bare and read.signer([key.public()]) is not None
    assert read.digests == {HEX}


def test_files_that_were_fetched() -> None:
    fetched = [
        {"name": "tool", "sha256": HEX, "urls": ["https://example.org/tool-1", "https://mirror.example/x"]}
    ]
    web, base = BUILT["flavours"]
    statement = statement_of({**BUILT, "flavours": [{**web, "fetched": fetched}, base]}, FILE)
    assert {
        "name": "flavours/web/fetched/tool",
        "uri": "https://example.org/tool-1",
        "digest": {"sha256": HEX},
    } in statement["predicate"]["buildDefinition"]["resolvedDependencies"]
