"""A machine whose console is the user's terminal: until it ends, or ^] is typed."""

from __future__ import annotations

from dibo.machines.channels import read_terminal
from dibo.machines.running import RunningMachine
from dibo.system.raw_terminal import ESCAPE, raw_terminal


def attend(machine: RunningMachine) -> bool:
    """Hand on what is typed; whether the machine ended by itself. Raises MachineTimeout. A kernel that dies is shown,
    and no error: the user may look at what it says."""
    machine.watched = False
    with raw_terminal() as keyboard:
        watched: tuple[int, ...] = (keyboard,)
        while not machine.ended:
            if keyboard not in machine.look(1.0, *watched):
                continue
            typed = read_terminal(keyboard)
            if ESCAPE in typed:
                return False
            if typed:
                machine.write(typed)
            else:
                watched = ()
    return True


def watch(machine: RunningMachine) -> None:
    """Show the console until the machine ends. Raises MachineTimeout, MachineDied."""
    while not machine.ended:
        machine.look(1.0)
