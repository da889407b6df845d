"""An isolated environment for small, real builds: an ordinary user, own storage, and a base that is busybox alone.

A layer on that base takes about a second, so what goes wrong in a build can be tried for real. Nothing that
happens here touches the user's own images; what a command left behind can be told from what others do meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dibo.system import process
from tests.support.host.host_state import processes
from tests.support.host.installed_dibo import installed_dibo
from tests.support.timeouts import TIMEOUT

COMMANDS = ("dibo", "disk-image-create", "ramdisk-image-create")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The line that says what went wrong."""
        return next((line for line in self.err.splitlines() if line.startswith("dibo: error: ")), "")

    @property
    def hooks_run(self) -> list[str]:
        """The lines of steps with hooks in install.d that ran."""
        return [line for line in self.err.splitlines() if line.startswith("[") and " install.d" in line]


class BuildEnv:
    """Directories of one user, and ways to run dibo and buildah there."""

    def __init__(self, user: pwd.struct_passwd, directory: Path, base: Path) -> None:
        self.user = user
        self.directory = directory
        self.cache = directory / "cache"
        self.flavours = directory / "flavours"
        self.temporary = directory / "tmp"
        for name in ("cache", "flavours", "data", "run", "tmp"):
            (directory / name).mkdir(mode=0o755 if name != "run" else 0o700)
            shutil.chown(directory / name, user.pw_uid, user.pw_gid)
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(directory) if user.pw_uid else "/root",
            "USER": user.pw_name,
            "XDG_DATA_HOME": str(directory / "data"),
            "XDG_RUNTIME_DIR": str(directory / "run"),
            "TMPDIR": str(self.temporary),
            "IMG_PATH": str(self.cache),
            "FLAVOURS_DIR": str(self.flavours),
            "DIBO_BASE": str(base),
            "DIBO_EPOCH": "2026-11",
        }
        if user.pw_uid == 0:  # root's storage is not found through XDG_DATA_HOME
            config = directory / "storage.conf"
            config.write_text(
                f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/data/root"\n'
                f'runroot = "{directory}/run/root"\n'
            )
            self.environment["CONTAINERS_STORAGE_CONF"] = str(config)
        else:
            self.environment["STORAGE_DRIVER"] = "overlay"

    def argv(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """What runs `argv` as the user. Nothing forks on the way, so that signals arrive."""
        variables = [f"{name}={value}" for name, value in {**self.environment, **(environment or {})}.items()]
        change = []
        if os.geteuid() != self.user.pw_uid:
            ids = ["--reuid", str(self.user.pw_uid), "--regid", str(self.user.pw_gid)]
            change = ["setpriv", *ids, "--init-groups", "--"]
        return [*change, "env", "-i", *variables, *argv]

    def run(
        self,
        command: str,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        around: Sequence[str] = (),
    ) -> CommandResult:
        """Run `dibo`, `disk-image-create` or any other program to its end; `around` is a command that runs it."""
        argv = [*around, *self.argv([program(command), *map(str, arguments)], environment)]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=TIMEOUT, cwd="/", stdin=subprocess.DEVNULL
        )
        return CommandResult(code=done.returncode, out=done.stdout, err=done.stderr)

    def type(self, line: str, *more: str) -> CommandResult:
        """Run a command line as dibo printed it."""
        return self.run(*shlex.split(line), *more)

    def start(self, command: str, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv([program(command), *map(str, arguments)]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
        )

    def left(self) -> list[str]:
        """What a command should not have left: containers, directories of runs, temporary files, processes."""
        containers = self.run("buildah", "containers", "--quiet", "--all").out.split()
        runs = [path.name for path in (self.cache / "runs").glob("*")]
        files = [str(path) for path in self.temporary.iterdir()]
        return [*containers, *runs, *files, *processes(self.directory)]

    def forget(self, *names: str) -> None:
        """Forget layers, by their keys."""
        self.run("buildah", "rmi", *(f"localhost/dibo/layer:k-{name}" for name in names))

    def tree(self, image: str) -> Path:
        """A tar of an image's tree, by stock buildah and tar."""
        target = self.directory / f"{image.replace('/', '_').replace(':', '_')[-40:]}.tar"
        script = (
            'set -e; c=$(buildah from --pull-never "$1"); m=$(buildah mount $c); '
            'tar -C "$m" --numeric-owner --xattrs --xattrs-include="*" -cf "$2" .; buildah rm $c > /dev/null'
        )
        enter = ["buildah", "unshare"] if self.user.pw_uid else ["unshare", "--mount"]
        said = self.run(*enter, "sh", "-c", script, "sh", image, target)
        assert said.code == 0, said.err
        return target


def program(command: str) -> str:
    return str(installed_dibo() / command) if command in COMMANDS else command


@contextlib.contextmanager
def build_env(user: pwd.struct_passwd) -> Iterator[BuildEnv]:
    """A build environment for `user` in a new directory, removed at the end."""
    directory = Path(f"/var/tmp/dibo-lab-{secrets.token_hex(8)}")  # a path that buildah takes for a name
    directory.mkdir()
    directory.chmod(0o755)
    shutil.chown(directory, user.pw_uid, user.pw_gid)
    base = directory / "base.tar"
    busybox_root(base)
    made = BuildEnv(user, directory, base)
    try:
        yield made
    finally:
        script = 'rm -rf "$1"/data "$1"/run "$1"/tmp'
        enter = ["buildah", "unshare"] if user.pw_uid else []
        made.run(*enter, "sh", "-c", script, "sh", directory)
        shutil.rmtree(directory, ignore_errors=os.geteuid() != 0)


def busybox_root(target: Path, *, busybox: Path | None = None, emulator: Sequence[str] = ()) -> None:
    """A root file system of 2 MB: a static busybox, of another architecture where `emulator` runs it, and its
    applets."""
    busybox = busybox or Path(process.find("busybox") or "/bin/busybox")
    applets = process.run([*emulator, str(busybox), "--list"], capture=True).stdout.split()
    with tempfile.TemporaryDirectory() as directory, tarfile.open(target, "w") as tar:
        root = Path(directory)
        for name in (
            "bin",
            "dev",
            "etc",
            "mnt",
            "proc",
            "root",
            "run",
            "sys",
            "usr/sbin",
            "var/lib",
            "var/log",
        ):
            (root / name).mkdir(parents=True)
        for name in ("tmp", "var/tmp"):
            (root / name).mkdir()
            (root / name).chmod(0o1777)
        shutil.copy(busybox, root / "bin" / "busybox")
        for applet in {*applets} - {"busybox"}:
            (root / "bin" / applet).symlink_to("busybox")
        (root / "etc" / "os-release").write_text("ID=tiny\nVERSION_ID=1\n")
        (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (root / "etc" / "group").write_text("root:x:0:\n")

        def of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.uid = member.gid = 0
            member.uname = member.gname = "root"
            member.mode |= 0o755 if member.isdir() else 0o644
            return member

        tar.add(root, ".", filter=of_root)
