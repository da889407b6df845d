"""Commands in a machine, over SSH: by ssh(1), with a key and a list of hosts of this machine alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.errors import MachineTimeout
from dibo.machines import channels
from dibo.machines.machine import LOOPBACK
from dibo.machines.running import RunningMachine
from dibo.system import process

SSH_PORT: Final = 22
NO_CONNECTION: Final = 255
"""What ssh(1) ends with when the connection fails; a command may end with it, too."""
_BETWEEN: Final = 1.0
"""Seconds between two attempts."""
_BANNER: Final = 5.0
_MOST_OUTPUT: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAccess:
    """How a machine is reached."""

    port: int
    user: str
    key: Path
    known_hosts: Path
    address: str = LOOPBACK

    def argv(self, command: Sequence[str] = (), *, interactive: bool = False) -> list[str]:
        """Without a command, a shell. What the user has configured does not count."""
        options = {
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "LogLevel": "ERROR",
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "accept-new",
            "ConnectTimeout": "60",
            **({} if interactive else {"BatchMode": "yes"}),
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        place = f"{self.user}@{self.address}"
        return [
            *("ssh", "-F", "/dev/null", *words, "-p", str(self.port), "-i", str(self.key), place),
            *(["--", *command] if command else []),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a command printed, both streams in one, and its exit code."""

    code: int
    output: str


def wait_for_login(machine: RunningMachine, access: SshAccess) -> None:
    """Wait until the key opens the machine. Raises MachineDied, and MachineTimeout that says what is missing."""
    answered = False
    try:
        while True:
            machine.require_on("answer over SSH")
            machine.look(0.0)
            if answered or channels.speaks_ssh(access.address, access.port, seconds=_BANNER):
                answered = True
                if _run(machine, access, "exit 0", lambda _: None).code == 0:
                    return
            _rest(machine)
    except MachineTimeout as error:
        reason = f"the SSH server does not let {access.user} in" if answered else "no SSH server answers"
        raise machine.failure(
            MachineTimeout,
            f"{reason} in time: --run needs an SSH server in the image, and cloud-init, a kit or systemd 252, which "
            "take the key from outside; a machine that still starts needs a longer --timeout",
        ) from error


def run_command(
    machine: RunningMachine,
    access: SshAccess,
    command: str,
    on_line: Callable[[str], None],
    *,
    stdin: bytes | None = None,
) -> CommandResult:
    """Run a shell command that reads `stdin`; `on_line` gets each line that it prints, as it comes."""
    return _run(machine, access, command, on_line, stdin=stdin)


def _rest(machine: RunningMachine) -> None:
    """Watch the console for a while."""
    end = time.monotonic() + _BETWEEN
    while (left := end - time.monotonic()) > 0 and not machine.ended:
        machine.look(left)


def _run(
    machine: RunningMachine,
    access: SshAccess,
    command: str,
    on_line: Callable[[str], None],
    *,
    stdin: bytes | None = None,
) -> CommandResult:
    with tempfile.SpooledTemporaryFile(
        max_size=1 << 20, mode="w+", encoding="utf-8", errors="replace"
    ) as kept:

        def keep(line: str) -> None:
            on_line(line)
            if kept.tell() < _MOST_OUTPUT:
                kept.write(f"{line}\n")

        streams = process.Streams(stdin=stdin, on_output=keep)
        with process.Process(access.argv([command]), streams=streams) as client:
            while not client.ended:
                machine.look(0.1)
                if machine.ended:
                    time.sleep(0.05)  # for a command that switches the machine off
            code = client.wait()
        kept.seek(0)
        return CommandResult(code=code, output=kept.read())
