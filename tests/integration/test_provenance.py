"""Provenance of what was converted: what it says, who verifies it, and what does not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo import errors
from dibo.cli.main import dibo
from dibo.images.reference import parse_image_name
from dibo.images.registry import api
from tests.support.servers import registry_clients
from tests.support.servers.registry import registry

pytestmark = pytest.mark.integration


def test_what_was_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verified with converting again and without, and refused once another image has the name."""
    monkeypatch.setenv("IMG_PATH", str(tmp_path / "cache"))
    monkeypatch.setenv("DIBO_SIGN_PASSWORD", "")
    registry_clients.install()
    (tmp_path / "registry").mkdir()
    raw, public = tmp_path / "x.raw", tmp_path / "team.pub"
    signing = ["--sign-key", str(tmp_path / "team.key")]
    with registry(tmp_path / "registry") as hub:

        def verified(path: Path, *options: str) -> tuple[int, str]:
            capsys.readouterr()
            code = dibo(["verify", *options, str(path)])
            said = capsys.readouterr()
            return code, said.out + said.err

        hub.push_image("images/web", "1")
        name = f"{hub.host}/images/web:1"
        assert dibo(["key", "generate", str(tmp_path / "team")]) == 0
        assert dibo(["key", "sign", *signing, name]) == 0
        arguments = ["--bare", "-t", "raw,tar", "--image-size", "0.01", "-o", str(tmp_path / "x")]
        assert dibo(["convert", *arguments, "--provenance", *signing, name]) == 0
        statement = registry_clients.verified_statement(tmp_path / "x.provenance.json", public)
        _, manifest = api.manifest(parse_image_name(name))
        image, layer, root = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        assert image["digest"] == {"sha256": manifest["config"]["digest"][7:]}
        assert (layer["name"], root["name"]) == ("layers/0", "root")
        assert [one["name"] for one in statement["subject"]] == ["x.raw", "x.tar"]
        for options in ([], ["--no-build"]):
            code, said = verified(raw, *options, "--verify-key", str(public))
            assert code == 0 and "signed by team.pub" in said, said
        assert dibo(["convert", *arguments, name]) == 0
        assert not (tmp_path / "x.provenance.json").exists(), "that of former artefacts goes"
        code, said = verified(raw, "--no-build", "--verify-key", str(public))
        assert code == errors.SignatureError.exit_code and "there is no provenance beside" in said
        with raw.open("r+b") as file:
            file.seek(2000)
            file.write(b"changed")
        code, said = verified(raw)
        assert code == errors.Differs.exit_code and "differs from byte 2000 on" in said
        hub.push_image("images/web", "1", comment="another")
        for options in ([], ["--no-build"]):
            code, said = verified(tmp_path / "x.tar", *options)
            assert code == errors.ManifestError.exit_code and "is another image now" in said
