"""Packages chosen before a build, on a Debian root from an archive on loopback, in which a fix is published.

The archive has the packages of Debian's own that the base wants, fetched once, and a library with a program on it.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.build.bases.debian import Debian
from dibo.build.bases.settings import BaseSettings
from dibo.plan.base import NoStore
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.gpg_keys import two_keys
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.host.docker_build_env import ok
from tests.support.host.fresh_builds import content, forget_states, plan, to_build
from tests.support.requirements import need
from tests.support.servers.debian_archive import RELEASE, DebianArchive, debian_archive

pytestmark = [pytest.mark.integration, pytest.mark.long]

HOOK = """#!/bin/sh -e
apt-cache policy other | grep -q 'Candidate: 1.0-1'
test -L /var/lib/apt/lists/*_trixie_InRelease # dibo's
apt-get update
"""

SECURITY = f"{RELEASE}-security"


def of_debian(archive: DebianArchive, directory: Path) -> None:
    """Put into the archive what the base wants of Debian's."""
    settings = BaseSettings(architecture="amd64", resolves=True)
    base = Debian(
        RELEASE, settings=settings, workspace=Workspace(directory / "cache"), report=Report(quiet=True)
    )
    base.write_archive(base.resolve((), NoStore()).base, directory / "packages")
    for stanza in (directory / "packages/Packages").read_text().split("\n\n"):
        lines = stanza.strip().splitlines()
        fields: dict[str, str] = {}
        for line in lines:
            if line.startswith(" "):
                fields[list(fields)[-1]] += f"\n{line}"
            else:
                name, _, value = line.partition(": ")
                fields[name] = value
        deb = (directory / "packages" / fields.pop("Filename")).read_bytes()
        archive.add(deb, {name: value for name, value in fields.items() if name not in ("Size", "SHA256")})


def publish_library(archive: DebianArchive, version: str, *, suite: str = RELEASE, text: str = "") -> None:
    archive.publish("library", version, suite=suite, files={"usr/share/library": text or version})


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianArchive]:
    need("apt-get", "gpg", "mmdebstrap")
    directory = tmp_path_factory.mktemp("archive")
    with two_keys() as keys, debian_archive(keys.pinned, directory) as archive:
        of_debian(archive, directory)
        publish_library(archive, "1.0-1")
        archive.publish("tool", "1.0-1", depends="library", files={"usr/share/tool": "tool"})
        archive.publish("other", "1.0-1", files={"usr/share/other": "other"})
        archive.sign()
        yield archive


@pytest.fixture(scope="module")
def place(archive: DebianArchive) -> Iterator[BuildEnv]:
    with build_env(user.need_ordinary_user()) as place:
        write_flavour(place.flavours, "with-tool", {"install.d/50-hook": HOOK}, yaml="packages: [tool]\n")
        write_flavour(place.flavours, "with-other", yaml="packages: [other]\n")
        keyring = place.directory / "archive.gpg"
        keyring.write_bytes(archive.keyring.read_bytes())
        keyring.chmod(0o644)
        place.environment |= {
            "DIBO_BASE": f"debian:{RELEASE}",
            "DIBO_EPOCH": "",
            "DIBO_MIRROR": archive.mirror,
            "DIBO_ARCHIVE_KEYRING": str(keyring),
        }
        yield place


def test_a_fix_is_to_be_built_at_once_and_nothing_else(archive: DebianArchive, place: BuildEnv) -> None:
    artefact = place.directory / "tmp" / "image.tar"
    create = ("disk-image-create", "--no-base", "-t", "tar", "-o", str(artefact.with_suffix("")), "with-tool")
    ok(place.run(*create))
    assert content(artefact, "usr/share/library") == "1.0-1"
    assert SECURITY in content(artefact, "etc/apt/sources.list")
    with tarfile.open(artefact) as tar:
        newest = max(member.mtime for member in tar)
        left = [name for name in tar.getnames() if "dibo" in name and "apt" in name.split("/")]
        assert not [*left, *(name for name in tar.getnames() if name.endswith("_Packages"))]
    ok(place.run("dibo", "build", "--no-base", "with-other"))
    assert newest < min(layer.stat().st_mtime for layer in (place.cache / "keys").glob("*.json"))

    publish_library(archive, "1.0-1+deb13u1", suite=SECURITY)
    archive.publish("unrelated", "1.0-1")
    archive.withdraw("library", "1.0-1")
    archive.sign()
    assert to_build(plan(place, "with-other")) == []
    assert to_build(plan(place, "with-tool")) == [
        "with-tool install.d: packages",
        "with-tool install.d: 50-hook",
        "finalise",
    ]
    reasons = ok(place.run("dibo", "why", "--no-base", "with-tool"))
    assert "library 1.0-1 → 1.0-1+deb13u1 (security)" in reasons


def test_a_flavour_without_network(archive: DebianArchive, place: BuildEnv) -> None:
    hook = """#!/bin/sh
set -eu
dpkg --verify tool
[ "$(ls /sys/class/net 2> /dev/null | wc -l)" = 0 ] || [ "$(wc -l < /proc/net/dev)" -le 3 ]
for list in /var/lib/apt/lists/*_Packages; do [ ! -e "$list" ]; done
"""
    write_flavour(
        place.flavours, "shut", {"install.d/50-hook": hook}, yaml="packages: [tool]\nnetwork: false\n"
    )
    forget_states(place)
    done = place.run("dibo", "build", "--no-base", "-x", "shut")
    ok(done)
    assert "fetching package lists" not in done.err
    layers = plan(place, "shut")
    assert [(layer["epoch"], layer["dated"]) for layer in layers] == [(None, None)] * 4
    assert {layer["age"] for layer in layers} == {0}
    assert [layer["dated"] for layer in plan(place, "with-tool")][2:] == [
        "50-hook may fetch",
        "what hooks of with-tool left to be done may fetch",
    ]


def test_a_lock(archive: DebianArchive, place: BuildEnv) -> None:
    here = ["env", f"--chdir={place.temporary}"]
    forget_states(place)
    ok(place.run("dibo", "build", "--no-base", "with-tool"))
    ok(place.run("dibo", "lock", "--no-base", "with-tool", around=here))
    written = (place.temporary / "dibo.lock").read_bytes()
    assert ok(place.run("dibo", "lock", "--diff", "--no-base", "with-tool", around=here)).endswith(
        "nothing moved"
    )
    publish_library(archive, "1.0-1+deb13u2", suite=SECURITY)
    archive.sign()
    forget_states(place)
    moved = ok(place.run("dibo", "lock", "--diff", "--no-base", "with-tool", around=here))
    assert moved == "tool\n    library 1.0-1+deb13u1 → 1.0-1+deb13u2 (security)"
    assert (place.temporary / "dibo.lock").read_bytes() == written
    assert "1 cached, 3 to build" in ok(place.run("dibo", "plan", "--no-base", "with-tool"))
    archive.site.asked.clear()
    locked = place.run("dibo", "plan", "--locked", "--no-base", "with-tool", around=here)
    assert "4 cached, 0 to build" in ok(locked)
    assert not archive.site.asked
    other = place.run("dibo", "plan", "--locked", "--no-base", "with-other", around=here)
    assert "has no packages for 'other'" in other.error


def test_a_lock_gives_the_same_bytes_after_the_archive_moved_on(
    archive: DebianArchive, place: BuildEnv
) -> None:
    here = ["env", f"--chdir={place.temporary}"]
    create = ["disk-image-create", "--no-base", "--locked", "-t", "tar", "-o"]
    ok(place.run("dibo", "lock", "--no-base", "with-tool", around=here))
    ok(place.run(*create, str(place.directory / "tmp/first"), "with-tool", around=here))
    publish_library(archive, "1.0-1+deb13u3", suite=SECURITY)
    archive.publish("tool", "1.0-2", depends="library", files={"usr/share/tool": "newer"})
    archive.sign()
    with build_env(place.user) as fresh:
        fresh.environment |= {
            name: value for name, value in place.environment.items() if name.startswith(("DIBO_", "FLAVOURS"))
        }
        there = ["env", f"--chdir={fresh.temporary}"]
        shutil.copy(place.temporary / "dibo.lock", fresh.temporary)
        ok(fresh.run(*create, str(fresh.directory / "tmp/second"), "with-tool", around=there))
        first, second = place.directory / "tmp/first.tar", fresh.directory / "tmp/second.tar"
        assert content(second, "usr/share/library") == "1.0-1+deb13u2"
        assert first.read_bytes() == second.read_bytes()


def test_an_image_is_verified_after_the_archive_moved_on(archive: DebianArchive, place: BuildEnv) -> None:
    image = place.directory / "tmp/verified.tar"
    forget_states(place)
    ok(
        place.run(
            "disk-image-create", "--no-base", "-t", "tar", "-o", str(image.with_suffix("")), "with-tool"
        )
    )
    hook = next(layer for layer in plan(place, "with-tool") if layer["title"].endswith("50-hook"))
    with tarfile.open(place.tree(f"localhost/dibo/layer:k-{hook['key']}")) as tar:
        assert not [name for name in tar.getnames() if name.endswith(("_InRelease", "_Packages"))]
    assert to_build(plan(place, "with-tool")) == []
    publish_library(archive, "1.0-1+deb13u4", suite=SECURITY)
    archive.sign()
    forget_states(place)
    ok(place.run("dibo", "verify", str(image)))
    ok(place.run("dibo", "verify", "--cached", str(image)))
    assert "library 1.0-1+deb13u3 → 1.0-1+deb13u4" in ok(place.run("dibo", "why", "--no-base", "with-tool"))


def test_another_file_under_an_old_version_is_refused(archive: DebianArchive, place: BuildEnv) -> None:
    archive.publish("other", "1.0-1", files={"usr/share/other": "poison"})
    archive.sign()
    forget_states(place)
    refused = place.run("dibo", "plan", "--no-base", "with-other")
    assert refused.code == 31
    assert "other files than before under the same versions: other 1.0-1 (all)" in refused.error
