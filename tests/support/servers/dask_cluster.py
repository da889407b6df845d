"""A scheduler of Dask and its workers on loopback: each worker with a home, a store of layers and a cache of its own.

Each belongs to an ordinary user of its own where root runs the tests: building needs a range of subordinate ids, which
only root can give to more than one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dibo.system import process
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.host.installed_dibo import installed_dibo
from tests.support.timeouts import TIMEOUT
from tests.support.user import ordinary_users


@dataclass
class DaskWorker:
    """A worker, with its nanny: Dask's process that starts it again when it is killed."""

    env: BuildEnv
    server: subprocess.Popen[bytes]

    def pids(self, text: str) -> list[int]:
        """Its processes whose command line has this text."""
        found = []
        for pid in process.process_table():
            with contextlib.suppress(OSError):
                words = (
                    Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                if text in words and f"HOME={self.env.directory}\0".encode() in environment:
                    found.append(pid)
        return found

    def kill(self) -> None:
        """SIGKILL, to the process that has the task, not to its nanny."""
        for pid in self.pids("multiprocessing.spawn"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@dataclass
class DaskCluster:
    address: str
    workers: list[DaskWorker] = field(default_factory=list)


@contextlib.contextmanager
def dask_cluster(logs: Path, number: int, *, slow: Collection[int] = ()) -> Iterator[DaskCluster]:
    """A scheduler and workers. Each command of buildah takes a second more at those that are slow."""
    with contextlib.ExitStack() as stack:
        port = _free_port()
        scheduler = ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        users = stack.enter_context(ordinary_users(number))
        envs = [stack.enter_context(build_env(user)) for user in users]
        stack.enter_context(_started(envs[0], scheduler, logs / "scheduler", {}))
        cluster = DaskCluster(address=f"127.0.0.1:{port}")
        _wait(port)
        for count, env in enumerate(envs):
            options = ["worker", f"tcp://{cluster.address}", "--nthreads", "1", "--name", f"worker-{count}"]
            options += [
                "--host",
                "127.0.0.1",
                "--no-dashboard",
                "--local-directory",
                str(env.directory / "data"),
            ]
            variables = {"PATH": f"{_slow_programs(env)}:{env.environment['PATH']}"} if count in slow else {}
            server = stack.enter_context(_started(env, options, logs / f"worker-{count}", variables))
            cluster.workers.append(DaskWorker(env=env, server=server))
        yield cluster


@contextlib.contextmanager
def _started(
    env: BuildEnv, arguments: list[str], log: Path, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        server = subprocess.Popen(
            env.argv([str(installed_dibo() / "dask"), *arguments], variables),
            stdout=file,
            stderr=file,
            cwd="/",
        )
        process._known.add(server.pid)  # or it is taken for an orphan that a command left
        try:
            yield server
        finally:
            server.terminate()
            try:
                server.wait(TIMEOUT)
            finally:
                server.kill()


def _slow_programs(env: BuildEnv) -> Path:
    """A directory with a buildah that sleeps first."""
    directory = env.directory / "bin"
    directory.mkdir()
    script = directory / "buildah"
    script.write_text(f'#!/bin/sh\nsleep 1\nexec {process.find("buildah")} "$@"\n')
    script.chmod(0o755)
    return directory


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(port: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("the scheduler did not start")
