"""Dated layers: those whose step may fetch what no ingredient names, so that the epoch is part of their keys."""

from __future__ import annotations

from dibo.plan.recipe import FINALISE, Recipe, Step, what_may_fetch_at_the_end
from dibo.units import counted


def why_dated(step: Step, recipe: Recipe, *, obstacle: str) -> str:
    """Why the layer of a step is dated, or nothing. `obstacle`: why no packages are chosen before the build, if so."""
    if not step.dated:
        return ""
    if not recipe.chosen:
        return f"no packages are chosen before the build: {obstacle}"
    if step.element is not None:
        return "scripts of elements may fetch"
    if step.packages:
        return "apt in the root chooses the packages"
    if step.phase == FINALISE:
        return f"what hooks of {', '.join(what_may_fetch_at_the_end(recipe.stack))} left to be done may fetch"
    return f"{', '.join(step.hooks)} may fetch"


def dated_note(reason: str, days: int | None) -> str:
    """For a table: why a layer is dated, and how many days ago it was made, where that is known."""
    if days is None:
        return f"dated: {reason}"
    age = f"{counted(days, 'day')} ago" if days else "today"
    return f"dated: {reason}; made {age}"
