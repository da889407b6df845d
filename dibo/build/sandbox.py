"""The sandbox in which steps run: bubblewrap, with the tree of a container as its root.

A command in it sees that tree, an own /proc, a /dev of seven harmless devices, the machine's /sys read-only, and what
dibo mounts for it. It has process ids, shared memory, System V IPC and a host name of its own, the host's network or
none, and of the capabilities those that installing packages takes; some system calls are refused (dibo.build.seccomp).
When bwrap ends, so does all that it started (bwrap(1), --die-with-parent; pid_namespaces(7)).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.build import seccomp
from dibo.errors import DiboError, EngineError, ToolMissing
from dibo.settings.settings import BWRAP, HOST
from dibo.system import process
from dibo.system.package_names import how_to_install

HOST_NAME: Final = "dibo"
"""What a step sees as the name of its machine, whichever machine builds."""

CAPABILITIES: Final = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
# What root could change, or learn, of the machine by an own /proc and its /sys (OCI runtime specification;
# docker and podman mask and protect the same).
_PROTECTED: Final = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/pressure",
    "/proc/sys",
    "/proc/sysrq-trigger",
)
_MASKED: Final = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats"),
    *("/sys/firmware", "/sys/devices/virtual/powercap", "/sys/fs/bpf", "/sys/fs/pstore"),
    *("/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing"),
)
_NAMESPACES: Final = (
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--hostname", HOST_NAME, "--die-with-parent"),
)
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """How far steps are shut off: the values of --isolation and --network."""

    isolation: str = BWRAP
    network: str = HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or directory of the host that a command sees, read-only, at `target`."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What is particular to one command."""

    network: str
    mounts: Sequence[Mount] = ()
    environment: Mapping[str, str]
    architecture: str
    """Of the tree, as images say it: `amd64`, `386`."""

    def write(self, directory: Path) -> None:
        """Have in `directory` the files that containerfiles/buildah/sandbox.sh reads. They hold values of variables, so
        that no list of processes shows them. Raises EngineError."""
        targets = ["/proc", "/dev", "/sys", *(mount.target for mount in self.mounts)]
        (directory / "mount-points").write_bytes(joined(targets, b"\n"))
        file = directory / "arguments"
        file.touch(mode=0o600)
        file.write_bytes(joined(self._arguments(), b"\0"))
        write_rest(directory, network=self.network, i386=self.architecture == "386")

    def _arguments(self) -> list[str]:
        words = system()
        for mount in self.mounts:
            words += ["--ro-bind", str(mount.source), mount.target]
        return [*words, *confining(self.network, {"HOME": "/root", **self.environment})]


def confining(network: str, environment: Mapping[str, str]) -> list[str]:
    """Arguments of bwrap for namespaces, variables and capabilities."""
    words = [*_NAMESPACES, *([] if network == HOST else ["--unshare-net"])]
    words += ["--chdir", "/", "--clearenv"]
    for name, value in {"PATH": _PATH, **environment}.items():
        words += ["--setenv", name, value]
    words += ["--cap-drop", "ALL"]
    for name in CAPABILITIES:
        words += ["--cap-add", name]
    return words


def write_rest(directory: Path, *, network: str, i386: bool = False) -> None:
    """Have in `directory` the filter of system calls, and who resolves names."""
    program = seccomp.program(i386=i386)
    if program is not None:
        (directory / "seccomp").write_bytes(program)
    if network == HOST:
        _copy_resolv_conf(directory / "resolv.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapper:
    """What runs another command: the words before it, and the files that they need open."""

    argv: Sequence[str] = ()
    pass_fds: Sequence[int] = ()


@contextlib.contextmanager
def around_host_hook(writable: Path | None, origin: Path) -> Iterator[Wrapper]:
    """The command that runs a hook on the host with the machine's files read-only, its own /tmp and /run, no network,
    of /proc, /sys and system calls what steps have, and nothing that it starts left behind. It may write to
    `writable`, and sees `origin`, wherever those are. Raises ToolMissing."""
    if process.find("bwrap") is None:
        raise ToolMissing(
            "bubblewrap is not installed, and --host-hooks sandbox needs it", hint=how_to_install("bwrap")
        )
    bind = "--dev-bind" if writable is not None and writable.is_block_device() else "--bind"
    argv = [
        *("bwrap", "--ro-bind", "/", "/", *system()),
        *("--perms", "1777", "--tmpfs", "/tmp", "--tmpfs", "/run"),  # noqa: S108
        *("--ro-bind", str(origin), str(origin)),
        *((bind, str(writable), str(writable)) if writable is not None else ()),
        *("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--setenv", "TMPDIR", "/tmp", "--chdir", str(origin)),  # noqa: S108
    ]
    program = seccomp.program()
    if program is None:
        yield Wrapper(argv=[*argv, "--"])
        return
    with open(os.memfd_create("seccomp"), "w+b") as file:  # noqa: PTH123 (no path)
        file.write(program)
        file.seek(0)
        yield Wrapper(argv=[*argv, "--seccomp", str(file.fileno()), "--"], pass_fds=[file.fileno()])


def joined(words: Sequence[str], end: bytes) -> bytes:
    """The words, each with `end` after it. Raises EngineError for one that has it within: it would be read
    as two arguments."""
    encoded = [os.fsencode(word) for word in words]
    if any(end in word for word in encoded):
        name = {b"\0": "a NUL byte", b"\n": "a line break"}[end]
        raise EngineError(f"the sandbox for steps is refused: {name} is in a word that describes it")
    return b"".join(word + end for word in encoded)


def system() -> list[str]:
    """What stands for the machine: arguments of bwrap."""
    words = ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108 (inside)
    words += ["--ro-bind", "/sys", "/sys"]
    for path in _PROTECTED:
        words += ["--ro-bind-try", path, path]
    for path in _MASKED:
        if Path(path).is_dir():
            words += ["--tmpfs", path]
        elif Path(path).exists():
            words += ["--ro-bind", "/dev/null", path]
    return words


def _copy_resolv_conf(target: Path) -> None:
    """The host's, which answers on the host's network; where there is none, steps have none either."""
    try:
        target.write_bytes(Path("/etc/resolv.conf").read_bytes())
    except OSError:
        return
    target.chmod(0o644)


def require(enter: Sequence[str], environment: Mapping[str, str]) -> None:
    """Raises ToolMissing without bubblewrap, EngineError where it cannot shut a command off. `enter` is the command
    that enters the engine's namespace."""
    if process.find("bwrap") is None:
        raise ToolMissing(
            "bubblewrap is not installed, and steps run in its sandbox",
            hint=f"{how_to_install('bwrap')}\n{without()}",
        )
    argv = [*enter, "bwrap", "--bind", "/", "/", *system(), *_NAMESPACES, "--cap-drop", "ALL", "true"]
    done = process.run(argv, env=environment, capture=True, check=False)
    if done.returncode != 0:
        raise refused(done.tail)


def refused(tail: Sequence[str]) -> DiboError:
    """The error for a sandbox that the machine does not let dibo have; `tail` is what bwrap said."""
    reason = " ".join(tail[-1:]) or "bwrap did not say why"
    advice = []
    if "mount proc" in reason:
        advice.append(
            "this container masks parts of its /proc, and so forbids an own one: Kubernetes allows it with "
            "procMount: Unmasked (and hostUsers: false), docker with --security-opt systempaths=unconfined"
        )
    return EngineError(
        f"the sandbox for steps cannot be set up here: {reason}", hint="\n".join([*advice, without()])
    )


def refused_for_root(tail: Sequence[str]) -> DiboError:
    """The error for a sandbox that the machine lets dibo have (`require`), but not on this root. The author of
    the root may intend the failure, so the error does not say how to build without the sandbox."""
    reason = " ".join(tail[-1:]) or "bwrap did not say why"
    return EngineError(
        f"the sandbox for steps cannot be set up on this root: {reason}",
        hint="this machine can have one (`dibo doctor` tries it again), so look at the root: a link where a directory"
        " is expected, or an environment in the config of its base that is too large",
    )


def without() -> str:
    """What it means to go on without the sandbox."""
    reach = (
        "could then read and write every file of this machine and its disks"
        if os.geteuid() == 0
        else "could then read and write the files of this user"
    )
    return (
        f"to build without it: --isolation chroot. A hook, or a script of any package, {reach}, "
        "see and signal processes, and use /dev/shm of this machine"
    )
