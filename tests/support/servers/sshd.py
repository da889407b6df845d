"""A real ssh server on loopback, for the time of a test, and a client that may log in there. Needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from dibo.system import process
from tests.support.requirements import need, unmet
from tests.support.timeouts import TIMEOUT


@contextlib.contextmanager
def sshd(directory: Path, *, owner: int) -> Iterator[tuple[int, Path]]:
    """The port, and a directory with the program `ssh` as `owner` would have set it up: it knows the server, which
    lets it in as root. All files are in `directory`."""
    need("sshd", "ssh", "ssh-keygen")
    if os.geteuid() != 0:
        unmet("sshd must be started by root")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {(directory / 'host.pub').read_text()}")
    (directory / "sshd_config").write_text(
        f"HostKey {directory}/host\nAuthorizedKeysFile {directory}/user.pub\nListenAddress 127.0.0.1\n"
        f"PidFile {directory}/pid\nPermitRootLogin yes\nStrictModes no\nUsePAM no\n"
    )
    (directory / "config").write_text(
        f"IdentityFile {directory}/user\nIdentitiesOnly yes\nUserKnownHostsFile {directory}/known_hosts\n"
    )
    programs = directory / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {directory}/config "$@"\n')
    (programs / "ssh").chmod(0o755)
    shutil.chown(directory / "user", owner)
    Path("/run/sshd").mkdir(exist_ok=True)  # where it gives up its privileges (sshd(8))
    program = process.find("sshd") or "sshd"
    argv = [program, "-D", "-e", "-f", str(directory / "sshd_config"), "-p", str(port)]
    with (directory / "log").open("wb") as log, subprocess.Popen(argv, stderr=log) as server:
        process._known.add(server.pid)  # else it ends what it takes for an orphan
        try:
            _wait(port, server, directory / "log")
            yield port, programs
        finally:
            server.terminate()


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"sshd did not start:\n{log.read_text()}")
