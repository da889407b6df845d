"""`dibo doctor`: try what a build and a conversion need here, change nothing, and say for each what to do.

Each check does the thing itself on a small scale, in a directory that goes away, instead of looking for signs of it:
a user namespace is entered, a map of ids is written, an overlay is mounted in it. What makes it fail on which
distribution is in the hints.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from dibo.artefacts.converter import Converters
from dibo.build.build import base_settings
from dibo.build.engines import buildah
from dibo.errors import DiboError
from dibo.formats import ext4
from dibo.formats.raw import RawFile
from dibo.settings.settings import AUTO, Settings
from dibo.system import process, resources
from dibo.system.package_names import how_to_install
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from dibo.tree.node import Node
from dibo.units import GIB, human_size

_FORBIDDEN = (
    "a kernel or a container forbids it:\n"
    "Ubuntu 23.10 and later: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0\n"
    "others: sysctl user.max_user_namespaces must be above 0\n"
    "in a container: its seccomp profile must allow unshare, clone and mount"
)
_NEWUIDMAP = (
    "newuidmap and newgidmap must be setuid root, as their package installs them;\n"
    "in a container, better have file capabilities, for the others may want CAP_SYS_ADMIN: "
    "chmod u-s, setcap cap_setuid+ep, cap_setgid+ep;\n"
    "the container then needs SETUID and SETGID, and must not set no_new_privs (allowPrivilegeEscalation: true)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was tried. `needed` is false for what only some uses want."""

    what: str
    works: bool
    detail: str = ""
    advice: str = ""
    needed: bool = True

    def __str__(self) -> str:
        word = "ok" if self.works else "NO" if self.needed else "--"
        lines = [f"{word:3} {self.what}{f': {self.detail}' if self.detail else ''}"]
        if not self.works:
            lines += [f"      {line}" for line in self.advice.splitlines()]
        return "\n".join(lines)


def examine(settings: Settings, report: Report) -> list[Finding]:
    """Every finding, in the order that a build would meet them."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        _conversion,
        lambda: _engines(settings),
        lambda: _base(settings, report),
        lambda: _cache(settings),
        lambda: _types(settings),
        _loop,
        _boot,
    ]
    return [finding for check in checks for finding in check()]


def _tried(what: str, argv: list[str], *, advice: str, needed: bool = True) -> Finding:
    try:
        done = process.run(argv, capture=True, check=False, timeout=60)
    except DiboError as error:
        return Finding(
            what=what, works=False, detail=error.message, advice=error.hint or advice, needed=needed
        )
    detail = (
        "" if done.returncode == 0 else " ".join(done.tail[-1:]) or process.describe_exit(done.returncode)
    )
    return Finding(what=what, works=done.returncode == 0, detail=detail, advice=advice, needed=needed)


def _conversion() -> Iterator[Finding]:
    def make_disk() -> str:
        with tempfile.TemporaryDirectory(prefix="dibo-doctor-") as directory:
            size, identity = 16 << 20, UUID(int=1)
            with RawFile(Path(directory) / "disk", size) as target:
                parameters = ext4.Parameters(size=size, uuid=identity, hash_seed=identity)
                ext4.Writer(target, parameters).finish(Node(stat.S_IFDIR | 0o755))
        return "no privilege and no program is needed"

    yield from _guarded("converting, by dibo convert", make_disk)
    import google_crc32c

    if google_crc32c.implementation != "c":
        yield Finding(
            what="checksums in C",
            works=False,
            needed=False,
            detail="google-crc32c has none for this Python, so that writing ext4 takes several times as long",
            advice="a Python for which PyPI has a wheel of google-crc32c, or a C compiler while it is installed",
        )


def _loop() -> Iterator[Finding]:
    """Root alone can have it, and is asked for it by --loop alone."""
    if os.geteuid() != 0:
        return
    from dibo.system.loop.device import LoopDevice
    from dibo.system.loop.namespace import private_mounts

    def try_it() -> str:
        with tempfile.TemporaryDirectory(prefix="dibo-doctor-") as directory:
            file = Path(directory) / "disk"
            with RawFile(file, 4 << 20):
                pass
            with LoopDevice(file) as device, private_mounts():
                device.add_partitions([(1, 1 << 20, 2 << 20)])
        return "with partitions, and mounts that nobody else sees"

    for finding in _guarded("loop devices, for --loop", try_it):
        yield replace(finding, needed=False)


def _engines(settings: Settings) -> Iterator[Finding]:
    """What the chosen engine wants; with `auto` what buildah wants, unless docker would take its place."""
    from dibo.build.engines import choose
    from dibo.system import docker_api

    instead = settings.engine == AUTO and choose.why_not_buildah() is not None and docker_api.seems_there()
    if settings.engine != "docker":
        for check in (_user_namespace, _engine, _overlay, _isolation):
            for finding in check():
                yield replace(finding, needed=finding.needed and not instead)
    if settings.engine == "docker" or (settings.engine == AUTO and docker_api.seems_there()):
        from dibo.build.engines.docker_trial import try_daemon

        for finding in _guarded("docker", try_daemon):
            yield replace(finding, needed=settings.engine == "docker" or instead)


def _user_namespace() -> Iterator[Finding]:
    if os.geteuid() == 0:
        advice = "root without CAP_SYS_ADMIN cannot build; an ordinary user with subordinate ids may"
        yield _tried("unshare(CLONE_NEWNS), as root", ["unshare", "--mount", "true"], advice=advice)
        return
    yield _tried("unshare(CLONE_NEWUSER)", ["unshare", "--user", "true"], advice=_FORBIDDEN)
    enter = ["unshare", "--user", "--map-root-user"]
    yield _tried("write of uid_map, one id", [*enter, "true"], advice=_FORBIDDEN)
    yield from _guarded("subordinate ids", buildah.require_subordinate_ids)
    # Without a range, or a newuidmap that may write it, buildah goes on with one id.
    script = "for map in uid_map gid_map; do [ $(wc -l < /proc/self/$map) -gt 1 ] || exit 1; done"
    yield _tried(
        "write of uid_map and gid_map, ranges by newuidmap",
        ["buildah", "unshare", "sh", "-c", script],
        advice=_NEWUIDMAP,
    )
    yield _tried(
        "mount of a new /proc",
        [*enter, "--mount", "--pid", "--fork", "mount", "-t", "proc", "proc", "/proc"],
        advice="a container masks parts of its own /proc; BUILDAH_ISOLATION=chroot, the default here, does without",
        needed=os.environ.get("BUILDAH_ISOLATION", "chroot") != "chroot",
    )


def _guarded(what: str, check: Callable[[], object]) -> Iterator[Finding]:
    try:
        detail = check()
        yield Finding(what=what, works=True, detail=str(detail) if isinstance(detail, str) else "")
    except DiboError as error:
        yield Finding(what=what, works=False, detail=error.message, advice=error.hint)


def _engine() -> Iterator[Finding]:
    def version() -> str:
        found = buildah.require_version()
        return ".".join(map(str, found))

    yield from _guarded("buildah", version)


def _overlay() -> Iterator[Finding]:
    if process.find("buildah") is None:
        return
    yield from _guarded("layer storage", buildah.require_driver)
    script = (
        'cd "$1" && mkdir lower upper work merged && '
        'mount -t overlay overlay -o "lowerdir=lower,upperdir=upper,workdir=work$2" merged'
    )
    enter = ["unshare", "--mount"] if os.geteuid() == 0 else ["buildah", "unshare"]
    options = "" if os.geteuid() == 0 else ",userxattr"
    with tempfile.TemporaryDirectory(prefix="dibo-doctor-", dir=_near_storage()) as directory:
        yield _tried(
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
        yield _tried(
            "bind mounts of /proc, /sys and /dev, for isolation chroot",
            [*enter, "sh", "-c", script, "sh", directory],
            advice="bind mounts of /proc, /sys and /dev must be allowed in a user namespace; in a container, its "
            "seccomp profile must allow mount",
        )


def _base(settings: Settings, report: Report) -> Iterator[Finding]:
    kind = settings.base.partition(":")[0]
    if kind == "debian":
        found = process.find("mmdebstrap") is not None
        yield Finding(what="mmdebstrap", works=found, advice=how_to_install("mmdebstrap"))
    elif kind == "ubuntu":
        yield Finding(what="gpgv", works=process.find("gpgv") is not None, advice=how_to_install("gpgv"))
    with tempfile.TemporaryDirectory(prefix="dibo-doctor-") as directory:

        def identify() -> str:
            from dibo.build.bases.choose import choose_base

            workspace = Workspace(Path(directory) if not settings.cache.is_dir() else settings.cache)
            base = choose_base(
                settings.base, settings=base_settings(settings), workspace=workspace, report=report
            )
            base.ingredients()
            return base.name

        yield from _guarded(f"base {settings.base}", identify)


def _cache(settings: Settings) -> Iterator[Finding]:
    existing = settings.cache
    while not existing.exists():
        existing = existing.parent
    writable = os.access(existing, os.W_OK)
    free = shutil.disk_usage(existing).free
    yield Finding(
        what="cache",
        works=writable,
        detail=f"{settings.cache}, {human_size(free)} free",
        advice="set IMG_PATH or --cache-dir to a directory you may write to",
    )
    if free < 5 * GIB:
        yield Finding(
            what="room",
            works=False,
            needed=False,
            detail=human_size(free),
            advice="an image wants about 5 GiB",
        )


def _types(settings: Settings) -> Iterator[Finding]:
    found = process.find("mke2fs") is not None
    yield Finding(
        what="FS_TYPE=ext3, ext2: mke2fs",
        works=found,
        needed=settings.filesystem in ("ext3", "ext2"),
        advice=how_to_install("mke2fs"),
    )
    for converter in Converters((*settings.converters_path, resources.shared("converters"))):
        for tool in converter.tools:
            works = process.find(tool) is not None
            needed = converter.type in settings.types
            yield Finding(
                what=f"type {converter.type}: {tool}", works=works, needed=needed, advice=how_to_install(tool)
            )


def _boot() -> Iterator[Finding]:
    tool = "qemu-system-x86_64"
    yield Finding(
        what=f"booting images: {tool}",
        works=process.find(tool) is not None,
        needed=False,
        advice=how_to_install(tool),
    )
