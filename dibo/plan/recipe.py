"""The steps of a build, in order.

Phase by phase across all flavours. Within a phase, hooks run sorted by (name, place of the flavour in the stack), so
equal names from two flavours both run; consecutive hooks of one flavour fold into one step, and a step becomes a
layer. A flavour's packages come at the very start of the install phase, before every hook, and are a step of their own
that sees no file: to change a file does not install them again. A last step, of no flavour, does once what was put off
and removes what no image may hold.

Elements of diskimage-builder have phases of their own, and one tree of hooks (dibo.elements.steps). In a stack with
both, a phase runs its elements first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from dibo.elements.model import ElementPhase
from dibo.elements.stack import MixedStack
from dibo.elements.steps import ElementStep
from dibo.flavours.model import FetchedFile, Phase, Secret
from dibo.flavours.stack import Stack
from dibo.plan.packages import Packages

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
    """Flavours that are seen beside the step's own: all it needs. A first-boot step, which only copies, sees none."""
    environment: tuple[tuple[str, str], ...] = ()
    """The variables that the flavours it sees declare, with their values."""
    secrets: tuple[Secret, ...] = ()
    """Those that its own flavour declares."""
    local: bool = False
    """Whether this layer, or one below it, can hold data of this user or machine."""
    element: ElementStep | None = None
    """Of a step of elements: what it runs and sees, in place of a flavour."""
    resolved: Packages | None = None
    """Of a step that installs packages: which these are. None where only the archive knows, when the step runs."""
    network: bool = True
    """Whether the step has the network that the settings give."""
    fetched: tuple[tuple[str, tuple[FetchedFile, ...]], ...] = ()
    """What was fetched for the flavours that it sees, by their names, of those for which anything was."""
    dated: bool = True
    """Whether the step may fetch what no ingredient names, so that its layer is one of an epoch."""

    @property
    def is_outside(self) -> bool:
        """Whether it runs outside of the image, on its tree."""
        return self.element is not None and self.element.phase.is_outside

    @property
    def owner(self) -> str:
        """For people: whose step it is."""
        return self.flavour or ("dibo" if self.element is None else "elements")

    @property
    def seen(self) -> tuple[str, ...]:
        """The flavours whose files and extra data the step sees, its own last."""
        return (*self.visible, self.flavour) if self.hooks else ()

    @property
    def title(self) -> str:
        """For people: `web install.d: packages, 10-site`."""
        if self.element is not None:
            return self.element.title
        if self.phase == FINALISE:
            return FINALISE
        return f"{self.flavour} {self.phase}: {'packages' if self.packages else ', '.join(self.hooks)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A stack's steps."""

    stack: Stack
    architecture: str
    steps: tuple[Step, ...]
    chosen: bool = False
    """Whether packages are chosen before the build: then no layer holds lists of packages, and all have times."""

    @property
    def local(self) -> bool:
        return any(step.local for step in self.steps)


def make_recipe(stack: Stack, *, architecture: str, environment: Mapping[str, str]) -> Recipe:
    """`environment` holds the value of every variable that a flavour of the stack declares."""
    of_elements = _of_elements(stack)
    bare = [
        *of_elements(ElementPhase.ROOT, ElementPhase.EXTRA_DATA, ElementPhase.PRE_INSTALL),
        *_run_phase(stack, Phase.PRE_INSTALL),
        *_packages(stack),
        *of_elements(ElementPhase.INSTALL),
        *_run_phase(stack, Phase.INSTALL),
        *of_elements(ElementPhase.POST_INSTALL, ElementPhase.POST_ROOT),
        *of_elements(ElementPhase.PRE_FINALISE, ElementPhase.FINALISE, ElementPhase.CLEANUP),
        *_first_boot(stack),
        Step(phase=FINALISE),
    ]
    steps: list[Step] = []
    for step in bare:
        below_is_local = bool(steps) and steps[-1].local
        step = _with_sight(step, stack, environment, below_is_local=below_is_local)
        steps.append(_with_outside(step, stack, architecture))
    return Recipe(stack=stack, architecture=architecture, steps=tuple(steps))


def with_packages(recipe: Recipe, resolved: Sequence[Packages | None]) -> Recipe:
    """The recipe with the packages that its steps install, in the order of these steps; None where only the archive
    knows. Steps whose packages are known fetch nothing else, nor do those without network or that only copy: none of
    them is dated."""
    packages = iter(resolved)
    steps = []
    for step in recipe.steps:
        if step.packages:
            chosen = next(packages)
            network = chosen is None or recipe.stack.get(step.flavour).may_use_network(step.phase)
            step = replace(step, resolved=chosen, dated=chosen is None, network=network)
        elif step.phase == Phase.FIRST_BOOT or not step.network:
            step = replace(step, dated=False)
        steps.append(step)
    return replace(recipe, steps=tuple(steps), chosen=True)


def what_may_fetch_at_the_end(stack: Stack) -> tuple[str, ...]:
    """The flavours whose hooks may leave what uses the network in `finalise`; elements count as one."""
    elements = ("elements",) if isinstance(stack, MixedStack) and stack.element_steps else ()
    flavours = (
        flavour.name
        for flavour in stack.flavours
        if flavour.may_use_network(FINALISE)
        and (flavour.hooks_of(Phase.PRE_INSTALL) or flavour.hooks_of(Phase.INSTALL))
    )
    return (*elements, *flavours)


def _of_elements(stack: Stack) -> Callable[..., list[Step]]:
    """What gives the steps of elements in some phases."""
    element_steps = stack.element_steps if isinstance(stack, MixedStack) else ()
    return lambda *phases: [
        Step(phase=step.phase.value, element=step, local=step.local)
        for phase in phases
        for step in element_steps
        if step.phase is phase
    ]


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


def _with_outside(step: Step, stack: Stack, architecture: str) -> Step:
    """The step with what it has from outside of the root: the network, and files that are fetched. Packages need the
    network unless they are chosen before (`with_packages`)."""
    if step.phase == FINALISE:
        return replace(step, network=bool(what_may_fetch_at_the_end(stack)))
    if not step.hooks or step.phase == Phase.FIRST_BOOT:
        return step
    fetched = ((name, stack.get(name).fetched_in(Phase(step.phase), architecture)) for name in step.seen)
    return replace(
        step,
        network=stack.get(step.flavour).may_use_network(step.phase),
        fetched=tuple((name, files) for name, files in fetched if files),
    )


def _with_sight(step: Step, stack: Stack, environment: Mapping[str, str], *, below_is_local: bool) -> Step:
    """The step with all that it sees. What it can see it can copy: one that sees anything of a local flavour is local,
    whichever flavour the step is of."""
    if not step.flavour:
        return replace(step, local=step.local or below_is_local)
    own = stack.get(step.flavour)
    runs_something = step.phase != Phase.FIRST_BOOT
    visible = stack.needed_by(step.flavour) if runs_something else ()
    seen = (*(stack.get(name) for name in visible), own)
    names = {name for flavour in seen for name, _ in flavour.environment} if runs_something else set()
    return replace(
        step,
        visible=visible,
        environment=tuple(sorted((name, environment[name]) for name in names)),
        secrets=own.secrets if runs_something else (),
        local=below_is_local or any(flavour.local for flavour in seen),
    )
