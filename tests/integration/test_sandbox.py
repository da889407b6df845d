"""What a step can reach: a hook that tries each way out, with every engine, as an ordinary user and as root.

The hook is a flavour like any other. What it tried and saw is in its output; what it left outside is looked for there.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.errors import HookFailed, ToolMissing
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.host.docker_build_env import docker_build_env
from tests.support.host.host_state import processes
from tests.support.host.installed_dibo import installed_dibo
from tests.support.requirements import need, unmet
from tests.support.timeouts import wait_until

pytestmark = pytest.mark.integration

SECRET = "the-key-of-the-user"
ROOT = pwd.getpwuid(0)

# The classic break-out (chroot(2)): a descriptor of the old root, another root below, fchdir, up, chroot.
BREAK_OUT = r"""
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path + 1, argv[3]);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argv[3]);
    int abstract = socket(AF_UNIX, SOCK_STREAM, 0);
    printf("abstract: %s\n", connect(abstract, (void *)&name, length) == 0 ? "yes" : "no");
    close(abstract);
    mkdir("/break", 0755);
    int old = open("/", O_RDONLY | O_DIRECTORY);
    if (chroot("/break") != 0) return 1;
    if (fchdir(old) != 0) return 2;
    for (int i = 0; i < 64; i++) if (chdir("..") != 0) return 3;
    if (chroot(".") != 0) return 4;
    char buffer[64] = "";
    int file = open(argv[1], O_RDONLY);
    if (file < 0) { puts("break-out: nothing"); return 0; }
    if (read(file, buffer, sizeof buffer - 1) < 0) return 5;
    printf("break-out: %s\n", buffer);
    file = open(argv[2], O_WRONLY | O_CREAT, 0644);
    if (file >= 0) puts("break-out: wrote");
    return 0;
}
"""

HOOK = """#!/bin/sh
# Each line that is printed is an answer: what was tried, and what came of it.
tried() { name=$1; shift; if "$@" > /dev/null 2>&1; then echo "$name: yes"; else echo "$name: no"; fi; }

/tmp/in_target.d/break-out @SECRET@ @WRITTEN@ @ABSTRACT@
echo "processes: $(ls /proc | grep -c '^[0-9]')"
for entry in /proc/[0-9]*; do
    grep -q @SLEEPER@ $entry/cmdline 2> /dev/null && [ $entry != /proc/$$ ] && echo "victim: seen"
    [ -e "$entry/root@SECRET@" ] && echo "root of another: seen"
    [ -e "$entry/cwd@SECRET@" ] && echo "root of another: seen"
done
kill -9 @PID@ 2> /dev/null && echo "kill: done"
for file in /dev/shm/*; do [ -e "$file" ] && echo "shm: $file"; done
echo hook > /dev/shm/of-the-hook
tried "mknod of a disk" mknod /tmp/disk b 254 0
tried "mknod of memory" mknod /tmp/memory c 1 1
tried "mount of a tmpfs" mount -t tmpfs tmpfs /mnt
tried "mount of a proc" mount -t proc proc /mnt
tried "remount of /sys" mount -o remount,rw /sys
tried "write to /proc/sys" sh -c 'cat /proc/sys/kernel/core_pattern > /proc/sys/kernel/core_pattern'
tried "sysrq" sh -c 'echo h > /proc/sysrq-trigger'
tried "host name" hostname changed
find /proc /sys ! -path '/proc/[0-9]*' -type f -perm /222 2> /dev/null | while read -r file; do
    case $file in
        /proc/self/* | /proc/thread-self/*) continue ;;
        /proc/pressure/*) (: >> "$file") 2> /dev/null && echo "pressure: writable"; continue ;;
    esac
    [ -w "$file" ] && (: >> "$file") 2> /dev/null && echo "writable: $file"
done
for place in /sys/kernel/debug /sys/kernel/tracing /sys/kernel/security /sys/fs/bpf /sys/fs/pstore /sys/firmware; do
    [ -z "$(ls "$place" 2> /dev/null)" ] || echo "of the machine: $place"
done
tried "whiteout" mknod /tmp/whiteout c 0 0
tried "docker socket" test -e /var/run/docker.sock -o -e /run/docker.sock
for device in $(find /dev -type b) $(find /dev -type c); do
    case $device in
        /dev/null | /dev/zero | /dev/full | /dev/random | /dev/urandom) ;;
        /dev/tty | /dev/console | /dev/ptmx | /dev/pts/*) ;;
        *) echo "device: $device" ;;
    esac
done
for file in /proc/self/fd/* /proc/1/fd/*; do
    target=$(readlink "$file" 2> /dev/null)
    case $target in
        pipe:* | anon_inode:* | /dev/null | '' | /proc/*/fd | /tmp/in_target.d/*) ;;
        *) echo "descriptor: $target" ;;
    esac
done
echo "my host: $(hostname)"
tried "loopback" nc -w 2 127.0.0.1 @PORT@
tried "chown" sh -c 'touch /owned && chown 12345:54321 /owned'
[ "$(stat -c %u:%g /owned)" = 12345:54321 ] && echo "ids: many"
(sleep 5000 > /dev/null 2>&1 &)
echo "127.0.0.1 mine" > /etc/hosts && sed -i s/mine/changed/ /etc/hosts && echo "hosts: changed"
echo wanted > /etc/hostname && sed -i s/wanted/kept/ /etc/hostname && echo "hostname: changed"
true
"""


class Prey:
    """What a hook might reach outside: a file, a process, shared memory, a port."""

    def __init__(self, place: BuildEnv) -> None:
        self.secret = place.directory / "secret"
        self.secret.write_text(SECRET)
        shutil.chown(self.secret, place.user.pw_uid, place.user.pw_gid)
        self.written = place.directory / "written"
        self.shm = Path(f"/dev/shm/dibo-test-{os.getpid()}")
        self.shm.write_text("of the host")
        installed_dibo()  # installing it ends children of this process that dibo.system.process did not start
        self.sleeper = subprocess.Popen(place.argv(["sleep", "987654"]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self.abstract = f"dibo-test-{os.getpid()}"
        self._abstract = socket.socket(socket.AF_UNIX)
        self._abstract.bind(f"\0{self.abstract}")
        self._abstract.listen()
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._listener.accept()[0].close()
                self.connections += 1

    def close(self) -> None:
        self.sleeper.kill()
        self.sleeper.wait()
        self._listener.close()
        self._abstract.close()
        self.shm.unlink(missing_ok=True)
        Path("/dev/shm/of-the-hook").unlink(missing_ok=True)


@contextlib.contextmanager
def prey(place: BuildEnv) -> Iterator[Prey]:
    made = Prey(place)
    try:
        yield made
    finally:
        made.close()


def write_escape(place: BuildEnv, there: Prey) -> None:
    flavour = place.flavours / "escape"
    (flavour / "install.d").mkdir(parents=True, exist_ok=True)
    text = HOOK
    for word, value in (
        ("SECRET", there.secret),
        ("WRITTEN", there.written),
        ("SLEEPER", "987654"),
        ("PID", there.sleeper.pid),
        ("PORT", there.port),
        ("ABSTRACT", there.abstract),
    ):
        text = text.replace(f"@{word}@", str(value))
    hook = flavour / "install.d" / "10-escape"
    hook.write_text(text)
    hook.chmod(0o755)
    source = place.directory / "break-out.c"
    source.write_text(BREAK_OUT)
    argv = ["cc", "-static", "-o", str(flavour / "break-out"), str(source)]
    subprocess.run(argv, check=True, capture_output=True)


def build(place: BuildEnv, *options: str) -> CommandResult:
    said = place.run("dibo", "build", "-x", "--no-base", "--refresh", *options, "escape")
    assert said.code == 0, said.err
    return said


def answers(said: CommandResult) -> dict[str, str]:
    lines = [line.strip() for line in said.err.splitlines()]
    pairs = [line.split(": ", 1) for line in lines if ": " in line]
    return {pair[0]: pair[1] for pair in pairs}


FORBIDDEN = (
    "mknod of a disk", "mknod of memory", "mount of a tmpfs", "mount of a proc", "remount of /sys",
    "write to /proc/sys", "sysrq", "host name", "whiteout", "docker socket",
)  # fmt: skip


OF_OTHERS = (
    "victim", "kill", "root of another", "shm", "device", "descriptor", "writable", "of the machine",
)  # fmt: skip


def assert_contained(place: BuildEnv, there: Prey, said: CommandResult) -> None:
    told = answers(said)
    assert told["break-out"] == "nothing"
    assert {name: told[name] for name in FORBIDDEN} == dict.fromkeys(FORBIDDEN, "no")
    assert not told.keys() & {*OF_OTHERS}, said.err
    assert int(told["processes"]) < 12
    assert told["my host"] == "dibo"
    assert told["chown"] == "yes"
    assert told["ids"] == "many"
    assert SECRET not in said.err
    assert there.sleeper.poll() is None
    assert there.shm.read_text() == "of the host"
    assert not Path("/dev/shm/of-the-hook").exists()
    assert not there.written.exists()
    assert not [line for line in processes(place.directory) if "5000" in line]


@pytest.fixture(scope="module")
def builder() -> pwd.struct_passwd:
    need("buildah", "newuidmap", "busybox", "setpriv", "bwrap", "cc")
    return user.need_ordinary_user()


def write(place: BuildEnv, name: str, hook: str) -> None:
    write_flavour(place.flavours, name, {f"install.d/10-{name}": hook})


@pytest.fixture(params=["user", "root"])
def place(request: pytest.FixtureRequest, builder: pwd.struct_passwd) -> Iterator[BuildEnv]:
    if request.param == "root" and os.geteuid() != 0:
        unmet("root builds only where root runs the tests")
    with build_env(builder if request.param == "user" else ROOT) as made:
        yield made


def test_each_way_out_is_shut(place: BuildEnv) -> None:
    with prey(place) as there:
        write_escape(place, there)
        said = build(place)
        assert_contained(place, there, said)
        told = answers(said)
        assert "pressure" not in told  # docker leaves it
        assert (told["hosts"], told["hostname"]) == ("changed", "changed")
        assert (told["loopback"], told["abstract"], there.connections > 0) == ("yes", "yes", True)
        image = said.out.strip()
        tar = place.tree(image)
        listing = subprocess.run(
            ["tar", "-xOf", tar, "./etc/hosts", "./etc/hostname"], capture_output=True, text=True
        )
        assert listing.stdout == "127.0.0.1 changed\nkept\n"
        names = subprocess.run(["tar", "-tf", tar], capture_output=True, text=True, check=True).stdout.split()
        assert "./etc/resolv.conf" not in names  # there was none, and dibo's own does not stay
    assert place.left() == []


def test_no_network(place: BuildEnv) -> None:
    with prey(place) as there:
        write_escape(place, there)
        told = answers(build(place, "--network", "none"))
        assert (told["loopback"], told["abstract"], there.connections) == ("no", "no", 0)


def test_without_the_sandbox_the_classic_break_out_succeeds(place: BuildEnv) -> None:
    """So the tests above can fail."""
    with prey(place) as there:
        write_escape(place, there)
        told = answers(build(place, "--isolation", "chroot"))
        assert told["break-out"] in (SECRET, "wrote")
        assert there.written.exists()
        assert there.sleeper.wait(5) == -9


@pytest.mark.parametrize("network", ["host", "none"])
def test_docker_is_held_to_the_same(network: str) -> None:
    if os.geteuid() != 0:
        unmet("dockerd must be started by root")
    need("cc")
    with docker_build_env(user.ordinary_user()) as (place, _), prey(place) as there:
        write_escape(place, there)
        said = build(place, "--network", network)
        assert_contained(place, there, said)
        told = answers(said)
        reached = "yes" if network == "host" else "no"
        assert (told["loopback"], told["abstract"]) == (reached, reached)


def test_nothing_of_a_step_outlives_a_dibo_that_is_killed(place: BuildEnv) -> None:
    seconds = "987655"
    write(place, "long", f"#!/bin/sh\n(setsid sleep {seconds} &)\necho it sleeps\nsleep {seconds}\n")
    running = place.start("dibo", "build", "--no-base", "-x", "long")
    assert running.stderr is not None
    next(line for line in running.stderr if line.strip() == "it sleeps")
    assert sleeping(seconds)
    running.kill()
    running.wait()
    running.stderr.close()
    wait_until(lambda: not sleeping(seconds), "the step has ended with dibo")
    said = place.run("dibo", "flavours")
    assert said.code == 0
    assert place.run("dibo", "plan", "--no-base", "long").code == 0
    assert place.left() == []


def sleeping(seconds: str) -> list[str]:
    table = subprocess.run(["ps", "-e", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in table.splitlines() if line == f"sleep {seconds}"]


@pytest.mark.parametrize("signal", ["TERM", "KILL", "INT"])
def test_a_hook_that_signals_its_process_group_ends_itself_alone(place: BuildEnv, signal: str) -> None:
    write(place, "group", f"#!/bin/sh\nkill -{signal} 0\nsleep 1\n")
    said = place.run("dibo", "build", "--no-base", "group")
    assert said.code == HookFailed.exit_code, said.err
    assert place.left() == []


def test_a_hook_that_stops_its_process_group_ends_with_a_dibo_that_is_killed(place: BuildEnv) -> None:
    seconds = "987657"
    write(place, "stop", f"#!/bin/sh\n(setsid sleep {seconds} &)\nsleep 1\necho it stops\nkill -STOP 0\n")
    running = place.start("dibo", "build", "--no-base", "-x", "stop")
    assert running.stderr is not None
    next(line for line in running.stderr if line.strip() == "it stops")
    wait_until(lambda: stopped("10-stop"), "the hook has stopped")
    assert sleeping(seconds)
    running.kill()
    running.wait()
    running.stderr.close()
    wait_until(lambda: not sleeping(seconds), "the step has ended with dibo")
    assert place.run("dibo", "plan", "--no-base", "stop").code == 0
    assert place.left() == []


def stopped(command: str) -> list[str]:
    table = subprocess.run(["ps", "-e", "-o", "stat,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in table.splitlines() if line.startswith("T") and command in line]


def test_without_bubblewrap_dibo_says_what_a_hook_could_reach(place: BuildEnv) -> None:
    write(place, "plain", "#!/bin/sh\ntrue\n")
    around = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    hide = 'mount --bind /dev/null /usr/bin/bwrap && exec "$@"'
    if os.geteuid() != 0:
        unmet("hiding a program takes root")
    said = place.run("dibo", "build", "--no-base", "plain", around=[*around, hide, "sh"])
    assert said.code == ToolMissing.exit_code, said.err
    assert "bubblewrap is not installed" in said.err
    assert "apt-get install bubblewrap" in said.err
    assert "--isolation chroot" in said.err
    reach = "every file of this machine" if place.user.pw_uid == 0 else "the files of this user"
    assert reach in said.err
    said = place.run(
        "dibo", "build", "--no-base", "--isolation", "chroot", "plain", around=[*around, hide, "sh"]
    )
    assert said.code == 0, said.err
