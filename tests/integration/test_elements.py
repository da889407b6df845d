"""Elements of diskimage-builder, unchanged: an ordinary user builds them, and every phase is a cached layer.

The first tests build elements that are written here, without a network. The last builds elements of diskimage-builder
itself, from its wheel, and is skipped loudly without it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.errors import HookFailed
from dibo.system import process
from tests.support import dib, user
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.requirements import need

pytestmark = pytest.mark.integration

FILES = {
    "os/element-provides": "operating-system\n",
    "os/environment.d/10-os": "export DISTRO_NAME=debian DIB_INIT_SYSTEM=systemd\n",
    "os/root.d/10-root": 'sudo dd of=$TARGET_ROOT/etc/root <<< "$DISTRO_NAME $ARCH"\n'
    "sudo mount -t proc none $TARGET_ROOT/proc\nsudo chroot $TARGET_ROOT cat /proc/self/comm\n",
    "os/extra-data.d/50-data": "eval declare -A elements=($(get_image_element_array))\n"
    "cat ${elements[web]}/list > $TMP_HOOKS_PATH/from-data\n"
    "ln -sf web-source-install/60-made $TMP_HOOKS_PATH/install.d/\n"
    "echo kept | sudo tee $TMP_MOUNT_PATH/tmp/kept > /dev/null\nsource $_LIB/die\n",
    "os/install.d/10-data": "cat $(dirname $0)/../from-data /tmp/kept > /etc/data\nsudo -E id -u > /etc/id\n"
    "echo of this step alone > $(dirname $0)/../new\n",
    "os/post-install.d/10-static": "test ! -e /tmp/in_target.d/new\ncp -a /tmp/in_target.d/static/. /\n",
    "os/post-root.d/10-outside": "test -e $TMP_MOUNT_PATH/etc/static\n",
    "os/finalise.d/90-last": "echo $DIB_COLOUR > /etc/colour\necho uninitialized > /etc/machine-id\n",
    "os/cleanup.d/90-clean": "sudo rm $TARGET_ROOT/etc/root\n",
    "web/list": "from web\n",
    "web/static/etc/static": "static\n",
    "web/install.d/web-source-install/60-made": "echo made > /etc/made\n",
    "web/install.d/70-web": "test -e /etc/made\necho 1 > /etc/web\n",
}


EVERYDAY = (
    *(
        "debian-minimal",
        "sysprep",
        "cloud-init-datasources",
        "dhcp-all-interfaces",
        "dib-init-system",
        "growroot",
    ),
    *("sysctl", "svc-map", "element-manifest", "install-static", "pkg-map", "package-installs"),
)
"""Elements of diskimage-builder that need nothing but Debian's archive."""


@pytest.fixture(scope="module")
def place() -> Iterator[BuildEnv]:
    need("buildah", "bwrap", "busybox", "bash")
    with build_env(user.need_ordinary_user()) as made:
        add_bash(made.directory / "base.tar")
        yield made


@pytest.fixture
def elements(place: BuildEnv) -> Iterator[Path]:
    directory = place.directory / "elements"
    for path, text in FILES.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        is_script = re.search(r"\.d/.*[0-9]+-[a-z]+$", path) and "environment.d" not in path
        file.write_text(f"#!/bin/bash\nset -eu\n{text}" if is_script else text)
        file.chmod(0o755 if is_script else 0o644)
    yield directory
    shutil.rmtree(directory)


def add_bash(base: Path) -> None:
    """Scripts of elements are for bash: this machine's, with its libraries."""
    bash = process.find("bash")
    assert bash is not None
    said = process.run(["ldd", bash], capture=True).stdout
    with tarfile.open(base, "a") as tar:
        for path in (bash, *re.findall(r"(/\S+) \(0x", said)):
            member = tar.gettarinfo(path, arcname=f".{'/bin/bash' if path == bash else path}")
            member.uid = member.gid = 0
            with Path(path).resolve().open("rb") as stream:
                member.type, member.size = tarfile.REGTYPE, Path(path).resolve().stat().st_size
                tar.addfile(member, stream)


def build(place: BuildEnv, elements: Path, *names: str, **variables: str) -> CommandResult:
    return place.run(
        "disk-image-create",
        *("-n", "-t", "tar", "-o", str(place.temporary / "one"), *names),
        environment={"ELEMENTS_PATH": str(elements), "DIB_COLOUR": "red", **variables},
    )


def tree_of(place: BuildEnv) -> dict[str, str]:
    """The text of files below /etc, by name; and which others there are."""
    texts = {}
    with tarfile.open(place.temporary / "one.tar") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            content = tar.extractfile(member) if member.isfile() and name.startswith("etc/") else None
            texts[name] = content.read().decode(errors="replace") if content is not None else ""
    for path in place.temporary.glob("one.*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return texts


def test_every_phase_of_elements_leaves_what_it_made(place: BuildEnv, elements: Path) -> None:
    first = build(place, elements, "os", "web")
    assert first.code == 0, first.err
    manifest = json.loads((place.temporary / "one.manifest.json").read_text())
    assert [(element["name"], element["asked"], element["from"]) for element in manifest["elements"]] == [
        ("os", True, "elsewhere"),
        ("web", True, "elsewhere"),
    ]
    for path, digest in manifest["elements"][1]["files"].items():
        assert digest == f"sha256:{hashlib.sha256((elements / 'web' / path).read_bytes()).hexdigest()}"
    tree = tree_of(place)
    expected = {
        "etc/data": "from web\nkept\n",
        "etc/id": "0\n",
        "etc/made": "made\n",
        "etc/web": "1\n",
        "etc/static": "static\n",
        "etc/colour": "red\n",
        "etc/machine-id": "uninitialized\n",
    }
    assert {name: tree.get(name) for name in expected} == expected
    assert "etc/root" not in tree  # cleanup.d removed it
    assert not [name for name in tree if "in_target" in name or name.startswith(("build", "run/", "tmp/"))]
    second = build(place, elements, "os", "web")
    assert second.code == 0
    assert "to build" not in second.err
    assert " built " not in second.err
    assert tree_of(place) == tree
    assert place.left() == []


def test_a_changed_script_builds_only_what_lies_above_it(place: BuildEnv, elements: Path) -> None:
    assert build(place, elements, "os", "web").code == 0
    script = elements / "os/finalise.d/90-last"
    script.write_text(f"{script.read_text()}echo 2 > /etc/second\n")
    again = build(place, elements, "os", "web")
    built = [line.split("  ")[0] for line in again.err.splitlines() if re.search(r"  built  ", line)]
    assert built == ["elements finalise.d: 90-last", "elements cleanup.d: 90-clean", "finalise"]
    assert tree_of(place)["etc/second"] == "2\n"


def test_a_script_that_fails_is_named_with_its_phase(place: BuildEnv, elements: Path) -> None:
    (elements / "os/post-root.d/10-outside").write_text("#!/bin/bash\necho sorry; exit 3\n")
    done = build(place, elements, "os", "web")
    assert done.code == HookFailed.exit_code
    assert "the script 10-outside in post-root.d of elements ended with exit code 3" in done.err
    assert "| sorry" in done.err
    assert place.left() == []


def test_scripts_outside_see_neither_the_users_files_nor_the_machine(place: BuildEnv, elements: Path) -> None:
    secret = place.directory / "secret"
    secret.write_text("x")
    (elements / "os/root.d/10-root").write_text(
        f"#!/bin/bash\nset -eu\n! test -e {secret}\n! test -e /etc/shadow\n! touch /usr/x\n! mount -t tmpfs x /mnt\n"
        "sudo touch $TARGET_ROOT/etc/root\n"
    )
    done = build(place, elements, "os", "web")
    assert done.code == 0, done.err


def test_what_a_variable_names_is_seen_and_its_layers_are_local(place: BuildEnv, elements: Path) -> None:
    key = place.directory / "key.pub"
    key.write_text("ssh-ed25519 AAAA\n")
    script = elements / "os/root.d/10-root"
    script.write_text(f"{script.read_text()}sudo cp $DIB_DEV_USER_AUTHORIZED_KEYS $TARGET_ROOT/etc/keys\n")
    variables = {"ELEMENTS_PATH": str(elements), "DIB_DEV_USER_AUTHORIZED_KEYS": str(key)}
    planned = place.run("dibo", "plan", "-n", "os", "web", environment=variables)
    assert "root.d: 10-root  (local)" in planned.out
    assert build(place, elements, "os", "web", DIB_DEV_USER_AUTHORIZED_KEYS=str(key)).code == 0
    assert tree_of(place)["etc/keys"] == "ssh-ed25519 AAAA\n"


@dib.needs_wheel
@pytest.mark.long
def test_everyday_elements_of_diskimage_builder_build_on_debian(place: BuildEnv) -> None:
    need("mmdebstrap")
    theirs = dib.unpack(place.directory / "dib")
    variables = {
        "DIBO_BASE": "",
        "DIB_RELEASE": "trixie",
        "DIB_CLOUD_INIT_DATASOURCES": "ConfigDrive, NoCloud",
    }
    first = build(place, theirs, "base", *EVERYDAY, **variables)
    assert first.code == 0, first.err
    tree = tree_of(place)
    assert "debian-minimal" in tree["etc/dib-manifests/dib-element-manifest"].split()
    assert tree["etc/machine-id"] == "uninitialized\n"
    assert {
        "usr/share/pkg-map/base",
        "usr/local/sbin/dhcp-all-interfaces.sh",
        "usr/share/svc-map/services",
    } <= {*tree}
    assert not [name for name in tree if name.endswith("start-stop-daemon.REAL")]
    second = build(place, theirs, "base", *EVERYDAY, **variables)
    assert second.code == 0
    assert " built " not in second.err
