"""Which packages a build installs, chosen before it by the state of the archive (dibo.build.archives).

Chosen are those of a base whose archive dibo knows, and those that flavours list. Where something that runs before
gives apt other sources or preferences, only apt in the root can choose, and the step is one of an epoch.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from dibo.build import context
from dibo.build.context import ExtraFiles, Runner
from dibo.elements.stack import MixedStack
from dibo.errors import FlavourError
from dibo.flavours.model import Flavour, Phase
from dibo.flavours.stack import Stack
from dibo.plan.base import Base, NoStore, ResolutionStore
from dibo.plan.packages import Resolution
from dibo.plan.recipe import Recipe, Step, with_packages
from dibo.system.threads import beside

_AHEAD: Final = 2
"""Downloads for later steps at once, beside those of the step at hand."""
_CHANGES_APT: Final = re.compile(rb"/etc/apt/|add-apt-repository|apt-key\b|extrepo\b")
_OF_A_RELEASE: Final = re.compile(r"[^/]+/[^/]+")
"""A word of apt-get(8) that takes a package from a release, which an archive of chosen packages has not."""


def choose_packages(
    recipe: Recipe, base: Base, store: ResolutionStore | None = None
) -> tuple[Recipe, Resolution]:
    """The recipe with the packages of its steps, and what was chosen; nothing for a base whose packages are not chosen
    before a build. Raises what `Base.resolve` raises, FlavourError."""
    store = store or NoStore()
    steps = [step for step in recipe.steps if step.packages]
    free = changes_apt(recipe.stack)
    chosen_names = base.package_names(store, listed=bool(steps))
    if not chosen_names.names:
        return recipe, Resolution(obstacle=chosen_names.obstacle)
    lists = [None if free else _words(step, recipe, chosen_names.names) for step in steps]
    resolution = base.resolve([words for words in lists if words is not None], store)
    chosen = iter(resolution.steps)
    resolved = [None if words is None else next(chosen) for words in lists]
    return with_packages(recipe, resolved), resolution


def changes_apt(stack: Stack) -> bool:
    """Whether something that runs before packages are installed may give apt other sources."""
    if isinstance(stack, MixedStack) and stack.element_steps:
        return True
    return any(
        _CHANGES_APT.search(_content(flavour, hook.path))
        for flavour in stack.flavours
        for hook in flavour.hooks_of(Phase.PRE_INSTALL)
    )


def _content(flavour: Flavour, path: str) -> bytes:
    with contextlib.suppress(OSError):
        return ((flavour.copy or flavour.origin) / path).read_bytes()
    return b""


def _words(step: Step, recipe: Recipe, names: tuple[str, ...]) -> tuple[str, ...] | None:
    """What apt-get gets to install; None where only the root knows. Raises FlavourError where a flavour has no list for
    the root: the script `run` of steps would refuse it."""
    listed = dict(recipe.stack.get(step.flavour).packages)
    template = next((listed[name] for name in names if name in listed), None)
    if template is None:
        raise FlavourError(
            f"the flavour {step.flavour} lists packages for {', '.join(listed)}, and none for {names[0]}",
            hint=f"list some for one of {', '.join(dict.fromkeys(names))} in its flavour.yaml",
        )
    variables = {"ARCH": recipe.architecture, **dict(step.environment)}
    words = tuple(context.substitute(template, variables))
    return None if any(_OF_A_RELEASE.fullmatch(word) for word in words) else words


@contextlib.contextmanager
def fetching_ahead(base: Base, steps: Iterable[Step]) -> Iterator[None]:
    """Meanwhile, have the packages of steps that are to run fetched, in the order of these. At the end, what is being
    fetched is not waited for."""
    packages = [package for step in steps for package in step.resolved or ()]
    with beside([partial(base.fetch_ahead, package) for package in packages], threads=_AHEAD):
        yield


def stage_step(
    step: Step,
    recipe: Recipe,
    base: Base,
    *,
    files: tuple[Runner, ExtraFiles],
    times: tuple[int | None, int],
    target: Path,
) -> None:
    """Fill `target`, an empty directory, with what a step sees (dibo.build.context), the files of its packages among
    it. `times` are the start of the epoch, where that is a date, and when packages of the base changed last, or 0.
    Raises what that raises, and `Base.write_archive`."""
    runner, extra = files
    place = target.with_name(f"{target.name}-packages")
    newest = base.write_archive(step.resolved, place) if step.resolved else None
    epoch, clock = times
    time = newest if newest is not None else epoch if step.dated else None
    if clock and (time is not None or not step.dated):
        time = max(time or 0, clock)
    context.stage(step, recipe, runner=runner, extra=extra, time=time, target=target)
    if newest is not None:
        place.rename(target / ".dibo" / "step" / "archive")
    elif recipe.chosen and step.flavour and step.phase != Phase.FIRST_BOOT and step.network:
        base.write_lists(target / ".dibo" / "step" / "lists")
