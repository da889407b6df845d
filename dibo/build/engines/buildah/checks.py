"""What the buildah engine needs of a machine: refused at once where it is missing, and tried for `dibo doctor`.

Each trial does the thing itself on a small scale, in a directory that goes away, instead of looking for signs of it:
a user namespace is entered, a map of ids is written, an overlay is mounted in it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from dibo.build import sandbox
from dibo.build.finding import Finding, try_check, try_command
from dibo.build.namespace import enter_namespace
from dibo.build.sandbox import Confinement
from dibo.errors import CommandFailed, EngineError, ToolMissing, UsageError
from dibo.images.sources.buildah_environment import engine_environment
from dibo.settings.settings import BWRAP, HOST
from dibo.system import process, resources
from dibo.system.package_names import how_to_install

OLDEST: Final = (1, 23)  # RUN --mount, which `dibo plan --containerfile` writes, and `run --env`
VFS: Final = "buildah stores layers with vfs, which copies the whole root for each layer (100 times slower)"
_SWITCHES = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),  # Ubuntu from 23.10 on
    ("kernel/unprivileged_userns_clone", "0", "1"),  # older Debian
    ("user/max_user_namespaces", "0", "15000"),
)
"""Settings of the kernel below /proc/sys with the value that forbids user namespaces, and one that allows them."""
_IN_CONTAINER = "in a container, its seccomp profile must allow unshare, clone and mount"
_NEWUIDMAP = (
    "newuidmap and newgidmap must be setuid root, as their package installs them;\n"
    "in a container, give them file capabilities instead, since setuid may need CAP_SYS_ADMIN: "
    "chmod u-s, setcap cap_setuid+ep, cap_setgid+ep;\n"
    "the container then needs SETUID and SETGID, and must not set no_new_privs (allowPrivilegeEscalation: true)"
)


def examine(confinement: Confinement) -> Iterator[Finding]:
    """Every finding, in the order in which a build would meet them."""
    for check in (_user_namespace, _engine, _overlay):
        yield from check()
    if confinement.isolation == BWRAP:
        yield from try_check("sandbox for steps, by bubblewrap", lambda: require_sandbox(confinement))
    else:
        yield from _isolation()


def require_sandbox(confinement: Confinement) -> None:
    """Raises ToolMissing or EngineError where steps cannot be shut off as they should be."""
    if confinement.isolation == BWRAP:
        sandbox.require(enter_namespace(), engine_environment())
    elif confinement.network != HOST:
        raise UsageError(
            f"the network {confinement.network} needs the sandbox",
            hint="use it, or the network of this machine: --isolation bwrap, or --network host",
        )


def require_version() -> tuple[int, ...]:
    """buildah's version. Raises ToolMissing when it is missing or too old, EngineError when it will not say."""
    program = process.find("buildah")
    text = _version_text(program, Path(program).stat().st_mtime_ns if program is not None else 0)
    match = re.search(r"(\d+)\.(\d+)", text)
    if match is None:
        raise EngineError(f"`buildah --version` says {text.strip()!r}, which is no version")
    version = tuple(int(number) for number in match.groups())
    if version < OLDEST:
        raise ToolMissing(
            f"buildah {'.'.join(map(str, version))} is too old: expected {'.'.join(map(str, OLDEST))} or newer",
            hint=how_to_install("buildah"),
        )
    return version


@cache
def _version_text(_program: str | None, _changed: int) -> str:
    """Of one program, asked once."""
    return process.run(["buildah", "--version"], capture=True, check=False).stdout


def require_driver(known: str | None = None) -> str:
    """The name of the driver that stores layers; `known`, if buildah was asked before. Raises EngineError for vfs,
    unless the user insists on it."""
    driver = known or _driver()
    if driver == "vfs" and os.environ.get("STORAGE_DRIVER") != "vfs":
        raise EngineError(
            VFS, hint="`dibo doctor` says what keeps overlay from working; STORAGE_DRIVER=vfs insists on vfs"
        )
    return driver


def _driver() -> str:
    try:
        info = json.loads(process.run(["buildah", "info"], env=engine_environment(), capture=True).stdout)
    except CommandFailed as error:
        raise EngineError(
            f"buildah cannot use its storage: {' '.join(error.tail[-2:])}", hint="`dibo doctor` looks closer"
        ) from error
    return str(info["store"]["GraphDriverName"])


def require_subordinate_ids() -> None:
    """A distribution's root has files of many owners; one id is not enough to unpack it (user_namespaces(7))."""
    missing = [path for path in ("/etc/subuid", "/etc/subgid") if not _has_range(Path(path))]
    if missing:
        user = _user_name()
        raise EngineError(
            f"the user {user} has no range of subordinate ids in {' and '.join(missing)}",
            hint=f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
        )
    if process.find("newuidmap") is None:
        raise ToolMissing("newuidmap is not installed", hint=how_to_install("newuidmap"))


def require_namespace() -> None:
    """Raises EngineError where a build could not be shut off from the host: by a user namespace, or, as root, by one
    of mounts."""
    enter = ["unshare", "--mount"] if os.geteuid() == 0 else ["buildah", "unshare"]
    done = process.run([*enter, "true"], capture=True, check=False, env=engine_environment())
    if done.returncode != 0:
        raise EngineError(
            f"buildah cannot enter a namespace: {' '.join(done.tail[-1:])}", hint="`dibo doctor` looks closer"
        )


def _has_range(path: Path) -> bool:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return False
    owners = (_user_name(), str(os.getuid()))
    return any(
        line.split(":")[0] in owners and line.split(":")[2].isdigit()
        for line in lines
        if line.count(":") == 2
    )


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _user_namespace() -> Iterator[Finding]:
    if os.geteuid() == 0:
        advice = "root without CAP_SYS_ADMIN cannot build; an ordinary user with subordinate ids may"
        yield try_command("unshare(CLONE_NEWNS), as root", ["unshare", "--mount", "true"], advice=advice)
        return
    yield try_command("unshare(CLONE_NEWUSER)", ["unshare", "--user", "true"], advice=_forbidden())
    enter = ["unshare", "--user", "--map-root-user"]
    yield try_command("write of uid_map, one id", [*enter, "true"], advice=_forbidden())
    yield from try_check("subordinate ids", require_subordinate_ids)
    # Without a range, or a newuidmap that may write it, buildah goes on with one id.
    script = "for map in uid_map gid_map; do [ $(wc -l < /proc/self/$map) -gt 1 ] || exit 1; done"
    yield try_command(
        "write of uid_map and gid_map, ranges by newuidmap",
        ["buildah", "unshare", "sh", "-c", script],
        advice=_NEWUIDMAP,
    )


def _forbidden() -> str:
    """What forbids user namespaces here, and the command that allows them."""
    commands = []
    for name, forbids, allows in _SWITCHES:
        try:
            if (Path("/proc/sys") / name).read_text().strip() == forbids:
                commands.append(f"sudo sysctl {name.replace('/', '.')}={allows}")
        except OSError:
            continue
    return "\n".join(commands or ["the kernel or a container forbids it", _IN_CONTAINER])


def _engine() -> Iterator[Finding]:
    def version() -> str:
        numbers = require_version()
        return ".".join(map(str, numbers))

    yield from try_check("buildah", version)


def _overlay() -> Iterator[Finding]:
    if process.find("buildah") is None:
        return
    yield from try_check("layer storage", require_driver)
    script = (
        'cd "$1" && mkdir lower upper work merged && '
        'mount -t overlay overlay -o "lowerdir=lower,upperdir=upper,workdir=work$2" merged'
    )
    enter = ["unshare", "--mount"] if os.geteuid() == 0 else ["buildah", "unshare"]
    options = "" if os.geteuid() == 0 else ",userxattr"
    with tempfile.TemporaryDirectory(prefix="dibo-doctor-", dir=_near_storage()) as directory:
        yield try_command(
            "mount of an overlay, native",
            [*enter, "sh", "-c", script, "sh", directory, options],
            advice="kernel 5.11 or newer, and storage neither on overlay nor on NFS; else install fuse-overlayfs, "
            "which is 3 to 7 times slower",
            needed=process.find("fuse-overlayfs") is None,
        )


def _near_storage() -> str | None:
    """A directory on the file system that layers are stored on; /var/lib/containers for root."""
    home = Path(os.environ.get("XDG_DATA_HOME", resources.home() / ".local" / "share"))
    for path in (Path("/var/lib/containers") if os.geteuid() == 0 else home, resources.home()):
        if path.is_dir() and os.access(path, os.W_OK):
            return str(path)
    return None


def _isolation() -> Iterator[Finding]:
    if process.find("buildah") is None:
        return
    script = (
        "set -e; root=$1; mkdir -p $root/bin $root/proc $root/sys $root/dev; "
        "mount --rbind /proc $root/proc && mount --rbind /sys $root/sys && mount --rbind /dev $root/dev"
    )
    enter = ["unshare", "--mount"] if os.geteuid() == 0 else ["buildah", "unshare"]
    with tempfile.TemporaryDirectory(prefix="dibo-doctor-", dir=_near_storage()) as directory:
        yield try_command(
            "bind mounts of /proc, /sys and /dev, for isolation chroot",
            [*enter, "sh", "-c", script, "sh", directory],
            advice="bind mounts of /proc, /sys and /dev must be allowed in a user namespace; in a container, its "
            "seccomp profile must allow mount",
        )
