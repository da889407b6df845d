"""The steps of a build, in order.

Phase by phase across all flavours. Within a phase, hooks run sorted by (name, place of the flavour in the stack), so
equal names from two flavours both run; consecutive hooks of one flavour fold into one step, and a step becomes a
layer. A flavour's packages come at the very start of the install phase, before every hook, and are a step of their own
that sees no file: to change a file does not install them again. A last step, of no flavour, does once what was put off
and removes what no image may hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from dibo.flavours.model import Phase
from dibo.flavours.stack import Stack

FINALISE: Final = "finalise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one layer is made by."""

    phase: str
    """The name of a phase's directory, or "finalise"."""
    flavour: str = ""
    place: int = 0
    """The flavour's place in the stack, from 0."""
    packages: bool = False
    """Whether the flavour's packages are installed, and nothing else."""
    hooks: tuple[str, ...] = ()
    visible: tuple[str, ...] = ()
    """Flavours that are seen beside the step's own: all it needs."""
    environment: tuple[tuple[str, str], ...] = ()
    local: bool = False
    """Whether this layer, or one below it, holds data of this user or machine."""

    @property
    def seen(self) -> tuple[str, ...]:
        """The flavours whose files and extra data the step sees, its own last."""
        return (*self.visible, self.flavour) if self.hooks else ()

    @property
    def title(self) -> str:
        """For people: `web install.d: packages, 10-site`."""
        if self.phase == FINALISE:
            return FINALISE
        return f"{self.flavour} {self.phase}: {'packages' if self.packages else ', '.join(self.hooks)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A stack's steps."""

    stack: Stack
    architecture: str
    steps: tuple[Step, ...]

    @property
    def local(self) -> bool:
        return any(step.local for step in self.steps)


def make_recipe(stack: Stack, *, architecture: str, environment: Mapping[str, str]) -> Recipe:
    """`environment` holds the value of every variable that a flavour of the stack declares."""
    bare = [
        *_run_phase(stack, Phase.PRE_INSTALL),
        *_packages(stack),
        *_run_phase(stack, Phase.INSTALL),
        *_first_boot(stack),
        Step(phase=FINALISE),
    ]
    steps, local = [], False
    for step in bare:
        local = local or (bool(step.flavour) and stack.get(step.flavour).local)
        steps.append(_dress(step, stack, environment, local=local))
    return Recipe(stack=stack, architecture=architecture, steps=tuple(steps))


def _run_phase(stack: Stack, phase: Phase) -> list[Step]:
    entries = [
        (hook.name, place) for place, flavour in enumerate(stack.flavours) for hook in flavour.hooks_of(phase)
    ]
    steps = []
    for place, group in groupby(sorted(entries), key=lambda entry: entry[1]):
        hooks = tuple(name for name, _ in group)
        steps.append(Step(phase=phase.value, flavour=stack.flavours[place].name, place=place, hooks=hooks))
    return steps


def _packages(stack: Stack) -> list[Step]:
    return [
        Step(phase=Phase.INSTALL.value, flavour=flavour.name, place=place, packages=True)
        for place, flavour in enumerate(stack.flavours)
        if flavour.packages
    ]


def _first_boot(stack: Stack) -> list[Step]:
    """First-boot hooks are only copied, so one step a flavour is enough; the booting machine puts them in order."""
    steps = []
    for place, flavour in enumerate(stack.flavours):
        hooks = tuple(hook.name for hook in flavour.hooks_of(Phase.FIRST_BOOT))
        if hooks:
            steps.append(Step(phase=Phase.FIRST_BOOT.value, flavour=flavour.name, place=place, hooks=hooks))
    return steps


def _dress(step: Step, stack: Stack, environment: Mapping[str, str], *, local: bool) -> Step:
    visible = stack.needed_by(step.flavour) if step.flavour else ()
    names = {
        name
        for flavour in (*visible, *([step.flavour] if step.flavour else []))
        for name, _ in stack.get(flavour).environment
    }
    return Step(
        phase=step.phase,
        flavour=step.flavour,
        place=step.place,
        packages=step.packages,
        hooks=step.hooks,
        visible=visible,
        environment=tuple(sorted((name, environment[name]) for name in names)),
        local=local,
    )
