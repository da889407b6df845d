"""The element `containerfile`: buildah builds the root from a Containerfile, on an image of a registry on loopback."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dibo.errors import UsageError
from dibo.system import process
from tests.integration.test_elements import add_bash
from tests.support import dib, user
from tests.support.host.build_env import BuildEnv, CommandResult, build_env, program
from tests.support.requirements import need
from tests.support.servers.registry import Registry, registry
from tests.support.timeouts import TIMEOUT
from tests.support.wheel.build import steps_built

pytestmark = pytest.mark.integration
FILES = {
    "web-container/element-deps": "containerfile\n",
    "web-container/environment.d/10-web.bash": "export DISTRO_NAME=tiny DIB_INIT_SYSTEM=systemd\n"
    "export DIB_RELEASE=${DIB_RELEASE:-9} # the newest\n",
    "web-container/install.d/10-web": 'cat /etc/made > /etc/seen\necho "$DIB_RELEASE" >> /etc/seen\n',
    "context/site/page": "page\n",
}
CONTAINERFILE = """FROM {image} AS tools
RUN echo $0 tool > /tool; id -u > /id; sed -n 's/ *\\(.*\\):.*/\\1/p' /proc/net/dev > /networks
RUN ls -d /proc/[0-9]* > /processes; test ! -e {secret}

FROM {image}
COPY --from=tools /tool /id /networks /processes /etc/
COPY site /srv/site
RUN cat /srv/site/page > /etc/made && \\
    chown 7:7 /etc/made
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    place: BuildEnv
    hub: Registry
    directory: Path
    """With elements, and the context."""

    def build(self, *elements: str, path: str = "", **variables: str) -> CommandResult:
        environment = {
            "DIBO_BASE": "",
            "ELEMENTS_PATH": path or str(self.directory),
            "DIB_CONTAINER_CONTEXT": str(self.directory / "context"),
            **variables,
        }
        target = self.place.temporary / "one"
        return self.place.run(
            "disk-image-create", "-n", "-t", "tar", "-o", str(target), *elements, environment=environment
        )

    def tree(self) -> dict[str, tuple[int, str]]:
        """(owner, text) of files of what was built, by path; which goes again."""
        with tarfile.open(self.place.temporary / "one.tar") as tar:
            files = {
                member.name.removeprefix("./"): (member.uid, stream.read().decode(errors="replace"))
                for member in tar
                if (stream := tar.extractfile(member)) is not None and member.size < 1 << 16
            }
        for path in self.place.temporary.glob("one.*"):
            path.unlink()
        return files


@pytest.fixture(scope="module")
def place() -> Iterator[BuildEnv]:
    need("buildah", "bwrap", "busybox", "bash", "crun" if process.find("crun") else "runc")
    with build_env(user.need_ordinary_user()) as made:
        add_bash(made.directory / "base.tar")
        yield made


@pytest.fixture(scope="module")
def hub(place: BuildEnv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as started:
        started.push_image("tiny", "1", tar=(place.directory / "base.tar").read_bytes())
        yield started


@pytest.fixture
def lab(place: BuildEnv, hub: Registry) -> Iterator[Lab]:
    directory = place.directory / "elements"
    secret = place.directory / "secret"
    secret.write_text("x")
    text = CONTAINERFILE.format(image=f"{hub.host}/tiny:1", secret=secret)
    for path, content in {**FILES, "web-container/containerfiles/9": text}.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/bash\nset -eu\n{content}" if "install.d" in path else content)
        file.chmod(0o755 if "install.d" in path else 0o644)
    yield Lab(place=place, hub=hub, directory=directory)
    shutil.rmtree(directory)


def test_the_root_is_what_the_containerfile_makes(lab: Lab) -> None:
    first = lab.build("web-container")
    assert first.code == 0, first.err
    manifest = (lab.place.temporary / "one.manifest.json").read_text()
    assert json.loads(manifest)["base"]["name"] == "containerfile:9"
    assert str(lab.directory) not in manifest
    tree = lab.tree()
    assert tree["etc/seen"] == (0, "page\n9\n")
    assert tree["etc/made"] == (7, "page\n")
    assert tree["etc/tool"] == (0, "/bin/sh tool\n")
    assert tree["etc/id"] == (0, "0\n")
    assert "tool" not in tree
    assert len(tree["etc/processes"][1].split()) < 5
    second = lab.build("web-container")
    assert second.code == 0, second.err
    assert steps_built(second) == []
    assert lab.tree() == tree
    assert lab.place.left() == []


def test_the_key_covers_the_context_and_the_image_and_the_options(lab: Lab) -> None:
    assert lab.build("web-container").code == 0
    lab.tree()
    (lab.directory / "context/site/page").write_text("other\n")
    assert lab.build("web-container").code == 0
    assert lab.tree()["etc/seen"] == (0, "other\n9\n")
    for options, count in (("--build-arg OTTER=1", 4), ("", 0)):
        planned = lab.place.run(
            *("dibo", "plan", "-n", "web-container"),
            environment={
                "DIBO_BASE": "",
                "ELEMENTS_PATH": str(lab.directory),
                "DIB_CONTAINER_CONTEXT": str(lab.directory / "context"),
                "DIB_CONTAINERFILE_BUILDOPTS": options,
            },
        )
        assert planned.code == 0, planned.err
        assert f"{count} to build" in planned.out, planned.out
    lab.hub.push_image("tiny", "1", comment="2", tar=(lab.place.directory / "base.tar").read_bytes())
    again = lab.build("web-container")
    assert again.code == 0
    assert steps_built(again) != []
    lab.tree()


def test_a_containerfile_without_a_network(lab: Lab) -> None:
    made = lab.build("web-container", DIB_CONTAINERFILE_NETWORK_DRIVER="none")
    assert made.code == 0, made.err
    assert lab.tree()["etc/networks"] == (0, "lo\n")


def test_a_command_that_fails_leaves_nothing(lab: Lab) -> None:
    file = lab.directory / "web-container/containerfiles/9"
    file.write_text(f"FROM {lab.hub.host}/tiny:1\nRUN echo sorry; exit 3\n")
    made = lab.build("web-container")
    assert made.code != 0
    assert "| " in made.err and "sorry" in made.err
    assert lab.place.left() == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_signal_ends_is_gone_with_the_next_run(lab: Lab, signum: signal.Signals) -> None:
    file = lab.directory / "web-container/containerfiles/9"
    file.write_text(f"FROM {lab.hub.host}/tiny:1\nRUN sleep 4711{signum.value}\n")
    environment = {"DIBO_BASE": "", "ELEMENTS_PATH": str(lab.directory)}
    words = [program("disk-image-create"), "-n", "-o", str(lab.place.temporary / "one"), "web-container"]
    with subprocess.Popen(lab.place.argv(words, environment), cwd="/", stderr=subprocess.DEVNULL) as started:
        wait_until(lambda: sleeps(signum))
        started.send_signal(signum)
        started.wait(TIMEOUT)
    planned = lab.place.run("dibo", "plan", "-n", "web-container", environment=environment)
    assert planned.code == 0, planned.err
    assert not sleeps(signum)
    assert lab.place.left() == []


def sleeps(signum: signal.Signals) -> bool:
    """Whether the command of the Containerfile runs."""
    command = b"sleep\0" + f"4711{signum.value}".encode() + b"\0"
    for pid in process.process_table():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(command):
                return True
    return False


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"DIB_RELEASE": "10"}, "no element of the stack has containerfiles/10"),
        ({"DIB_CONTAINERFILE_DOCKERFILE": "/no/such/file"}, "names /no/such/file, which is no file"),
        ({"DIB_CONTAINERFILE_BUILDOPTS": "--privileged"}, "has --privileged, which dibo does not pass on"),
        ({"DIB_CONTAINERFILE_NETWORK_DRIVER": "macvlan"}, "is 'macvlan', which buildah does not have"),
        ({"DIB_CONTAINER_CONTEXT": "/no/such/directory"}, "names /no/such/directory, which is no directory"),
    ],
)
def test_what_cannot_be_built_is_said_before(lab: Lab, variables: dict[str, str], message: str) -> None:
    made = lab.build("web-container", **variables)
    assert made.code == UsageError.exit_code
    assert message in made.error, made.err
    assert len(made.err.splitlines()) <= 3, made.err


@dib.needs_wheel
def test_the_own_test_of_the_element(lab: Lab) -> None:
    theirs = dib.unpack(lab.directory / "dib")
    tests = theirs / "containerfile/test-elements"
    made = lab.build(
        "jammy-build-succeeds",
        "containerfile",
        path=f"{tests}:{theirs}",
        DIB_CONTAINERFILE_DOCKERFILE=str(tests / "jammy-build-succeeds/files/Dockerfile"),
        DIB_CONTAINERFILE_BUILDOPTS=f"--from {lab.hub.host}/tiny:1",
    )
    assert made.code == 0, made.err
    assert lab.tree()["testfile"] == (0, "")
