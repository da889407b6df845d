"""The docker engine, on a real daemon: the same keys, trees, errors and cleanliness as buildah's.

The base is busybox alone (tests/support/host/build_env.py); the daemon has a private socket
(tests/support/servers/dockerd.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo import errors
from tests.support.flavours import write_flavour
from tests.support.host import confine
from tests.support.host.build_env import BuildEnv, CommandResult, program
from tests.support.host.docker_build_env import (
    LAYER,
    config_of,
    differences,
    docker,
    ok,
    run,
    things,
    tree_of_buildah,
    tree_of_docker,
)
from tests.support.images.tree_entries import walk
from tests.support.servers.dockerd import Docker, dockerd
from tests.support.timeouts import TIMEOUT

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_is_left_with_docker")]

SH = "#!/bin/sh\n"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can set this up")


def write_flavours(directory: Path) -> None:
    """Flavours whose layers have something of everything."""
    write_flavour(
        directory,
        "many",
        {
            "install.d/10-files": SH + "mkdir -p /d/e && echo one > /d/one && ln /d/one /d/e/hard\n"
            "ln -s ../one /d/e/link; mkfifo /d/fifo; chmod 4755 /d/one; chown 1000:30000 /d/e\n"
            "printf 'with\\nlines' > \"/d/a name\"; : > /d/empty; chmod 0700 /d\n",
            "install.d/20-changes": SH + "rm /etc/group /bin/zcat; chmod 600 /etc/passwd\n"
            "rm -r /var/log; echo file > /var/log\n",
        },
    )
    write_flavour(directory, "other", {"first-boot.d/50-other": SH + "echo other\n"}, yaml="needs: [many]\n")


def refused(said: CommandResult, kind: type[errors.DiboError], *words: str) -> None:
    assert "Traceback" not in said.err, said.err
    for word in words:
        assert word in said.err, said.err
    assert said.code == kind.exit_code, said.err


def test_the_same_keys_and_trees_as_buildah(place: BuildEnv, daemon: Docker, tmp_path: Path) -> None:
    time.sleep(1)  # all that the base has is older than the second that begins now
    begun = int(time.time())
    theirs = ok(place.run("dibo", "build", "--engine", "buildah", "--no-base", "other"))
    ours = ok(place.run("dibo", "build", "--no-base", "other"))
    assert ours == theirs
    plan = ok(place.run("dibo", "plan", "--no-base", "other")).splitlines()
    keys = [line.split()[0] for line in plan if " cached " in line]
    assert len(keys) == 4, plan
    known = ok(place.run("docker", "images", "--format", "{{.Tag}}", LAYER)).splitlines()
    for number, key in enumerate(keys):
        image = f"{LAYER}:{next(tag for tag in known if tag.startswith(f'k-{key}'))}"
        directory = tmp_path / str(number)
        directory.mkdir()
        made_by_docker = walk(tree_of_docker(daemon, image, directory))
        made_by_buildah = walk(tree_of_buildah(place, image, directory))
        assert differences(made_by_docker, made_by_buildah, young=begun) == []


def test_a_layer_holds_no_secret_of_the_run(place: BuildEnv, daemon: Docker) -> None:
    """Proxies are seen by hooks, and are nowhere in what is kept."""
    write_flavour(place.flavours, "proxied", {"install.d/10-proxied": SH + "echo saw $http_proxy\n"})
    proxy = "http://user:hunter2@127.0.0.1:9"
    said = place.run(
        "dibo", "build", "-x", "--no-base", "proxied", environment={"http_proxy": proxy, "no_proxy": "*"}
    )
    image = ok(said)
    assert f"saw {proxy}" in said.err
    known = config_of(daemon, image)
    assert "hunter2" not in str(known)
    assert "hunter2" not in ok(place.run("docker", "history", "--no-trunc", image))
    assert "hunter2" not in run("grep", "-r", "--", "hunter2", daemon.directory / "data" / "image", code=1)
    config = known["Config"]
    assert not config["Cmd"]
    assert not config["Entrypoint"]
    assert not config["Env"]
    assert set(config["Labels"]) == {"io.dibo.key", "io.dibo.epoch"}


def test_hooks_are_and_may_what_they_do_with_buildah(place: BuildEnv) -> None:
    script = "id; umask; pwd; ulimit -n; grep CapEff /proc/self/status; env | grep -v ^HOSTNAME= | sort\n"
    script += "ls -lnR /tmp/in_target.d | sed 's/[A-Z][a-z][a-z] [ 0-9][0-9] .* / /'\n"
    script += "touch /tmp/in_target.d/x || :; echo end\n"
    write_flavour(place.flavours, "looks", {"install.d/10-looks": SH + script, "files/deep/file": "text\n"})
    seen = []
    for engine in ("docker", "buildah"):
        said = place.run("dibo", "build", "-x", "--no-base", "--refresh", "--engine", engine, "looks")
        ok(said)
        lines = [line for line in said.err.splitlines() if line.startswith("    ")]
        seen.append(lines[lines.index("    looks: 10-looks") : lines.index("    end")])
    assert seen[0] == seen[1]
    assert any("Read-only file system" in line for line in seen[0])


@pytest.mark.parametrize("script", ["echo out; echo err >&2; exit 3", "/nowhere", "kill -9 $$"])
def test_failures_read_as_buildahs(place: BuildEnv, script: str) -> None:
    write_flavour(place.flavours, "fails", {"install.d/10-fails": SH + f"echo state > /state\n{script}\n"})
    ours = place.run("dibo", "build", "--no-base", "fails")
    theirs = place.run("dibo", "build", "--engine", "buildah", "--no-base", "fails")
    refused(ours, errors.HookFailed, "the hook 10-fails of flavour 'fails'")
    error = error_of(ours)
    assert error == error_of(theirs)
    hint = next(line for line in error if "dibo shell" in line).partition("left:")[2]
    inside = place.type(
        hint, "--run", "cat /state; ls /tmp/in_target.d/install.d; touch /tmp/in_target.d/x; exit 7"
    )
    assert inside.code == 7
    assert inside.out == "state\n10-fails\n"
    assert "Read-only file system" in inside.err


def error_of(said: CommandResult) -> list[str]:
    lines = said.err.splitlines()
    return lines[next(n for n, line in enumerate(lines) if line.startswith("dibo: error: ")) :]


def test_a_shell_with_input(place: BuildEnv) -> None:
    ok(place.run("dibo", "build", "--no-base", "many"))
    argv = place.argv([program("dibo"), "shell", "--no-base", "many", "--run", "sort -r; echo $?"])
    done = subprocess.run(argv, input="a\nb\n", capture_output=True, text=True, cwd="/")
    assert (done.stdout, done.returncode) == ("b\na\n0\n", 0), done.stderr


def test_a_shell_on_a_terminal(place: BuildEnv) -> None:
    ok(place.run("dibo", "build", "--no-base", "many"))
    argv = place.argv([program("dibo"), "shell", "--no-base", "many"], {"TERM": "xterm"})
    typed = b"stty size; tty; echo term=$TERM; exit 5\r"
    code, seen = on_a_terminal(argv, typed)
    assert code == 5, seen
    assert "33 77" in seen
    assert "/dev/pts/0" in seen
    assert "term=xterm" in seen


def on_a_terminal(argv: list[str], typed: bytes) -> tuple[int, str]:
    """Run a command on a terminal of 33 lines of 77 characters."""
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    seen = b""
    with subprocess.Popen(argv, stdin=its, stdout=its, stderr=its, start_new_session=True, cwd="/") as child:
        os.close(its)
        with contextlib.suppress(OSError):  # EIO, when the last one on its side has gone
            while data := os.read(mine, 4096):
                seen += data
                if typed and (b"# " in seen or b"$ " in seen):
                    os.write(mine, typed)
                    typed = b""
        os.close(mine)
        return child.wait(TIMEOUT), seen.decode(errors="replace")


SLOW = SH + "echo begun > /begun; echo begun; sleep 1000\n"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(place: BuildEnv, daemon: Docker, signum: int) -> None:
    write_flavour(place.flavours, "slow", {"install.d/10-slow": SLOW})
    with place.start("dibo", "build", "-x", "--no-base", "slow") as child:
        wait_for_line(child, "begun")
        child.send_signal(signum)
        assert child.wait(TIMEOUT) == 128 + signum


@pytest.mark.parametrize("tenths", range(0, 15, 3))
def test_interrupted_whatever_it_does(place: BuildEnv, daemon: Docker, tenths: int) -> None:
    """At any moment of a build that makes every layer anew, from its first word on: before, Python may be starting
    still. What is left is looked for afterwards."""
    ok(place.run("dibo", "build", "--no-base", "other"))
    with place.start("dibo", "build", "--no-base", "--refresh", "other") as child:
        assert child.stderr is not None and child.stderr.readline()
        time.sleep(tenths / 10)
        child.send_signal(signal.SIGTERM)
        assert child.wait(TIMEOUT) in (128 + signal.SIGTERM, 0)


def test_killed(place: BuildEnv, daemon: Docker) -> None:
    """After SIGKILL the next run removes what was left, whatever its engine."""
    write_flavour(place.flavours, "slow", {"install.d/10-slow": SLOW})
    with place.start("dibo", "build", "-x", "--no-base", "slow") as child:
        wait_for_line(child, "begun")
        child.kill()
    assert len(things(daemon)) == 2
    unreachable = {"DOCKER_HOST": "unix:///nowhere/sock"}
    ok(place.run("dibo", "plan", "--engine", "buildah", "--no-base", "many", environment=unreachable))
    assert things(daemon) == []


def test_killed_while_its_daemon_is_away(place: BuildEnv, daemon: Docker) -> None:
    """What cannot be removed now waits."""
    journal = place.cache / "runs" / "20200101000000-00000000" / "journal"
    journal.parent.mkdir()
    journal.write_text('["docker", "unix:///nowhere/sock dibo-20200101000000-00000000-1"]\n')
    for path in (journal.parent, journal):
        shutil.chown(path, place.user.pw_uid, place.user.pw_gid)
    ok(place.run("dibo", "plan", "--no-base", "many"))
    assert journal.exists()
    journal.write_text(f'["docker", "{daemon.host} dibo-20200101000000-00000000-1"]\n')
    ok(place.run("dibo", "plan", "--no-base", "many"))
    assert not journal.exists()


def wait_for_line(child: subprocess.Popen[str], word: str) -> None:
    assert child.stderr is not None
    for line in child.stderr:
        if line.strip() == word:
            return
    raise AssertionError(f"never said {word}")


def test_built_anew_leaves_no_nameless_image(place: BuildEnv, daemon: Docker) -> None:
    """Looked for afterwards."""
    ok(place.run("dibo", "build", "--no-base", "many"))
    ok(place.run("dibo", "build", "--no-base", "--refresh", "many"))


def test_two_builds_at_once(place: BuildEnv, daemon: Docker) -> None:
    """Of the same layers. What one has not let go of yet stays without a name, and is removed here."""
    running = [place.start("dibo", "build", "--no-base", "--refresh", "other") for _ in range(2)]
    said = [child.communicate(timeout=TIMEOUT)[1] for child in running]
    assert [child.returncode for child in running] == [0, 0], said
    run(*docker(daemon), "image", "prune", "--force")
    assert " 0 to build" in ok(place.run("dibo", "plan", "--no-base", "other"))


def test_a_tag(place: BuildEnv, daemon: Docker) -> None:
    for name in ("localhost/web", "localhost:5000/web:1"):
        assert ok(place.run("dibo", "build", "--no-base", "--tag", name, "many")) == name
        assert config_of(daemon, name)["Config"]["Labels"]["io.dibo.key"]
        run(*docker(daemon), "rmi", name)


# Daemons elsewhere


@pytest.fixture
def remote(place: BuildEnv) -> Iterator[str]:
    """A daemon on TCP that sees neither the build environment nor any directory for temporary files of ours."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    hide = "mount -t tmpfs none /tmp; mount -t tmpfs none /home; mount -t tmpfs none /root; "
    hide += f"mount -t tmpfs none {place.directory}"
    with dockerd("--tls=false", f"--host={host}", prepare=hide) as started:
        yield host
        assert things(started) == []


def test_a_daemon_that_sees_none_of_our_files(place: BuildEnv, remote: str) -> None:
    image = ok(place.run("dibo", "build", "--no-base", "other", environment={"DOCKER_HOST": remote}))
    inside = place.run(
        "dibo", "shell", "--no-base", "other", "--run", "ls /d", environment={"DOCKER_HOST": remote}
    )
    assert inside.out.split() == ["a", "name", "e", "empty", "fifo", "one"]
    assert image in run("docker", "-H", remote, "images", "--format", "{{.Repository}}:{{.Tag}}")


def test_nobody_at_docker_host(place: BuildEnv) -> None:
    for host, words in {
        "unix:///nowhere/sock": "No such file or directory",
        "tcp://127.0.0.1:9": "Connection refused",
    }.items():
        said = place.run("dibo", "build", "--no-base", "many", environment={"DOCKER_HOST": host})
        refused(said, errors.EngineError, f"no docker daemon answers at {host}", words, "DOCKER_HOST")


def test_a_docker_host_that_is_none(place: BuildEnv) -> None:
    said = place.run("dibo", "build", "--no-base", "many", environment={"DOCKER_HOST": "gopher://x"})
    refused(said, errors.EngineError, "DOCKER_HOST")


@AS_ROOT
def test_a_user_who_may_not_use_the_daemon(place: BuildEnv, daemon: Docker) -> None:
    path = Path(daemon.host.removeprefix("unix://"))
    group = path.stat().st_gid
    os.chown(path, 0, 0)
    try:
        said = place.run("dibo", "build", "--no-base", "many")
    finally:
        os.chown(path, 0, group)
    refused(said, errors.EngineError, "may not use the docker daemon", "usermod --append --groups docker")


# Which engine


def without_buildah(place: BuildEnv) -> dict[str, str]:
    """A PATH with everything but buildah."""
    path = place.directory / "path"
    if not path.exists():
        path.mkdir()
        for directory in ("/bin", "/usr/bin", "/usr/sbin", "/usr/local/bin"):
            for each in Path(directory).iterdir():
                if each.name != "buildah" and not (path / each.name).exists():
                    (path / each.name).symlink_to(each)
    return {"PATH": str(path), "DIBO_ENGINE": "auto"}


def test_auto_takes_buildah(place: BuildEnv, daemon: Docker) -> None:
    said = place.run(
        "dibo", "plan", "--engine", "auto", "--no-base", "many", environment={"DOCKER_HOST": "unix:///x"}
    )
    ok(said)
    assert said.err == ""


def test_auto_takes_docker_where_buildah_is_missing(place: BuildEnv) -> None:
    said = place.run("dibo", "build", "--no-base", "many", environment=without_buildah(place))
    ok(said)
    assert "building with docker, since buildah does not work here: buildah is not installed" in said.err


@AS_ROOT
def test_auto_takes_docker_where_namespaces_are_forbidden(place: BuildEnv) -> None:
    around = [sys.executable, confine.__file__, "--no-containers", "--"]
    said = place.run("dibo", "plan", "--engine", "auto", "--no-base", "many", around=around)
    ok(said)
    assert (
        "building with docker, since buildah does not work here: buildah cannot enter a namespace" in said.err
    )


def test_auto_says_why_neither_works(place: BuildEnv) -> None:
    nobody = {**without_buildah(place), "DOCKER_HOST": "unix:///nowhere/sock"}
    said = place.run("dibo", "build", "--no-base", "many", environment=nobody)
    refused(
        said,
        errors.ToolMissing,  # what is nearest: buildah could be installed
        "no engine works here: neither buildah nor docker",
        "buildah: buildah is not installed",
        "sudo apt-get install buildah",
        "docker: no docker daemon answers at unix:///nowhere/sock",
    )


def test_an_unknown_engine(place: BuildEnv) -> None:
    refused(
        place.run("dibo", "build", "--engine", "dokcer", "many"), errors.UsageError, "'dokcer' is no engine"
    )


def test_artefacts_are_those_of_buildah(place: BuildEnv) -> None:
    """Byte for byte, since times are clamped to the epoch."""
    made = []
    for engine in ("docker", "buildah"):
        out = place.directory / engine
        out.mkdir()
        shutil.chown(out, place.user.pw_uid)
        options = ["--no-base", "--engine", engine, "-t", "raw,tar", "-o", out / "web"]
        ok(place.run("disk-image-create", *options, "other", environment={"IMAGE_SIZE": "0.05"}))
        made.append({path.name: path.read_bytes() for path in out.iterdir() if path.suffix == ".sha256"})
    assert sorted(made[0]) == ["web.raw.sha256", "web.tar.sha256"]
    assert made[0] == made[1]


def test_doctor(place: BuildEnv, daemon: Docker) -> None:
    base = place.directory / "base.tar"
    said = place.run("dibo", "doctor", "--base", base)
    assert f" at {daemon.host}" in said.out
    assert "buildah" not in said.out
    assert said.code == 0, said.out
    nobody = {"DOCKER_HOST": "unix:///nowhere/sock"}
    said = place.run("dibo", "doctor", "--base", base, environment=nobody)
    assert "NO  docker: no docker daemon answers at unix:///nowhere/sock" in said.out
    assert said.code == errors.EngineError.exit_code
    said = place.run("dibo", "doctor", "--engine", "auto", "--base", base, environment=nobody)
    assert "--  docker: no docker daemon answers" in said.out
    assert said.code == 0, said.out
    said = place.run("dibo", "doctor", "--base", base, environment=without_buildah(place))
    assert "--  buildah: buildah is not installed" in said.out
    assert "ok  docker: " in said.out
    assert said.code == 0, said.out
