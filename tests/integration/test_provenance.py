"""Provenance of what was converted: what it says, who verifies it, and what does not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo import errors
from dibo.cli.main import dibo
from dibo.images.reference import parse_image_name
from dibo.images.registry import api
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import build_env
from tests.support.host.docker_build_env import ok
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


def test_what_was_built() -> None:
    """From the disk to its root, each layer, the files of flavours and the base; verified with building again and
    without, and refused once a flavour, the key or the statement is another."""
    registry_clients.install()
    with build_env(user.need_ordinary_user()) as place:
        write_flavour(place.flavours, "web", {"install.d/50-web": "#!/bin/sh\necho web > /srv-web\n"})
        write_flavour(place.flavours, "more", {"install.d/60-more": "#!/bin/sh\necho more > /srv-more\n"})
        place.environment["DIBO_SIGN_PASSWORD"] = ""
        image, key = place.temporary / "x.tar", place.temporary / "team"
        for name in (key, place.temporary / "stranger"):
            ok(place.run("dibo", "key", "generate", name))
        create = ["--no-base", "-t", "tar", "-o", str(image.with_suffix("")), "--provenance"]
        ok(place.run("disk-image-create", *create, "--sign-key", f"{key}.key", "web", "more"))

        path = place.temporary / "x.provenance.json"
        statement = registry_clients.verified_statement(path, Path(f"{key}.pub"))
        assert [one["name"] for one in statement["subject"]] == ["x.tar"]
        materials = {one["name"] for one in statement["predicate"]["buildDefinition"]["resolvedDependencies"]}
        assert {"flavours/web", "flavours/more", "root"} <= materials
        assert len([name for name in materials if name.startswith("layers/")]) == 4, materials
        assert any(name.startswith("base") for name in materials), materials

        def verified(*options: str | Path, name: str = "team") -> str:
            said = place.run(
                "dibo", "verify", *options, "--verify-key", place.temporary / f"{name}.pub", image
            )
            return said.out if said.code == 0 else said.error

        assert "signed by team.pub" in verified()
        assert "signed by team.pub" in verified("--no-build")
        assert "signed by no key of stranger.pub" in verified("--no-build", name="stranger")
        (place.flavours / "more/install.d/60-more").write_text("#!/bin/sh\necho evil > /srv-more\n")
        changed = verified("--no-build")
        assert "more" in changed and "signed by" not in changed
        document = path.read_bytes()
        path.write_bytes(document.replace(b'"signatures":[{', b'"signatures":[{"x":1,'))
        assert "signed by team.pub" not in verified("--no-build")
