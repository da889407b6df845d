"""A real docker daemon on a private socket, for the time of a test.

It has a directory of its own for all it keeps, no bridge and no rules of iptables: containers run on the host's
network. Its mounts are in a mount namespace that dies with it. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dibo.system import process
from tests.support.requirements import need, unmet
from tests.support.timeouts import TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """`host` is what DOCKER_HOST wants: `unix:///…/sock`. The daemon's own output goes to `log`."""

    host: str
    directory: Path
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """For programs that should find this daemon and nobody else's login."""
        return {"DOCKER_HOST": self.host, "DOCKER_CONFIG": str(self.directory / "config")}

    def client(self) -> Any:
        """A client of the docker SDK; the caller closes it."""
        import docker

        return docker.DockerClient(base_url=self.host, version="auto", timeout=int(TIMEOUT))


@contextlib.contextmanager
def dockerd(*options: str, group: str = "root", prepare: str = "") -> Iterator[Docker]:
    """Start dockerd with further `options`; members of `group` may use its socket. `prepare` is a shell command that
    runs before in the daemon's mount namespace. All it had goes at the end."""
    need("dockerd", "setpriv")
    if os.geteuid() != 0:
        unmet("dockerd must be started by root")
    # Not below pytest's directories: the path of a socket has at most 107 bytes (unix(7)).
    directory = Path(tempfile.mkdtemp(prefix="dibo-docker-", dir="/var/tmp"))
    directory.chmod(0o755)
    (directory / "config").mkdir()
    docker = Docker(host=f"unix://{directory}/sock", directory=directory, log=directory / "log")
    argv = [
        *("setpriv", "--pdeathsig", "TERM"),
        *("unshare", "--mount", "--propagation", "private"),
        *(("sh", "-ec", f'{prepare}; exec "$@"', "sh") if prepare else ()),
        *("dockerd", "--bridge=none", "--iptables=false", "--ip-forward=false"),
        f"--host={docker.host}",
        f"--group={group}",
        f"--data-root={directory}/data",
        f"--exec-root={directory}/exec",
        f"--pidfile={directory}/pid",
        *options,
    ]
    try:
        with docker.log.open("wb") as log, _running(argv, log.fileno()) as daemon:
            _wait(docker, daemon)
            yield docker
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def _running(argv: Sequence[str], log: int) -> Iterator[subprocess.Popen[bytes]]:
    daemon = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    process._known.add(
        daemon.pid
    )  # else it ends what it takes for an orphan, when a test starts processes by it
    try:
        yield daemon
    finally:
        daemon.terminate()  # it ends its containers and its containerd, too
        try:
            daemon.wait(TIMEOUT)
        finally:
            daemon.kill()
            daemon.wait()


def _wait(docker: Docker, daemon: subprocess.Popen[bytes]) -> None:
    from docker.errors import DockerException

    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and daemon.poll() is None:
        with contextlib.suppress(DockerException, OSError):
            client = docker.client()
            try:
                client.ping()
            finally:
                client.close()
            return
        time.sleep(0.1)
    raise AssertionError(f"dockerd did not start:\n{docker.log.read_text(errors='replace')[-4000:]}")
