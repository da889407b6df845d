"""What docs/how-to says that a job needs is what it needs: its security contexts, tried in Docker.

The contexts are read from the page about Kubernetes and given to `docker run`; taking any one thing away from the one
for building makes a build impossible, and `dibo doctor` says what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence

import pytest

from dibo.errors import EngineError
from tests.support.ci_recipes import container, docker_options
from tests.support.flavours import write_flavour
from tests.support.host.build_env import busybox_root
from tests.support.host.host_container import ID, IMAGE, HostContainer, make
from tests.support.host.installed_dibo import installed_dibo
from tests.support.requirements import need, unmet
from tests.support.servers.dockerd import dockerd

pytestmark = pytest.mark.integration

BUILD = (
    "-o",
    "/build/root",
    "-t",
    "tar,raw",
    "--base",
    "/build/base.tar",
    "--no-base",
    "--flavours-path",
    "/build",
    "--isolation",
    "chroot",  # as the page says where /proc is masked, as Docker does
)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostContainer]:
    if os.geteuid() != 0:
        unmet("dockerd must be started by root")
    need("docker", "dockerd", "buildah", "newuidmap", "setcap", "busybox")
    base = tmp_path_factory.mktemp("base") / "base.tar"
    busybox_root(base)
    installed_dibo()  # before there is a daemon that dibo's door to processes would take for a stray child
    with dockerd() as docker:
        made = make(docker)
        shutil.copy(base, made.work / "base.tar")
        write_flavour(
            made.work,
            "tiny",
            {"install.d/10-owner": "#!/bin/sh\necho made > /etc/made && chown 7:8 /etc/made\n"},
        )
        yield made


@pytest.fixture(autouse=True)
def clean(box: HostContainer) -> Iterator[None]:
    yield
    for path in box.work.iterdir():
        if path.name not in ("base.tar", "tiny"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def options_of(pod: str) -> list[str]:
    return docker_options(dict(container(pod)["securityContext"]))


def without(options: Sequence[str], *pair: str) -> list[str]:
    index = next(i for i in range(len(options)) if tuple(options[i : i + 2]) == pair)
    return [*options[:index], *options[index + 2 :]]


def dibo(*arguments: str, command: str = "dibo") -> list[str]:
    return [str(installed_dibo() / command), *arguments]


def test_the_context_for_building_builds(box: HostContainer) -> None:
    done = box.run(options_of("layers"), dibo(*BUILD, "tiny", command="disk-image-create"))
    assert done.returncode == 0, done.stderr
    assert (box.work / "root.tar").stat().st_uid == ID


DOCTOR = dibo("doctor", "--base", "/build/base.tar", "--isolation", "chroot")


def test_doctor_finds_nothing_missing_there(box: HostContainer) -> None:
    done = box.run(options_of("layers"), DOCTOR)
    assert done.returncode == 0, done.stdout + done.stderr


MISSING: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "seccomp": (
        lambda options: without(options, "--security-opt", "seccomp=unconfined"),
        "unshare(CLONE_NEWUSER)",
    ),
    "setuid": (lambda options: without(options, "--cap-add", "SETUID"), "write of uid_map and gid_map"),
    "setgid": (lambda options: without(options, "--cap-add", "SETGID"), "write of uid_map and gid_map"),
    "no_new_privs": (
        lambda options: [*options, "--security-opt", "no-new-privileges"],
        "write of uid_map and gid_map",
    ),
    "another id": (lambda options: [*options, "--user", "65534:65534"], "subordinate ids"),
    "storage": (lambda options: [*options, "--env", "XDG_DATA_HOME=/var/tmp/storage"], "layer storage"),
}


@pytest.mark.parametrize("name", MISSING)
def test_each_thing_that_it_grants_is_needed_and_doctor_names_it(box: HostContainer, name: str) -> None:
    change, said = MISSING[name]
    options = change(options_of("layers"))
    done = box.run(options, DOCTOR)
    assert done.returncode == 40, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith(f"NO  {said}")], done.stdout
    done = box.run(options, dibo(*BUILD, "tiny", command="disk-image-create"))
    assert done.returncode != 0
    assert "dibo: error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_context_for_converting_converts_and_gives_the_same_bytes(box: HostContainer) -> None:
    def convert(options: Sequence[str], name: str) -> bytes:
        arguments = (
            "convert",
            "docker-archive:/build/image.tar",
            "-o",
            f"/build/{name}",
            "-t",
            "raw",
            "--bare",
        )
        done = box.run(options, dibo(*arguments))
        assert done.returncode == 0, done.stderr
        return (box.work / f"{name}.raw").read_bytes()

    environment = {**os.environ, **box.docker.environment}
    image = ["docker", "save", "--output", str(box.work / "image.tar"), IMAGE]
    subprocess.run(image, env=environment, check=True)
    (box.work / "image.tar").chmod(0o644)
    assert convert(options_of("disk"), "disk") == convert(["--user", "0:0"], "again")


def test_the_context_for_converting_forbids_building(box: HostContainer) -> None:
    done = box.run(options_of("disk"), dibo(*BUILD, "tiny", command="disk-image-create"))
    assert done.returncode != 0
    assert "dibo: error: " in done.stderr


SANDBOXED = tuple(word for word in BUILD if word not in ("--isolation", "chroot"))


def test_with_proc_masked_there_is_no_sandbox_and_dibo_says_so_before_it_builds(box: HostContainer) -> None:
    done = box.run(options_of("layers"), dibo(*SANDBOXED, "tiny", command="disk-image-create"))
    assert done.returncode == EngineError.exit_code, done.stderr
    assert "the sandbox for steps cannot be set up here" in done.stderr
    assert "procMount: Unmasked" in done.stderr
    assert "--isolation chroot" in done.stderr
    assert "base.tar: done" not in done.stderr


def test_with_proc_whole_steps_run_in_the_sandbox(box: HostContainer) -> None:
    options = [*options_of("layers"), "--security-opt", "systempaths=unconfined"]
    done = box.run(options, dibo(*SANDBOXED, "tiny", command="disk-image-create"))
    assert done.returncode == 0, done.stderr
