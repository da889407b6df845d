"""Packages chosen before a build on a root that is there: a Debian root in a tar, whose sources name an archive on
loopback, in which a fix is published."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.gpg_keys import two_keys
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.host.docker_build_env import ok
from tests.support.host.fresh_builds import content, forget_states, plan, to_build
from tests.support.images.apt_roots import sources
from tests.support.requirements import need
from tests.support.servers.debian_archive import RELEASE, DebianArchive, debian_archive

pytestmark = pytest.mark.integration

HOOK = """#!/bin/sh -e
apt-cache policy tool other | grep -c 'Installed: 1.0-1' > /usr/share/installed
apt-cache policy other | grep -q 'Candidate: 1.0-1'
test -L /var/lib/apt/lists/*_trixie_InRelease # dibo's
"""
SHUT = """#!/bin/sh -eu
date -r /usr/share/tool +%s > /usr/share/times
echo "$SOURCE_DATE_EPOCH" >> /usr/share/times
"""
SECURITY = f"{RELEASE}-security"
KEYRING = "/usr/share/keyrings/of-a-test.gpg"
SECONDS = 600.0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianArchive]:
    need("apt-get", "gpg", "mmdebstrap")
    with two_keys() as keys, debian_archive(keys.pinned, tmp_path_factory.mktemp("archive")) as archive:
        publish_library(archive, "1.0-1")
        for name, depends in (("tool", "library, dpkg"), ("other", "")):
            archive.publish(name, "1.0-1", depends=depends, files={f"usr/share/{name}": name})
        archive.sign()
        yield archive


def publish_library(archive: DebianArchive, version: str, *, suite: str = RELEASE) -> None:
    changelog = f"library ({version}) {suite}; urgency=high\n\n  * Mend {version}.\n\n -- A <a@example>\n"
    files = {"usr/share/library": version, "usr/share/doc/library/changelog.Debian": changelog}
    archive.publish("library", version, suite=suite, files=files)


@pytest.fixture(scope="module")
def place(archive: DebianArchive) -> Iterator[BuildEnv]:
    with build_env(user.need_ordinary_user()) as place:
        root = place.temporary / "root.tar"
        make_root(place, root, archive)
        write_flavour(place.flavours, "with-tool", {"install.d/50-hook": HOOK}, yaml="packages: [tool]\n")
        write_flavour(place.flavours, "with-other", yaml="packages: [other]\n")
        write_flavour(
            place.flavours, "shut", {"install.d/50-hook": SHUT}, yaml="packages: [tool]\nnetwork: false\n"
        )
        place.environment |= {"DIBO_BASE": str(root), "DIBO_EPOCH": ""}
        yield place


def make_root(place: BuildEnv, root: Path, archive: DebianArchive) -> None:
    """A Debian root of this machine's archive that says it has its packages of the archive on loopback."""
    listed = place.temporary / "of-a-test.sources"
    addresses = ((f"{archive.url}/debian", RELEASE), (f"{archive.url}/security", SECURITY))
    listed.write_text("\n".join(sources(*pair, signed_by=KEYRING) for pair in addresses))
    keyring = place.temporary / "archive.gpg"
    keyring.write_bytes(archive.keyring.read_bytes())
    for path in (listed, keyring):
        path.chmod(0o644)
    hooks = (
        'rm -rf "$1/etc/apt/sources.list" "$1"/etc/apt/sources.list.d/* "$1"/var/lib/apt/lists/*_*',
        f"upload {listed} /etc/apt/sources.list.d/of-a-test.sources",
        f"upload {keyring} {KEYRING}",
    )
    argv = [
        "mmdebstrap",
        "--variant=apt",
        *(f"--customize-hook={hook}" for hook in hooks),
        "bookworm",
        str(root),
    ]
    subprocess.run(user.as_user(place.user, argv), check=True, timeout=SECONDS, cwd=place.temporary)


def create(place: BuildEnv, name: str, *words: str, around: tuple[str, ...] = ()) -> Path:
    image = place.temporary / name
    options = ("--no-base", "-t", "tar", "-o", str(image), *words)
    ok(place.run("disk-image-create", *options, around=list(around)))
    return image.with_name(f"{name}.tar")


def test_a_fix_is_built_at_once_and_nothing_else(archive: DebianArchive, place: BuildEnv) -> None:
    artefact = create(place, "image", "with-tool")
    assert content(artefact, "usr/share/library") == "1.0-1"
    assert content(artefact, "usr/share/installed") == "1\n"
    assert archive.url in content(artefact, "etc/apt/sources.list.d/of-a-test.sources")
    with tarfile.open(artefact) as tar:
        assert not [name for name in tar.getnames() if name.endswith("_Packages") or "var/lib/dibo" in name]
    ok(place.run("dibo", "build", "--no-base", "with-other"))

    publish_library(archive, "1.0-2", suite=SECURITY)
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
    assert "library 1.0-1 → 1.0-2 (security)" in reasons
    assert content(create(place, "fixed", "with-tool"), "usr/share/library") == "1.0-2"
    assert to_build(plan(place, "with-tool")) == []


def test_an_image_without_dated_layers(place: BuildEnv) -> None:
    image = create(place, "shut", "shut")
    layers = plan(place, "shut")
    assert [layer["epoch"] for layer in layers] == [None] * 4
    times = [int(line) for line in content(image, "usr/share/times").splitlines()]
    with tarfile.open(image) as tar:
        assert max(member.mtime for member in tar) <= times[1]
    assert times[0] < times[1]


def test_the_same_bytes_by_a_lock_after_the_archive_moved_on(archive: DebianArchive, place: BuildEnv) -> None:
    here = ("env", f"--chdir={place.temporary}")
    ok(place.run("dibo", "lock", "--no-base", "with-tool", around=list(here)))
    first = create(place, "first", "--locked", "with-tool", around=here)
    publish_library(archive, "1.0-3", suite=SECURITY)
    archive.publish("tool", "1.0-2", depends="library", files={"usr/share/tool": "newer"})
    archive.sign()
    forget_states(place)
    moved = json.loads(
        ok(place.run("dibo", "lock", "--diff", "--json", "--no-base", "with-tool", around=list(here)))
    )
    assert moved["moved"][0]["changes"] == ["library 1.0-2 → 1.0-3 (security)", "tool 1.0-1 → 1.0-2"]
    assert [entry["packages"] for entry in moved["changelogs"]] == [["library"]]
    assert "* Mend 1.0-3." in ok(
        place.run("dibo", "lock", "--diff", "--no-base", "with-tool", around=list(here))
    )
    ok(place.run("dibo", "verify", str(first)))
    with build_env(place.user) as fresh:
        fresh.environment |= {
            name: value for name, value in place.environment.items() if name.startswith(("DIBO_", "FLAVOURS"))
        }
        shutil.copy(place.temporary / "dibo.lock", fresh.temporary)
        second = create(
            fresh, "second", "--locked", "with-tool", around=("env", f"--chdir={fresh.temporary}")
        )
        assert content(second, "usr/share/library") == "1.0-2"
        assert first.read_bytes() == second.read_bytes()


def test_an_epoch_that_is_named_chooses_nothing(archive: DebianArchive, place: BuildEnv) -> None:
    archive.site.asked.clear()
    said = ok(place.run("dibo", "plan", "--epoch", "2026-11", "--no-base", "with-tool"))
    assert "dated" not in said
    assert not archive.site.asked
