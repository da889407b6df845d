"""A shell, or a command, in a machine that `dibo boot` started."""

from __future__ import annotations

from collections.abc import Sequence

from dibo.api.documents import CommandAnswer, new_document
from dibo.machines.running_table import find_machine, running_machines
from dibo.settings.settings import Settings
from dibo.system import process


def ssh(settings: Settings, name: str | None, command: Sequence[str]) -> int:
    """Open a shell, or run a command; its exit code. Raises UsageError, ToolMissing."""
    entry = find_machine(name, settings.cache)
    return process.run_in_terminal(entry.access.argv(command, interactive=True))


def list_machines(settings: Settings) -> CommandAnswer:
    """The machines that run; a line for each."""
    machines = running_machines(settings.cache)
    listed = [
        {
            "name": entry.name,
            "image": entry.image or None,
            "pid": entry.pid,
            "user": entry.user,
            "ssh_port": entry.port,
            "ports": list(entry.ports),
        }
        for entry in machines
    ]
    text = "\n".join(
        f"{entry.name}  {entry.user}@127.0.0.1:{entry.port}  {entry.image}  {', '.join(entry.ports)}"
        for entry in machines
    )
    return CommandAnswer(text=text, document=new_document("machines", machines=listed))
