"""The machines that run, for `dibo ssh`: a file in the directory of each run that boots one.

A run's directory has a lock that its process holds (dibo.system.workspace), so a file whose lock is free is that of a
machine that has ended, and does not count.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from dibo.errors import UsageError
from dibo.machines.ssh import SshAccess
from dibo.system.exclusive import is_held
from dibo.system.workspace import Run

_FILE: Final = "machine.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEntry:
    """A machine that runs. `ports` are lines such as 127.0.0.1:8080:80/tcp."""

    name: str
    image: str
    pid: int
    port: int
    user: str
    key: str
    known_hosts: str
    ports: tuple[str, ...]

    @property
    def access(self) -> SshAccess:
        return SshAccess(
            port=self.port, user=self.user, key=Path(self.key), known_hosts=Path(self.known_hosts)
        )


def register(run: Run, entry: RunningEntry) -> None:
    """The machine is known as long as the run lasts."""
    path = run.directory / _FILE
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(entry)))
    part.replace(path)


def unregister(run: Run) -> None:
    """The machine has ended, and the run goes on."""
    (run.directory / _FILE).unlink(missing_ok=True)


def running_machines(cache: Path) -> tuple[RunningEntry, ...]:
    """Those of this cache directory, by name."""
    entries = []
    for path in (cache / "runs").glob(f"*/{_FILE}"):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            if is_held(path.parent / "lock"):
                fields = json.loads(path.read_text())
                entries.append(RunningEntry(**{**fields, "ports": tuple(fields["ports"])}))
    return tuple(sorted(entries, key=lambda entry: entry.name))


def find_machine(name: str | None, cache: Path) -> RunningEntry:
    """The machine of that name, or the only one. Raises UsageError."""
    machines = running_machines(cache)
    fitting = [entry for entry in machines if name is None or entry.name == name]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(entry.name for entry in machines)
    if not machines:
        raise UsageError("no machine runs", hint="start one: dibo boot IMAGE")
    if name is None:
        raise UsageError(f"several machines run: {names}", hint="dibo ssh NAME")
    raise UsageError(f"no machine {name!r} runs", hint=f"these do: {names}")


def free_name(wish: str, cache: Path) -> str:
    """The name itself, or with a number behind it if a machine of the name runs."""
    taken = {entry.name for entry in running_machines(cache)}
    number, name = 1, wish
    while name in taken:
        number += 1
        name = f"{wish}-{number}"
    return name
