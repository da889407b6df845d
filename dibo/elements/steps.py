"""The steps of elements: what one layer is made by.

A phase runs over all elements. Outside the image it is one step. Inside, consecutive scripts whose elements come from
one directory of the search path are one step: elements of diskimage-builder share layers, and a user's own elements,
which change more often, have theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final

from dibo.elements.granted import GrantedFile, Grants
from dibo.elements.hooks import ElementScript, HookFile, merge_hooks, scripts_of
from dibo.elements.model import Element, ElementPhase
from dibo.elements.sight import Sights
from dibo.errors import FlavourError
from dibo.flavours.model import FlavourFile
from dibo.flavours.secret_names import SPEAKS_OF_SECRET

_SHOWN: Final = 4  # scripts in a title
TRACE: Final = "DIB_DEBUG_TRACE"
"""The variable by which scripts of diskimage-builder show each of their commands."""
_ON_DISK: Final = (ElementPhase.PRE_FINALISE, ElementPhase.FINALISE, ElementPhase.CLEANUP)
"""Phases that diskimage-builder runs once the file systems of the disk are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementStep:
    """Scripts of one phase, or packages, with all that they see."""

    phase: ElementPhase
    scripts: tuple[str, ...] = ()
    after: str = ""
    """The last script of the phase that ran before; scripts that extra-data.d made run in the step of their place."""
    until: str = ""
    """The last script of this step; empty where it runs to the end of the phase."""
    packages: tuple[str, ...] = ()
    """Installed by install-packages, in place of scripts."""
    fstab: str = ""
    """What /etc/fstab has from this step on; empty where it is not touched."""
    elements: tuple[str, ...] = ()
    """All of the stack, in order."""
    hooks: tuple[HookFile, ...] = ()
    """Files of the merged tree that it sees."""
    sources: tuple[tuple[str, tuple[FlavourFile, ...]], ...] = ()
    """(element, files of it that the step sees where the element is)."""
    variables: tuple[tuple[str, str], ...] = ()
    trace: str = field(default="", compare=False)
    """The value of TRACE. It changes what scripts print, so it is in no key."""
    granted: tuple[GrantedFile, ...] = ()
    """Files of the user's that it sees."""
    local: bool = False
    """Whether it sees what must not leave this machine."""

    @property
    def title(self) -> str:
        """For people: `elements install.d: 10-cloud-init, 50-web`."""
        if self.packages:
            return f"elements {self.phase}: packages {', '.join(self.packages)}"
        shown = ", ".join(self.scripts[:_SHOWN]) or "fstab"
        return f"elements {self.phase}: {shown}" + (", …" if len(self.scripts) > _SHOWN else "")


def make_steps(
    elements: tuple[Element, ...],
    *,
    variables: Mapping[str, str],
    packages: Iterable[str] = (),
    fstab: str = "",
    grants: Grants,
) -> tuple[ElementStep, ...]:
    """The steps of `elements`, in order. `variables` are those that a script may see, `packages` those of `-p`,
    `fstab` that of the disk, which scripts see from pre-finalise.d on. Raises StackError, FlavourError."""
    hooks = merge_hooks(elements)
    sights = Sights(elements, hooks)
    common = ElementStep(phase=ElementPhase.ROOT, elements=tuple(element.name for element in elements))
    bare: list[ElementStep] = []
    for phase in ElementPhase:
        scripts = scripts_of(elements, phase)
        if phase is ElementPhase.BLOCK_DEVICE and scripts:
            raise FlavourError(
                f"the element {scripts[0].element!r} has the phase block-device.d, which dibo does not run",
                hint="describe the disk in block-device-default.yaml",
            )
        bare += _steps_of_phase(common, phase, scripts)
        if phase is ElementPhase.INSTALL and packages:
            bare.append(replace(common, phase=phase, packages=tuple(sorted(set(packages)))))
    return tuple(_with_sight(step, sights, variables, grants) for step in _with_fstab(bare, fstab, common))


def _with_fstab(steps: list[ElementStep], fstab: str, common: ElementStep) -> list[ElementStep]:
    """The steps, of which the first from pre-finalise.d on writes the file; a new one, where there is none."""
    if not fstab:
        return steps
    for index, step in enumerate(steps):
        if step.phase in _ON_DISK:
            return [*steps[:index], replace(step, fstab=fstab), *steps[index + 1 :]]
    return [*steps, replace(common, phase=ElementPhase.FINALISE, fstab=fstab)]


def _steps_of_phase(
    common: ElementStep, phase: ElementPhase, scripts: tuple[ElementScript, ...]
) -> list[ElementStep]:
    if phase.is_outside:
        names = tuple(script.name for script in scripts)
        return [replace(common, phase=phase, scripts=names)] if names else []
    steps: list[ElementStep] = []
    groups = [tuple(group) for _, group in groupby(scripts, key=lambda script: script.group)]
    for number, group in enumerate(groups):
        names = tuple(script.name for script in group)
        steps.append(
            replace(
                common,
                phase=phase,
                scripts=names,
                after=steps[-1].until if steps else "",
                until=names[-1] if number < len(groups) - 1 else "",
            )
        )
    return steps


def _with_sight(
    step: ElementStep, sights: Sights, variables: Mapping[str, str], grants: Grants
) -> ElementStep:
    sight = sights.of(step.phase, step.scripts)
    seen = {name: value for name, value in variables.items() if name != TRACE and sight.sees_variable(name)}
    granted = grants.of(seen, home=sight.keys_of_user) if step.phase.is_outside else ()
    return replace(
        step,
        hooks=sight.hooks,
        sources=tuple(sight.sources.items()),
        variables=tuple(sorted(seen.items())),
        trace=variables.get(TRACE, ""),
        granted=granted,
        local=any(file.local for file in granted)
        or any(value and SPEAKS_OF_SECRET.search(name) for name, value in seen.items()),
    )
