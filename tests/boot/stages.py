"""Machines that go through the same stages side by side, and what was seen of each at each stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.support.machines.qemu import BootState, Firmware, Machine, MachineError


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A machine after a boot: what its marker said, and its answers to questions."""

    up: BootState
    answers: Mapping[str, str]

    def __getitem__(self, question: str) -> str:
        return self.answers[question].strip()

    def lines(self, question: str) -> list[str]:
        return self.answers[question].splitlines()


class Stage:
    """What a stage brought for each machine. One that fails stays failed, and only for the tests that ask
    for it.
    """

    def __init__(
        self,
        machines: Mapping[Firmware, Machine],
        outcomes: Mapping[Firmware, Seen | MachineError] | None = None,
    ) -> None:
        self._machines = machines
        self._outcomes = outcomes or {}

    def then(self, *actions: Callable[[Machine], Seen | None]) -> Stage:
        """The stage after this one: each action on all machines, before the next action on any. An action may
        give what is to be remembered of the machine from then on."""
        outcomes = dict(self._outcomes)
        for action in actions:
            for firmware, machine in self._machines.items():
                if isinstance(outcomes.get(firmware), MachineError):
                    continue
                try:
                    seen = action(machine)
                except MachineError as error:
                    outcomes[firmware] = error
                else:
                    if seen is not None:
                        outcomes[firmware] = seen
        return Stage(self._machines, outcomes)

    def of(self, firmware: Firmware) -> Seen:
        outcome = self._outcomes[firmware]
        if isinstance(outcome, MachineError):
            raise outcome
        return outcome
