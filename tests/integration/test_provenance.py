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
from dibo.images.reference import parse_image_name
from dibo.images.registry import api
from tests.integration.test_cache import SH, good, who, write
from tests.integration.test_signed_images import PASSWORD, Team
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.servers import registry_clients
from tests.support.servers.registry import OCI_MANIFEST, registry

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


def test_what_was_converted(team: Team) -> None:
    """Verified with converting again and without, and refused once another image has the name."""
    directory = team.place.directory / "converted"
    team.place.run("mkdir", directory)
    arguments = [
        "--bare",
        "-t",
        "raw,tar",
        "-o",
        str(directory / "x"),
        "--provenance",
        *team.sign_key("team"),
    ]
    good(team.place.run("dibo", "convert", *arguments, str(team.web), environment=PASSWORD))
    statement = statement_in(team, directory)
    _, manifest = api.manifest(team.web)
    dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert dependencies[0]["digest"] == {"sha256": manifest["config"]["digest"][7:]}
    for options in ((), ("--no-build",)):
        done = good(verify(team.place, directory / "x.raw", *options, *key(team, "team")))
        assert "signed by team.pub" in done.out
    with (directory / "x.raw").open("r+b") as file:
        file.seek(2000)
        file.write(b"changed")
    done = verify(team.place, directory / "x.raw")
    assert done.code == errors.Differs.exit_code and "differs from byte 2000 on" in done.out

    body = api.read_manifest(team.web)
    try:
        team.hub.push_image("images/web", "1", comment="another")
        done = verify(team.place, directory / "x.tar", "--no-build")
        assert done.code == errors.ManifestError.exit_code and "is another image now" in done.error
        done = verify(team.place, directory / "x.tar")
        assert done.code == errors.ManifestError.exit_code
    finally:
        api.push_manifest(parse_image_name(str(team.web)), body, OCI_MANIFEST)
