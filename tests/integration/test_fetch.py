"""What hooks have from outside: files that dibo fetched, and no network where a flavour says so."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.host.docker_build_env import docker_build_env, ok
from tests.support.requirements import unmet
from tests.support.servers.fake_web_server import FakeWebServer

pytestmark = pytest.mark.integration

ASK = """#!/bin/sh
echo "networks: $(sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev | grep -v ^lo | wc -l)"
echo "answer: $(http_proxy= wget -q -O- @URL@/file || echo none)"
echo "proxy: ${http_proxy:-none}"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[FakeWebServer]:
    with FakeWebServer() as server:
        server.site.files["/file"] = b"reached"
        yield server


@pytest.fixture(scope="module")
def place() -> Iterator[BuildEnv]:
    with build_env(user.need_ordinary_user()) as place:
        yield place


def write_askers(flavours: Path, server: FakeWebServer) -> None:
    hook = {"install.d/10-ask": ASK.replace("@URL@", server.url)}
    write_flavour(flavours, "open", hook, yaml="network: true\n")
    write_flavour(flavours, "shut", hook, yaml="network: false\n")


def answers(place: BuildEnv, *arguments: str) -> list[str]:
    """What the hook said: networks, answer, proxy."""
    environment = {"http_proxy": "http://proxy.invalid:3128"}
    done = place.run("dibo", "build", "--no-base", "-x", "--refresh", *arguments, environment=environment)
    ok(done)
    lines = (line.strip() for line in done.err.splitlines())
    told = dict(
        line.split(": ", 1) for line in lines if line.startswith(("networks: ", "answer: ", "proxy: "))
    )
    return [told["networks"], told["answer"], told["proxy"]]


@pytest.mark.parametrize("isolation", ["bwrap", "chroot"])
def test_a_flavour_without_network_has_none(place: BuildEnv, server: FakeWebServer, isolation: str) -> None:
    write_askers(place.flavours, server)
    networks, answer, proxy = answers(place, "--isolation", isolation, "open")
    assert (networks == "0", answer, proxy) == (False, "reached", "http://proxy.invalid:3128")
    server.site.asked.clear()
    assert answers(place, "--isolation", isolation, "shut") == ["0", "none", "none"]
    assert server.site.asked == []
    assert place.left() == []


def test_it_has_none_with_docker_either(server: FakeWebServer) -> None:
    if os.geteuid() != 0:
        unmet("dockerd must be started by root")
    with docker_build_env(user.ordinary_user()) as (place, _):
        write_askers(place.flavours, server)
        assert answers(place, "open")[1] == "reached"
        assert answers(place, "shut") == ["0", "none", "none"]
        server.site.files["/docker"] = TOOL
        write_user(place, "user", f"{server.url}/docker")
        ok(place.run("dibo", "build", "--no-base", "on-user"))


TOOL = b"#!/bin/sh\necho the tool ran\n"
USE = """#!/bin/sh
set -eu
"$DIBO_FETCHED/tool" > /usr/told
stat -c '%a %F' "$DIBO_FETCHED/tool" >> /usr/told
(: >> "$DIBO_FETCHED/tool") 2> /dev/null && echo written >> /usr/told
true
"""
SEE = "#!/bin/sh\n/tmp/in_target.d/flavours/@NAME@/fetched/tool > /usr/seen\n"


def write_user(place: BuildEnv, name: str, url: str, content: bytes = TOOL) -> str:
    """A flavour that uses a fetched file, and `on-NAME`, which needs it; the sha256."""
    sha256 = hashlib.sha256(content).hexdigest()
    yaml = f"network: false\nfetch: [{{url: '{url}', sha256: {sha256}, name: tool, mode: '0755'}}]\n"
    write_flavour(place.flavours, name, {"install.d/10-use": USE}, yaml=yaml)
    see = {"install.d/20-see": SEE.replace("@NAME@", name)}
    write_flavour(place.flavours, f"on-{name}", see, yaml=f"network: false\nneeds: [{name}]\n")
    return sha256


def contents(place: BuildEnv, image: str, *paths: str) -> list[str]:
    with tarfile.open(place.tree(image)) as tar:
        files = [tar.extractfile(f"./{path}") for path in paths]
        return [file.read().decode() for file in files if file is not None]


def test_a_file_is_fetched_once_and_is_there_offline(place: BuildEnv, server: FakeWebServer) -> None:
    server.site.files["/tool"] = TOOL
    sha256 = write_user(place, "user", f"{server.url}/tool")
    offline = place.run("dibo", "build", "--no-base", "--offline", "on-user")
    assert (offline.code, f"tool of the flavour 'user' ({server.url}/tool)" in offline.error) == (32, True)
    assert "[1/" not in offline.err
    server.site.asked.clear()
    image = ok(place.run("dibo", "build", "--no-base", "on-user")).strip()
    told, seen = contents(place, image, "usr/told", "usr/seen")
    assert (told, seen) == ("the tool ran\n755 regular file\n", "the tool ran\n")
    assert (place.cache / "fetched" / f"sha256-{sha256}-tool").exists()
    del server.site.files["/tool"]
    ok(place.run("dibo", "build", "--no-base", "--refresh", "on-user"))
    ok(place.run("dibo", "build", "--no-base", "--refresh", "--offline", "on-user"))
    assert server.site.paths() == ["/tool"]
    assert place.left() == []


def test_a_containerfile_has_the_files(place: BuildEnv, server: FakeWebServer) -> None:
    server.site.files["/stock"] = TOOL
    write_user(place, "stock", f"{server.url}/stock")
    target = place.temporary / "context"
    ok(place.run("dibo", "plan", "--no-base", "--containerfile", target, "on-stock"))
    text = (target / "Containerfile").read_text()
    assert text.count("(dibo runs it without network") == 3
    assert (target / "step-01" / "fetched" / "tool").read_bytes() == TOOL
    assert (target / "step-02" / "flavours" / "stock" / "fetched" / "tool").read_bytes() == TOOL
    build = ("buildah", "build", "--network", "none", "-t", "localhost/by-stock-buildah", target)
    ok(place.run(*map(str, build), environment={"BUILDAH_ISOLATION": "chroot"}))
    assert contents(place, "localhost/by-stock-buildah", "usr/seen") == ["the tool ran\n"]
    shutil.rmtree(target)


def test_another_digest_and_what_is_gone(place: BuildEnv, server: FakeWebServer) -> None:
    server.site.files["/moved"] = b"another tool"
    wanted = write_user(place, "unlucky", f"{server.url}/moved", content=b"the tool of then")
    failed = place.run("dibo", "build", "--no-base", "unlucky")
    assert failed.code == 31
    got = hashlib.sha256(b"another tool").hexdigest()
    assert "the flavour 'unlucky' cannot have tool" in failed.error
    assert f"{server.url}/moved has the sha256 {got}, wanted {wanted}" in failed.error
    del server.site.files["/moved"]
    failed = place.run("dibo", "build", "--no-base", "unlucky")
    assert (failed.code, "it is gone, and not in the cache" in failed.error) == (10, True)
    assert [path.name for path in (place.cache / "fetched").glob("sha256-*") if wanted in path.name] == []
    assert place.left() == []


def test_fetched_files_in_provenance_and_in_a_lock(place: BuildEnv, server: FakeWebServer) -> None:
    server.site.files["/locked"] = TOOL + b"# locked\n"
    sha256 = write_user(place, "locked", f"{server.url}/locked", content=TOOL + b"# locked\n")
    image = place.temporary / "locked"
    made = ("disk-image-create", "--no-base", "--provenance", "-t", "tar", "-o", image, "locked")
    ok(place.run(*map(str, made)))
    statement = json.loads(image.with_suffix(".provenance.json").read_text())
    assert {
        "name": "flavours/locked/fetched/tool",
        "uri": f"{server.url}/locked",
        "digest": {"sha256": sha256},
    } in statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    for path in place.temporary.iterdir():
        path.unlink()

    here = ["env", f"--chdir={place.temporary}"]
    of_month = {"DIBO_EPOCH": ""}
    words = ("--no-base", "locked")
    ok(place.run("dibo", "lock", *words, around=here, environment=of_month))
    document = json.loads((place.temporary / "dibo.lock").read_text())
    assert document["fetched"] == {
        "locked/tool amd64": {"sha256": sha256, "size": len(TOOL) + 9, "urls": [f"{server.url}/locked"]}
    }
    ok(place.run("dibo", "plan", "--locked", *words, around=here, environment=of_month))
    other = write_user(place, "locked", f"{server.url}/locked", content=b"newer")
    moved = place.run("dibo", "lock", "--diff", *words, around=here, environment=of_month)
    assert ok(moved) == f"fetched locked/tool amd64\n    sha256 {sha256} → {other}"
    refused = place.run("dibo", "plan", "--locked", *words, around=here, environment=of_month)
    assert f"locked/tool amd64 sha256 {sha256} → {other}" in refused.error
    (place.temporary / "dibo.lock").unlink()


def test_dibo_clean_knows_fetched_files(place: BuildEnv, server: FakeWebServer) -> None:
    server.site.files["/cleaned"] = TOOL + b"# cleaned\n"
    sha256 = write_user(place, "cleaned", f"{server.url}/cleaned", content=TOOL + b"# cleaned\n")
    ok(place.run("dibo", "build", "--no-base", "cleaned"))
    (path,) = (place.cache / "fetched").glob(f"sha256-{sha256}-*")
    os.utime(path, (0, 0))
    ok(place.run("dibo", "clean", "--older-than", "7"))
    assert not path.exists()
