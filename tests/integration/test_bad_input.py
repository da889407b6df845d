"""What goes wrong, for real: each time a clear error, its exit code, and nothing left behind.

Builds are of an ordinary user on a base that is busybox alone; see tests/support/host/build_env.py.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo import errors
from dibo.units import MIB
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.host.host_state import host_state, processes
from tests.support.requirements import need
from tests.support.servers.registry import registry
from tests.support.timeouts import TIMEOUT, wait_until

pytestmark = pytest.mark.integration

SH = "#!/bin/sh\n"
LONG = str(100_000 + os.getpid())  # how long a hook sleeps that is known by it
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can set this up")


@pytest.fixture(scope="module")
def place() -> Iterator[BuildEnv]:
    need("buildah", "newuidmap", "busybox", "mke2fs", "qemu-img", "setpriv")
    who = user.need_ordinary_user()
    with build_env(who) as made:
        write_flavour(made.flavours, "plain", {"install.d/10-plain": SH + "echo plain > /plain\n"})
        said = made.run("dibo", "build", "--no-base", "plain")
        assert said.code == 0, said.err
        yield made


@pytest.fixture
def out(place: BuildEnv, tmp_path: Path) -> Iterator[Path]:
    """A directory of the user's for artefacts."""
    directory = place.directory / "out"
    directory.mkdir()
    shutil.chown(directory, place.user.pw_uid, place.user.pw_gid)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def nothing_is_left(place: BuildEnv) -> Iterator[None]:
    """Of any test here: no container, no directory of a run, no process, no mount, no loop device."""
    before = host_state(place.directory)
    yield
    assert place.left() == []
    assert host_state(place.directory) == before


def create(place: BuildEnv, out: Path, *arguments: str | Path, **environment: str) -> CommandResult:
    return place.run(
        "disk-image-create", "--no-base", "-t", "raw", "-o", out / "web", *arguments, environment=environment
    )


def refused(said: CommandResult, kind: type[errors.DiboError], *words: str) -> None:
    """`said` is an error of that kind, with its exit code, that says all `words`."""
    assert "Traceback" not in said.err, said.err
    assert said.error, said.err
    for word in words:
        assert word in said.err, said.err
    assert said.code == kind.exit_code, said.err
    assert said.out == ""


def empty(out: Path) -> bool:
    return list(out.iterdir()) == []


# Where dibo works


AROUND_CHROOT = ("dibo", "build", "--no-base", "--isolation", "chroot", "--refresh", "plain")


def test_the_cache_has_a_colon_in_its_name(place: BuildEnv, out: Path) -> None:
    for name in ("a:b", "with space", "line\nbreak"):
        said = place.run(*AROUND_CHROOT, "--cache-dir", out / name)
        assert said.code == 0, said.err
    refused(place.run(*AROUND_CHROOT, "--cache-dir", out / "a:b,c"), errors.UsageError, "a colon and a comma")


def test_few_open_files_are_allowed(place: BuildEnv) -> None:
    """buildah asks for 1,024, and fails before the hook begins."""
    said = place.run(*AROUND_CHROOT, around=["prlimit", "--nofile=64:64"])
    refused(said, errors.EngineError, "buildah failed at plain", "RLIMIT_NOFILE")
    said = place.run("dibo", "build", "--no-base", "--refresh", "plain", around=["prlimit", "--nofile=64:64"])
    assert said.code == 0, said.err


# What people write


def test_an_unknown_flavour(place: BuildEnv, out: Path) -> None:
    refused(create(place, out, "plane"), errors.UnknownFlavour, "no flavour 'plane'", "did you mean 'plain'")
    assert empty(out)


def test_a_circle(place: BuildEnv, out: Path) -> None:
    for name, needed in (("round", "about"), ("about", "there"), ("there", "round")):
        write_flavour(place.flavours, name, yaml=f"needs: [{needed}]\n")
    refused(create(place, out, "about"), errors.StackError, "about -> there -> round -> about")


def test_a_clash(place: BuildEnv, out: Path) -> None:
    write_flavour(place.flavours, "jealous", yaml="clashes: [plain]\n")
    refused(create(place, out, "plain", "jealous"), errors.StackError, "'jealous' and 'plain' clash")


def test_a_hook_that_is_not_executable(place: BuildEnv, out: Path) -> None:
    path = write_flavour(place.flavours, "lame", ["install.d/10-lame"]) / "install.d" / "10-lame"
    path.chmod(0o644)
    refused(create(place, out, "lame"), errors.FlavourError, f"{path} is not executable", f"chmod +x {path}")


def test_a_size_that_is_none(place: BuildEnv, out: Path) -> None:
    write_flavour(place.flavours, "abc", {"block-device-size.d/10-abc": SH + "echo IMAGE_SIZE=abc\n"})
    refused(create(place, out, "abc"), errors.HookFailed, "10-abc printed IMAGE_SIZE=abc", "such as 2 or 1.5")


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_size_that_is_too_small(place: BuildEnv, out: Path, kind: str) -> None:
    said = create(place, out, "-t", kind, "plain", IMAGE_SIZE="0.001")
    refused(
        said,
        errors.ImageTooSmall,
        "does not fit an image of 2 MiB",
        "KiB are missing",
        "IMAGE_SIZE=0.1 is enough",
    )
    assert empty(out)
    write_flavour(place.flavours, "small", {"block-device-size.d/10-small": SH + "echo IMAGE_SIZE=0.001\n"})
    said = create(place, out, "-t", kind, "plain", "small")
    refused(said, errors.ImageTooSmall, "small's block-device-size.d/10-small set the size")
    assert empty(out)


# Where it is written


def test_a_directory_that_is_missing(place: BuildEnv, out: Path) -> None:
    refused(create(place, out / "missing", "plain"), errors.OutputError, f"{out}/missing does not exist")
    assert empty(out)


def test_a_directory_that_is_read_only(place: BuildEnv, out: Path) -> None:
    out.chmod(0o555)
    refused(create(place, out, "plain"), errors.OutputError, f"cannot write into {out}")
    assert empty(out)


def test_a_cache_that_is_read_only(place: BuildEnv, out: Path) -> None:
    out.chmod(0o555)
    said = place.run("dibo", "build", "--no-base", "--cache-dir", out / "cache", "plain")
    refused(said, errors.OutputError, f"cannot use {out}/cache as the cache: Permission denied")


@AS_ROOT
@pytest.mark.parametrize(("kind", "room"), [("raw", "1m"), ("tar", "1m"), ("qcow2", "512k")])
def test_the_disk_is_full(place: BuildEnv, out: Path, kind: str, room: str) -> None:
    """A small file system is mounted at `out`, in a mount namespace that only this command sees."""
    script = (
        'mount -t tmpfs -o "size=$1,mode=1777" tmpfs "$2"; shift 2; "$@"; code=$?; ls -A "$OUT"; exit $code'
    )
    around = ["unshare", "--mount", "--propagation", "private", "env", f"OUT={out}", "sh", "-c", script, "sh"]
    said = place.run(
        "disk-image-create",
        *("--no-base", "--image-size", "0.2", "-t", kind, "-o", out / "web", "plain"),
        around=[*around, room, str(out)],
    )
    refused(said, errors.OutputError, f"cannot write {out}", "the disk is full")


@AS_ROOT
def test_the_disk_below_the_cache_is_full(place: BuildEnv, out: Path) -> None:
    large = {"install.d/10-large": SH, "files/large": "x" * 400_000}
    write_flavour(place.flavours, "large", large)
    script = 'mount -t tmpfs -o size=300k,mode=1777 tmpfs "$1"; shift; exec "$@"'
    said = place.run(
        *("dibo", "build", "--no-base", "--cache-dir", out / "cache", "large"),
        around=["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(out)],
    )
    refused(
        said, errors.OutputError, f"{out}/cache", "the disk is full", f"on the tmpfs at {out}", "dibo doctor"
    )


def test_a_file_that_grows_too_large(place: BuildEnv, out: Path) -> None:
    said = place.run(
        "disk-image-create",
        *("--no-base", "--image-size", "0.2", "-t", "raw", "-o", out / "web", "plain"),
        around=["prlimit", f"--fsize={64 << 20}"],
    )
    refused(said, errors.OutputError, f"cannot write {out}/web.raw: File too large")
    assert empty(out)


def test_what_was_there_stays_when_a_build_fails(place: BuildEnv, out: Path) -> None:
    (out / "web.raw").write_text("an older one")
    (out / "web.raw").chmod(0o644)
    create(place, out, "plain", IMAGE_SIZE="0.001")
    assert (out / "web.raw").read_text() == "an older one"


# The engine


def programs(directory: Path, *names: str) -> Path:
    """A directory of PATH that holds these programs and no others."""
    directory.mkdir()
    for name in names:
        found = shutil.which(name)
        assert found is not None
        (directory / name).symlink_to(found)
    return directory


def test_buildah_is_missing(place: BuildEnv, out: Path) -> None:
    path = programs(place.directory / "without", "sh", "env", "tar", "python3")
    said = create(place, out, "plain", PATH=str(path))
    refused(said, errors.ToolMissing, "buildah is not installed", "apt-get install buildah")


def test_buildah_is_too_old(place: BuildEnv, out: Path) -> None:
    path = programs(place.directory / "old", "sh", "env", "tar", "python3")
    fake = path / "buildah"
    fake.write_text(
        SH + 'case $1 in --version) echo "buildah version 1.10.1 (image-spec 1.0.0)" ;;\n'
        'images) echo "[]" ;; *) echo "unknown flag" >&2; exit 125 ;; esac\n'
    )
    fake.chmod(0o755)
    said = create(place, out, "plain", PATH=str(path))
    refused(said, errors.ToolMissing, "buildah 1.10 is too old", "apt-get install buildah")


@AS_ROOT
def test_a_user_without_subordinate_ids(place: BuildEnv) -> None:
    """A system user: useradd gives those none."""
    with build_env(pwd.getpwnam("nobody")) as poor:
        write_flavour(poor.flavours, "plain", {"install.d/10-plain": SH})
        said = poor.run("dibo", "build", "--no-base", "plain")
        refused(said, errors.EngineError, "nobody has no range of subordinate ids", "usermod --add-subuids")
        assert processes(poor.directory) == []
        assert list((poor.cache / "runs").iterdir()) == []


# Hooks


@pytest.fixture
def sleeper(place: BuildEnv) -> str:
    """A hook that sleeps, and leaves a daemon behind."""
    text = SH + f"setsid sleep {LONG} &\necho the hook has begun\nsleep {LONG}\n"
    write_flavour(place.flavours, "sleeper", {"install.d/20-sleeper": text})
    return "sleeper"


def begin(place: BuildEnv, *arguments: str) -> subprocess.Popen[str]:
    """A build whose hook has begun."""
    running = place.start("dibo", "build", "--no-base", "-x", *arguments)
    assert running.stderr is not None
    for line in running.stderr:
        if line.strip() == "the hook has begun":
            return running
    raise AssertionError("the hook did not begin")


def sleeping() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if LONG.encode() in words:
            found.append(str(path))
    return found


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_hook_runs(place: BuildEnv, sleeper: str, signum: signal.Signals) -> None:
    running = begin(place, "plain", sleeper)
    wait_until(sleeping, "the hook sleeps")
    running.send_signal(signum)
    _, said = running.communicate(timeout=TIMEOUT)
    assert running.returncode == 128 + signum
    assert f"interrupted by {signum.name}" in said
    assert "Traceback" not in said
    assert sleeping() == []


def test_a_killed_build_is_cleaned_up_by_the_next(place: BuildEnv, sleeper: str) -> None:
    running = begin(place, "--isolation", "chroot", "plain", sleeper)
    wait_until(sleeping, "the hook sleeps")
    running.kill()
    assert running.stderr is not None
    running.stderr.close()
    running.wait()
    assert sleeping()
    assert place.left()
    said = place.run("dibo", "build", "--no-base", "plain")
    assert said.code == 0, said.err
    wait_until(lambda: not sleeping(), "what the hook started has ended")


def test_of_a_long_output_the_beginning_and_the_end_are_kept(place: BuildEnv) -> None:
    text = SH + "echo begin\nyes the same for ever | head -c 36000000\necho end\nexit 7\n"
    write_flavour(place.flavours, "talking", {"install.d/30-talks": text})
    said = place.run("dibo", "build", "--no-base", "plain", "talking")
    refused(said, errors.HookFailed, "hook 30-talks of flavour 'talking' in install.d ended with exit code 7")
    (log,) = [Path(line.split(": ")[1]) for line in said.err.splitlines() if line.startswith("  log: ")]
    assert log.stat().st_size <= 17 * MIB
    kept = log.read_text().splitlines()
    assert "begin" in kept
    assert "end" in kept
    assert len([line for line in kept if line.endswith(" bytes are left out here")]) == 1


def test_a_failing_hook_tells_all_and_can_be_looked_at(place: BuildEnv) -> None:
    text = SH + "for n in $(seq 40); do echo line $n; done\necho what it left > /left\nexit 7\n"
    files = {
        "install.d/30-fails": text,
        "install.d/beside": "data\n",
        "install.d/40-later": SH + "echo > /later\n",
    }
    write_flavour(place.flavours, "failing", files, yaml="environment: {COLOUR: red}\n")
    said = place.run("dibo", "build", "--no-base", "plain", "failing")
    refused(said, errors.HookFailed, "hook 30-fails of flavour 'failing' in install.d ended with exit code 7")
    assert "  | line 40\n" in said.err
    assert "  | line 21\n" in said.err
    assert "  | line 1\n" not in said.err
    (log,) = [Path(line.split(": ")[1]) for line in said.err.splitlines() if line.startswith("  log: ")]
    assert "line 1\n" in log.read_text()
    (command,) = [
        line.split("  ", 2)[2] for line in said.err.splitlines() if "dibo shell --at failed-" in line
    ]
    assert "--no-base" in command
    looked = place.type(
        command, "--run", "cat /left /tmp/in_target.d/install.d/beside; test ! -e /later; echo $?"
    )
    assert (looked.code, looked.out) == (0, "what it left\ndata\n0\n"), looked.err
    changed = place.type(command, "--run", "echo changed > /left; exit 3")
    assert changed.code == 3
    assert place.type(command, "--run", "cat /left").out == "what it left\n", (
        "each shell has a copy of its own"
    )


def test_a_hook_that_is_killed(place: BuildEnv) -> None:
    write_flavour(place.flavours, "suicidal", {"install.d/30-dies": SH + "kill -9 $$\n"})
    said = place.run("dibo", "build", "--no-base", "plain", "suicidal")
    refused(said, errors.HookFailed, "30-dies of flavour 'suicidal'", "killed by SIGKILL")


def test_a_hook_that_calls_what_is_not_there(place: BuildEnv) -> None:
    write_flavour(place.flavours, "typo", {"install.d/30-typo": SH + "apt-gte install nginx\n"})
    said = place.run("dibo", "build", "--no-base", "plain", "typo")
    refused(
        said, errors.HookFailed, "30-typo of flavour 'typo'", "ended with 127: a command in it was not found"
    )
    assert "apt-gte: not found" in said.err


# What a build leaves in the tree


SERVICE = """\
#!/bin/sh
set -eu
/usr/sbin/policy-rc.d && exit 1
[ $? = 101 ]
[ "$(cat /tmp/in_target.d/install.d/data)" = beside ]
sudo -n true
! (echo x > /tmp/in_target.d/x) 2> /dev/null
mkdir -p /var/lib/apt/lists/partial /var/log/sub /var/cache/apt /etc/ssh /srv/NAME
echo list > /var/lib/apt/lists/deb_dists_Packages
echo log > /var/log/sub/daemon.log
echo key > /etc/ssh/ssh_host_rsa_key
echo left > /tmp/left
echo content > /srv/NAME/file
ln -s file /srv/NAME/link
ln /srv/NAME/file /srv/NAME/hard
chown 12:34 /srv/NAME/file
chmod 4751 /srv/NAME/file
mkfifo /srv/NAME/pipe
rm -f /plain
"""

Tree = dict[str, tuple[object, ...]]


def entries(path: Path) -> Tree:
    """Each entry of a tar, but for times."""
    found: Tree = {}
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            found[member.name] = (
                *(member.type, member.mode, member.uid, member.gid, member.linkname),
                content.read() if content else None,
                tuple(sorted((k, v) for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr."))),
            )
    return found


def write_services(directory: Path) -> tuple[str, ...]:
    for name in ("one", "two"):
        files = {
            "pre-install.d/10-early": SH + f"echo {name} >> /early\n",
            "install.d/30-service": SERVICE.replace("NAME", name),
            "install.d/data": "beside",
            "first-boot.d/10-boot": SH,
        }
        write_flavour(directory, name, files)
    return ("plain", "one", "two")


@pytest.fixture(scope="module")
def built(place: BuildEnv) -> Tree:
    """The tree of two flavours with services, as dibo makes it."""
    names = write_services(place.flavours)
    said = place.run(
        "disk-image-create", "--no-base", "-t", "tar", "-o", place.directory / "services", *names
    )
    assert said.code == 0, said.err
    return entries(place.directory / "services.tar")


def test_what_hooks_made_is_there(built: Tree) -> None:
    assert built["./early"][5] == b"one\ntwo\n"
    for name in ("one", "two"):
        assert built[f"./srv/{name}/pipe"][0] == tarfile.FIFOTYPE
        file, hard = built[f"./srv/{name}/file"], built[f"./srv/{name}/hard"]
        assert {file[0], hard[0]} == {tarfile.REGTYPE, tarfile.LNKTYPE}
        assert file[1:4] == (0o4751, 12, 34)
    assert "./etc/first-boot.d/001-one/10-boot" in built
    assert "./plain" not in built


def test_what_a_build_needs_does_not_stay(built: Tree) -> None:
    for name in (
        "./usr/sbin/policy-rc.d",
        "./tmp/in_target.d",
        "./tmp/left",
        "./var/lib/dibo",
        "./var/log/sub/daemon.log",
    ):
        assert name not in built
    assert not [name for name in built if "ssh_host" in name or name.endswith("_Packages")]
    assert not [name for name, entry in built.items() if name.startswith("./var/log/") and entry[5]]
    assert built["./etc/machine-id"][5] == b""


ENGINE_S = (
    "./run",
    "./tmp",
    "./etc/hostname",
    "./etc/hosts",
    "./etc/resolv.conf",
    "./dev",
    "./proc",
    "./sys",
)


def without_mount_points(tree: Tree) -> Tree:
    """Without places where engines mount: what they leave there is no part of the tree."""
    return {
        name: entry
        for name, entry in tree.items()
        if name not in (".", *ENGINE_S) and not name.startswith(tuple(f"{each}/" for each in ENGINE_S))
    }


def test_the_containerfile_makes_the_same_tree(place: BuildEnv, built: Tree) -> None:
    names = write_services(place.flavours)
    context = place.directory / "context"
    said = place.run("dibo", "plan", "--no-base", "--containerfile", context, *names)
    assert said.code == 0, said.err
    isolation = {"BUILDAH_ISOLATION": "chroot"}
    made = place.run(
        "buildah", "build", "--layers", "--tag", "localhost/stock", context, environment=isolation
    )
    assert made.code == 0, made.err
    stock = without_mount_points(entries(place.tree("localhost/stock")))
    mine = without_mount_points(built)
    assert stock.keys() == mine.keys()
    assert {name: (stock[name], mine[name]) for name in stock if stock[name] != mine[name]} == {}


@AS_ROOT
def test_root_makes_the_same_tree_and_leaves_no_mounts(built: Tree) -> None:
    with build_env(pwd.getpwnam("root")) as roots:
        before = host_state(roots.directory)
        write_flavour(roots.flavours, "plain", {"install.d/10-plain": SH + "echo plain > /plain\n"})
        names = write_services(roots.flavours)
        output = roots.directory / "services"
        said = roots.run(
            "disk-image-create", "--no-base", "-t", "tar,raw", "--image-size", "0.1", "-o", output, *names
        )
        assert said.code == 0, said.err
        assert host_state(roots.directory) == before
        assert roots.left() == []
        assert entries(roots.directory / "services.tar") == built
    assert host_state(roots.directory) == before


def test_a_base_from_a_registry(place: BuildEnv, tmp_path: Path) -> None:
    """What one machine pushed, another builds on; the tag that is moved afterwards is another base."""
    write_flavour(place.flavours, "first", {"install.d/10-first": SH + "echo first > /first\n"})
    write_flavour(place.flavours, "second", {"install.d/10-second": SH + "cat /first > /second\n"})
    assert place.run("dibo", "build", "--no-base", "--tag", "localhost/shared", "first").code == 0
    with registry(tmp_path) as hub:
        name = f"{hub.host}/team/shared:1"
        pushed = place.run("buildah", "push", "--tls-verify=false", "localhost/shared", f"docker://{name}")
        assert pushed.code == 0, pushed.err
        said = place.run("dibo", "build", "--no-base", "--base", name, "second")
        assert said.code == 0, said.err
        shown = place.run("dibo", "shell", "--no-base", "--base", name, "--run", "cat /second", "second")
        assert (shown.code, shown.out) == (0, "first\n"), shown.err
        again = place.run("dibo", "plan", "--no-base", "--base", name, "second")
        assert " 0 to build" in again.out
    gone = place.run("dibo", "plan", "--no-base", "--base", name, "second")
    assert gone.code == 32
    assert "cannot be reached" in gone.error
