"""Provenance of what was built and of what was converted: what it says, who verifies it, and what does not hold."""

from __future__ import annotations

import hashlib
import json
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dibo import errors
from dibo.artefacts.manifest_schema import MANIFEST_SCHEMA
from dibo.cli.main import dibo
from dibo.images.reference import parse_image_name
from dibo.images.registry import api
from tests.integration.test_cache import SH, good, who, write
from tests.integration.test_signed_images import PASSWORD, Team
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.servers import registry_clients
from tests.support.servers.registry import registry

pytestmark = pytest.mark.integration
__all__ = ["who"]


@pytest.fixture(scope="module")
def team(who: pwd.struct_passwd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with build_env(who) as place, registry(tmp_path_factory.mktemp("registry"), delete=True) as hub:
        write(place)
        for name in ("team", "stranger"):
            good(place.run("dibo", "key", "generate", place.cache / name, environment=PASSWORD))
        made = Team(place=place, hub=hub)
        made.push(str(made.web), *made.sign_key("team"))
        yield made
        assert place.left() == []


@pytest.fixture(scope="module")
def built(team: Team) -> Path:
    return create(team, "built")


def create(team: Team, name: str) -> Path:
    """A directory with x.tar, made of the flavour `one`, and its signed provenance."""
    directory = team.place.directory / name
    team.place.run("mkdir", directory)
    arguments = ["--no-base", "-t", "tar", "-o", str(directory / "x"), "--provenance", *team.sign_key("team")]
    good(team.place.run("disk-image-create", *arguments, "one", environment=PASSWORD))
    return directory


def verify(place: BuildEnv, path: Path, *options: str) -> CommandResult:
    return place.run("dibo", "verify", *options, path)


def key(team: Team, name: str) -> list[str]:
    return ["--verify-key", str(team.place.cache / f"{name}.pub")]


def statement_in(team: Team, directory: Path) -> dict[str, Any]:
    """What the provenance says, once Sigstore's own library verified it."""
    registry_clients.install()
    return registry_clients.verified_statement(directory / "x.provenance.json", team.place.cache / "team.pub")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_chain_from_the_artefact_to_the_files_of_flavours(team: Team, built: Path) -> None:
    statement = statement_in(team, built)
    manifest = json.loads((built / "x.manifest.json").read_text())
    jsonschema.validate(manifest, MANIFEST_SCHEMA)
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [{"name": "x.tar", "digest": {"sha256": sha256(built / "x.tar")}}]
    run = statement["predicate"]["runDetails"]
    assert run["byproducts"] == [
        {"name": "x.manifest.json", "digest": {"sha256": sha256(built / "x.manifest.json")}}
    ]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["flavours"] == ["one"]
    found = {one["name"]: one for one in definition["resolvedDependencies"]}
    hook = team.place.flavours / "one/install.d/10-one"
    assert found["flavours/one/install.d/10-one"]["digest"] == {"sha256": sha256(hook)}
    layers = [one["digest"]["sha256"] for name, one in sorted(found.items()) if name.startswith("layers/")]
    assert layers == [layer["digest"][7:] for layer in manifest["layers"]]
    assert "one" in {one.get("annotations", {}).get("flavour") for one in found.values()}
    assert {"base", "flavours/one", "root"} <= found.keys()
    text = json.dumps(statement)
    for word in (str(team.place.directory), team.place.user.pw_name, "buildah", "metadata"):
        assert word not in text


def test_it_is_the_same_for_the_same_image(team: Team, built: Path) -> None:
    again = create(team, "again")
    assert (again / "x.provenance.json").read_bytes() == (built / "x.provenance.json").read_bytes()


@pytest.mark.parametrize("options", [["--no-build"], ["--cached"]])
def test_verified_with_and_without_building(team: Team, built: Path, options: list[str]) -> None:
    done = good(verify(team.place, built / "x.tar", *options, *key(team, "team")))
    assert "x.provenance.json: signed by team.pub" in done.out
    assert ("nothing was built" in done.out) is (options == ["--no-build"])
    good(verify(team.place, built / "x.tar", *options))
    done = verify(team.place, built / "x.tar", *options, *key(team, "stranger"))
    assert done.code == errors.SignatureError.exit_code
    assert "signed by no key of stranger.pub" in done.error


def test_what_does_not_hold(team: Team) -> None:
    directory = create(team, "changed")
    provenance, tar = directory / "x.provenance.json", directory / "x.tar"
    whole = provenance.read_bytes()
    unsigned = good(team.place.run("dibo", "provenance", tar)).out
    provenance.write_text(unsigned)
    done = verify(team.place, tar, "--no-build", *key(team, "team"))
    assert done.code == errors.SignatureError.exit_code and "is not signed" in done.error
    good(verify(team.place, tar, "--no-build"))
    provenance.write_text(unsigned.replace('"one"', '"two"'))
    done = verify(team.place, tar, "--no-build")
    assert done.code == errors.ManifestError.exit_code
    assert "says something else than x.manifest.json" in done.error
    provenance.unlink()
    done = verify(team.place, tar, "--no-build", *key(team, "team"))
    assert done.code == errors.SignatureError.exit_code and "there is no provenance beside" in done.error
    signing = [*team.sign_key("team"), "-o", str(provenance)]
    good(team.place.run("dibo", "provenance", *signing, tar, environment=PASSWORD))
    assert provenance.read_bytes() == whole

    hook = "install.d/10-one"
    before = (team.place.flavours / "one" / hook).read_text()
    write_flavour(team.place.flavours, "one", {hook: SH + "echo changed > /etc/one\n"})
    try:
        done = verify(team.place, tar, "--no-build", *key(team, "team"))
        assert done.code == errors.ManifestError.exit_code
        assert f"1 file changed, {hook}" in done.error
    finally:
        write_flavour(team.place.flavours, "one", {hook: before})
    with tar.open("ab") as file:
        file.write(b"x")
    done = verify(team.place, tar, "--no-build", *key(team, "team"))
    assert done.code == errors.Differs.exit_code


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
