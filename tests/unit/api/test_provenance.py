"""`dibo provenance` of artefacts that exist, and what `dibo verify` makes of provenance that does not agree."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from dibo.api.provenance import check_provenance
from dibo.artefacts.recorded import find
from dibo.cli.main import dibo
from dibo.errors import Differs, ManifestError, SignatureError
from dibo.trust import keys
from dibo.trust.statements import bundle_text, parse_statement

HEX = "0" * 64


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """That of a conversion without checksums, beside web.raw."""
    (tmp_path / "web.raw").write_bytes(b"disk")
    document = {
        "format": 1,
        "made-by": {"dibo": "1", "command": "dibo convert"},
        "architecture": "amd64",
        "source-date-epoch": None,
        "options": {},
        "image": {"name": "registry.example/web:1", "digest": f"sha256:{HEX}", "key": None},
        "layers": [{"diff-id": f"sha256:{HEX}"}],
        "packages": None,
        "artefacts": [{"type": "raw", "name": "web.raw", "size": 4, "sha256": None}],
    }
    path = tmp_path / "web.manifest.json"
    path.write_text(json.dumps(document))
    return path


def write(manifest: Path, *options: str) -> tuple[int, Path]:
    output = manifest.with_name("web.provenance.json")
    return dibo(["provenance", "-o", str(output), *options, str(manifest.with_name("web.raw"))]), output


def test_it_names_the_files_that_are_there(manifest: Path) -> None:
    code, output = write(manifest)
    assert code == 0
    statement = parse_statement(output.read_bytes(), description="web")
    assert statement.digests == {hashlib.sha256(b"disk").hexdigest()}
    by_product = statement.document["predicate"]["runDetails"]["byproducts"][0]
    assert by_product["digest"]["sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    checked = check_provenance(find(manifest), [])
    assert checked is not None and checked.path == output and not checked.signed


def test_signed(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIBO_SIGN_PASSWORD", "")
    team, stranger = keys.generate(), keys.generate()
    keys.write_pair(team, manifest.with_name("team"), password=b"")
    assert write(manifest, "--sign-key", str(manifest.with_name("team.key")))[0] == 0
    checked = check_provenance(find(manifest), [stranger.public(), team.public()])
    assert checked is not None and checked.signer == team.public()
    with pytest.raises(SignatureError, match="signed by no key of"):
        check_provenance(find(manifest), [stranger.public()])
    with pytest.raises(ManifestError, match="says something else"):
        changed = json.loads(manifest.read_text()) | {"architecture": "arm64"}
        manifest.write_text(json.dumps(changed))
        check_provenance(find(manifest), [team.public()])


def test_a_signature_of_something_else_does_not_count(manifest: Path) -> None:
    """The team signed provenance of another artefact, and it was put here."""
    team = keys.generate()
    code, output = write(manifest)
    document = json.loads(output.read_text())
    document["subject"][0]["digest"]["sha256"] = HEX
    output.write_bytes(bundle_text(json.dumps(document).encode(), team))
    assert code == 0
    with pytest.raises(ManifestError, match="says something else"):
        check_provenance(find(manifest), [team.public()])


def test_none(manifest: Path) -> None:
    assert check_provenance(find(manifest), []) is None
    with pytest.raises(SignatureError, match="there is no provenance beside"):
        check_provenance(find(manifest), [keys.generate().public()])


def test_of_files_that_are_not_those_of_the_manifest(manifest: Path) -> None:
    document = json.loads(manifest.read_text())
    document["artefacts"][0]["sha256"] = HEX
    manifest.write_text(json.dumps(document))
    code, output = write(manifest)
    assert code == Differs.exit_code and not output.exists()
