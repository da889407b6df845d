"""The door to other programs: the only file that starts processes.

Every child leads a session of its own. A signal from the terminal therefore reaches dibo alone, which ends its
children in order; and what a child leaves behind (a daemon that a hook started, the far side of a broken pipe) is
found by that session, or, if it made another one, as an orphan: dibo is a child subreaper (prctl(2),
PR_SET_CHILD_SUBREAPER), so orphans become its own children. Processes inside a user namespace that the user
owns can be killed from outside whatever uid they have there (user_namespaces(7): the owner has every capability).

Children get a small environment: PATH, LANG, where the user's files are, what containers/storage is told through
the environment, and what is asked for. Each command is logged, as one could type it, before it runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from dibo.errors import CommandFailed, ToolMissing
from dibo.system.package_names import how_to_install
from dibo.system.profiling import trace as profiling

log = logging.getLogger("dibo.system.process")

TAIL_LINES = 20
LONGEST_LINE = 1 << 20  # bytes; what is longer is told in pieces
GRACE_SECONDS = 5.0
PIPE = subprocess.PIPE
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

_KEPT = (
    "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
    "XDG_CACHE_HOME", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF",
    "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "STORAGE_DRIVER", "STORAGE_OPTS", "BUILDAH_ISOLATION", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "DBUS_SESSION_BUS_ADDRESS", "SOURCE_DATE_EPOCH", "DIBO_RUN",
)  # fmt: skip
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a child gets to see: the kept part of our own environment, LANG=C.UTF-8, and `extra`."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    kept["PATH"] = _with_sbin(kept.get("PATH", "/usr/local/bin:/usr/bin:/bin"))
    return {**kept, "LANG": "C.UTF-8", **(extra or {})}


def proxies() -> dict[str, str]:
    """The proxies this process was told of, for children that use the network."""
    return {name: os.environ[name] for name in PROXIES if os.environ.get(name)}


def find(tool: str) -> str | None:
    """The path of a program, or None. Looks into the sbin directories too, where mke2fs lives."""
    if "/" in tool:
        return tool if os.access(tool, os.X_OK) else None
    for directory in clean_environment()["PATH"].split(":"):
        path = os.path.join(directory or ".", tool)  # noqa: PTH118 (os.path.isfile is False where we may not look)
        if os.path.isfile(path) and os.access(path, os.X_OK):  # noqa: PTH113
            return path
    return None


def _with_sbin(path: str) -> str:
    parts = path.split(":")
    return ":".join([*parts, *(d for d in ("/usr/local/sbin", "/usr/sbin", "/sbin") if d not in parts)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a process ended: `stdout` is what was captured; `tail` the last lines of its stderr."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    tail: tuple[str, ...]


OnOutput = Callable[[str], None]
"""Gets each line that a program prints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """What a child reads and writes."""

    stdin: bytes | int | IO[bytes] | None = None
    """Bytes to feed it, a file, PIPE, or None: then it reads nothing."""
    stdout: int | IO[bytes] | None = None
    """A file, PIPE, or None: then it joins stderr in `on_output` and the tail."""
    on_output: OnOutput | None = None
    """Gets each line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions:
    """What few children need."""

    cwd: Path | None = None
    """The working directory; None is our own."""
    umask: int = -1
    """-1 is our own."""
    pass_fds: Sequence[int] = ()
    timeout: float | None = None
    """Seconds that it may run for, counted from the start of the wait for it."""


_NO_STREAMS = Streams()
_NO_OPTIONS = ProcessOptions()


class Process:
    """A running child; a context manager that leaves none of its processes behind."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        streams: Streams = _NO_STREAMS,
        options: ProcessOptions = _NO_OPTIONS,
    ) -> None:
        self.argv = tuple(argv)
        self._on_output = streams.on_output
        self._timeout = options.timeout
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._fault: Exception | None = None
        environment = clean_environment(env)
        _become_subreaper()
        log.info("%s", shlex.join(self.argv))
        program = find(self.argv[0])
        if program is None:
            raise ToolMissing(f"{self.argv[0]} is not installed", hint=how_to_install(self.argv[0]))
        stdin = PIPE if isinstance(streams.stdin, bytes) else streams.stdin
        merged = streams.stdout is None  # one pipe for both keeps their lines in order
        with _starting:  # nobody takes it for an orphan before it is known
            self._popen = subprocess.Popen(
                [program, *self.argv[1:]],
                env=environment,
                cwd=options.cwd,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.PIPE if merged else streams.stdout,
                stderr=subprocess.STDOUT if merged else subprocess.PIPE,
                start_new_session=True,
                pass_fds=tuple(options.pass_fds),
                umask=options.umask,
            )
            _known.add(self._popen.pid)
        self._end_profile = profiling.program(self.argv)
        lines = self._popen.stdout if merged else self._popen.stderr
        assert lines is not None
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()
        self._feeder = threading.Thread(target=_feed, args=(self._popen.stdin, streams.stdin), daemon=True)
        if isinstance(streams.stdin, bytes):
            self._feeder.start()

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe of a child started with stdout=PIPE."""
        assert self._popen.stdout is not None
        return self._popen.stdout

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe of a child started with stdin=PIPE."""
        assert self._popen.stdin is not None
        return self._popen.stdin

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def ended(self) -> bool:
        return self._popen.poll() is not None

    def _read(self, pipe: IO[bytes]) -> None:
        """The pipe is emptied whatever `on_output` raises, or the child would wait for ever."""
        while raw := pipe.readline(LONGEST_LINE):
            line = raw.decode(errors="replace").rstrip("\r\n")
            self._tail.append(line)
            if self._on_output is not None and self._fault is None:
                try:
                    self._on_output(line)
                except Exception as error:  # wait raises it
                    self._fault = error
        pipe.close()

    def wait(self, *, timeout: float | None = None) -> int:
        """The exit code, negative for a signal. Whatever the child left running is killed. Raises CommandFailed
        when `timeout` seconds pass, or those of its options, and what `on_output` raised."""
        timeout = self._timeout if timeout is None else timeout
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.stop()
            raise CommandFailed(f"{self.argv[0]} did not end within {timeout:g} s", tail=self.tail) from None
        self._sweep()
        self._reader.join(GRACE_SECONDS)
        if self._feeder.ident is not None:
            self._feeder.join()
        if self._fault is not None:
            raise self._fault
        return code

    @property
    def tail(self) -> tuple[str, ...]:
        return tuple(self._tail)

    def stop(self) -> None:
        """End the child and all it started: SIGTERM, some seconds of grace, SIGKILL."""
        if self._popen.poll() is None:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(GRACE_SECONDS)
        self._sweep()
        self._popen.wait()

    def terminate(self) -> None:
        """Ask the child and what is of its session to end, with SIGTERM; `stop` waits for that."""
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGTERM)

    def _sweep(self) -> None:
        """Kill what is left of the child's session and descendants, and orphans that no other process started."""
        self._end_profile()
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline:
            if not (left := _left_behind(self._popen.pid)):
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        if self._popen.poll() is not None:
            _known.discard(self._popen.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._popen.returncode is None:
            self.stop()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    capture: bool = False,
    check: bool = True,
    streams: Streams = _NO_STREAMS,
    options: ProcessOptions = _NO_OPTIONS,
) -> Completed:
    """Run to the end. `capture` keeps stdout as text, in place of what `streams` do with it. With `check`, a non-zero
    end raises CommandFailed; a program that does not exist always raises ToolMissing.
    """
    if capture:
        streams = replace(streams, stdout=PIPE)
    with Process(argv, env=env, streams=streams, options=options) as process:
        captured: list[bytes] = []
        reader = threading.Thread(target=lambda: captured.append(process.stdout.read()), daemon=True)
        if capture:
            reader.start()
        code = process.wait()
        if capture:
            reader.join()
    text = b"".join(captured).decode(errors="replace")
    if check and code != 0:
        raise failure(argv, code, process.tail)
    return Completed(argv=tuple(argv), returncode=code, stdout=text, tail=process.tail)


def run_in_terminal(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """Run something interactive on our own terminal and return its exit code."""
    program = find(argv[0])
    if program is None:
        raise ToolMissing(f"{argv[0]} is not installed", hint=how_to_install(argv[0]))
    log.info("%s", shlex.join(argv))
    term = {"TERM": os.environ.get("TERM", "dumb")}
    with subprocess.Popen([program, *argv[1:]], env=clean_environment({**term, **(env or {})})) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:  # the shell's own business
                continue


def failure(argv: Sequence[str], code: int, tail: tuple[str, ...]) -> CommandFailed:
    """What to raise for a command that ended with `code`: says how it ended, and keeps its last lines."""
    last = f": {tail[-1].strip()}" if tail else ""
    return CommandFailed(f"{Path(argv[0]).name} {describe_exit(code)}{last}", returncode=code, tail=tail)


def describe_exit(code: int) -> str:
    """How a process ended, in words. 126 and 127 are the shell's codes (POSIX sh, 2.8.2), 128+n its signals."""
    if code < 0:
        return f"was killed by {_signal_name(-code)}"
    if code == 126:
        return "ended with 126: something in it is not executable"
    if code == 127:
        return "ended with 127: a command in it was not found"
    if code > 128:
        return f"ended with {code}: something in it was killed by {_signal_name(code - 128)}"
    return f"ended with exit code {code}"


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(data)


_known: set[int] = set()
_starting = threading.Lock()
_subreaper = threading.Event()
_sharers: list[None] = []


@contextlib.contextmanager
def sharing() -> Iterator[None]:
    """Within another program, which starts processes of its own: children and orphans that dibo did not start are left
    alone. For several threads."""
    _sharers.append(None)
    try:
        yield
    finally:
        _sharers.pop()


def _become_subreaper() -> None:
    if not (_subreaper.is_set() or _sharers):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        _subreaper.set()


def _left_behind(leader: int) -> list[int]:
    """Processes that `leader` started and that live still: of its session, below it, or orphans handed to us."""
    me = os.getpid()
    with _starting:
        table, known = process_table(), set(_known)
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in table.items():
        children.setdefault(parent, []).append(pid)
    left = {pid for pid, (_, session, _) in table.items() if session == leader and pid != leader}
    if leader in table and table[leader][2] != "Z":
        left.add(leader)
    # An orphan in the session of another child of ours is that one's business.
    ours = () if _sharers else children.get(me, ())
    orphans = (pid for pid in ours if pid not in known and table[pid][1] not in known - {leader})
    queue = [leader, *orphans]
    while queue:
        pid = queue.pop()
        queue.extend(children.get(pid, ()))
        if pid != leader:
            left.add(pid)
    for pid in [pid for pid in left if table.get(pid, (0, 0, ""))[2] == "Z"]:
        left.discard(pid)
        if table[pid][0] == me and pid not in known:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    return sorted(left)


def process_table() -> dict[int, tuple[int, int, str]]:
    """(parent, session, state) of every process, as proc(5) says in /proc/PID/stat."""
    table = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text(errors="replace")
            except OSError:
                continue
            state, parent, _, session, *_ = stat.rpartition(")")[2].split()
            table[int(name)] = (int(parent), int(session), state)
    return table
