"""What would be built, and why: the recipe with the key of every layer, and which of them a cache holds.

`dibo plan` prints this value, a build runs it. The deepest layer that is held decides where the build resumes; what
lies below it is not even looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from dibo.plan.base import Ingredients
from dibo.plan.dated import dated_note, why_dated
from dibo.plan.keys import Document, KeyInputs, base_document, canonical, key_of, step_documents
from dibo.plan.packages import EPOCH_IS_NAMED, NOTHING, ArchivePackage, Resolution
from dibo.plan.recipe import Recipe, Step
from dibo.units import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step, its key, and its ingredients as canonical JSON."""

    step: Step
    key: str
    ingredients: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A build, decided. `resume` counts the steps that need not run; the base is held when `base_held`, or when
    any step is."""

    recipe: Recipe
    base_name: str
    base_key: str
    base_ingredients: str
    steps: tuple[PlannedStep, ...]
    base_held: bool
    resume: int
    epoch: str
    resolution: Resolution = NOTHING
    """The packages that were chosen before the build."""

    @property
    def chooses_packages(self) -> bool:
        """Whether packages are chosen before the build, so that not every layer is one of an epoch."""
        return self.recipe.chosen

    def why_dated(self, planned: PlannedStep) -> str:
        """Why the layer of a step is one of an epoch, or nothing."""
        return why_dated(planned.step, self.recipe, obstacle=self.resolution.obstacle)

    @property
    def packages(self) -> tuple[ArchivePackage, ...]:
        """All that were chosen before the build, those of the base first."""
        return (*self.resolution.base, *(p for planned in self.steps for p in planned.step.resolved or ()))

    @property
    def image_key(self) -> str:
        """The key of the last layer: what the image is known by."""
        return self.keys[-1]

    @property
    def keys(self) -> tuple[str, ...]:
        """Of every layer, the base's first."""
        return (self.base_key, *(planned.key for planned in self.steps))

    @property
    def to_run(self) -> tuple[PlannedStep, ...]:
        return self.steps[self.resume :]

    @property
    def start(self) -> str:
        """The key of the layer on which the first step to run stands."""
        return self.steps[self.resume - 1].key if self.resume else self.base_key

    def until(self, key: str) -> Plan:
        """The same plan, ended after the layer `key`. Raises ValueError where it has no such layer."""
        steps = self.steps[: self.keys.index(key)]
        return replace(self, steps=steps, resume=min(self.resume, len(steps)))


def make_plan(
    recipe: Recipe,
    *,
    base_name: str,
    base_ingredients: Ingredients,
    inputs: KeyInputs,
    held: Callable[[str], bool],
    resolution: Resolution = NOTHING,
) -> Plan:
    """The recipe with its keys, and with what `held` says is there."""
    base: Document = base_document(
        base_ingredients, architecture=recipe.architecture, resolved=resolution.base
    )
    base_key = key_of(base)
    documents = step_documents(recipe, base_key=base_key, inputs=inputs)
    plan = Plan(
        recipe=recipe,
        base_name=base_name,
        base_key=base_key,
        base_ingredients=canonical(base),
        steps=tuple(
            PlannedStep(step=step, key=key, ingredients=canonical(document))
            for step, (key, document) in zip(recipe.steps, documents, strict=True)
        ),
        base_held=False,
        resume=0,
        epoch=inputs.epoch,
        resolution=resolution,
    )
    return with_held(plan, held)


def with_held(plan: Plan, held: Callable[[str], bool]) -> Plan:
    """The same plan where other layers are held. Asks for the deepest key first, and stops at the first that is."""
    steps = plan.steps
    resume = next((count for count in range(len(steps), 0, -1) if held(steps[count - 1].key)), 0)
    return replace(plan, resume=resume, base_held=resume > 0 or held(plan.base_key))


def said_once(reason: str, lines: Sequence[str]) -> str:
    """`reason`, or, where one of `lines` has said it, that it holds here as well."""
    return "not used either, for the same reason" if any(line.endswith(reason) for line in lines) else reason


def _of_which_layers(plan: Plan) -> str:
    if plan.chooses_packages:
        return ", of dated layers"
    obstacle = plan.resolution.obstacle
    return "" if obstacle in ("", NOTHING.obstacle, EPOCH_IS_NAMED) else f", of all layers: {obstacle}"


def describe(
    plan: Plan,
    notes: Mapping[str, str] | None = None,
    refused: Mapping[str, str] | None = None,
    ages: Mapping[str, int] | None = None,
) -> str:
    """The plan as a table for people: one line a layer, `cached` or `build`. `notes` say where a cached
    layer is, by key, `refused` why a layer that a registry has is not used, `ages` how many days ago one was made."""
    lines = [
        f"stack         {' '.join(plan.recipe.stack.all_names)}",
        f"architecture  {plan.recipe.architecture}",
    ]
    lines.append(f"epoch         {plan.epoch}{_of_which_layers(plan)}")
    on_host = [flavour for flavour in plan.recipe.stack.flavours if flavour.host_phases]
    for title, flavour in zip(["host hooks", *[""] * len(on_host)], on_host, strict=False):
        lines.append(f"{title:12}  {flavour.name}: {', '.join(flavour.host_phases)}, on this machine")
    lines.append("")
    rows = [(plan.base_key, "cached" if plan.base_held else "build", f"base {plan.base_name}")]
    for number, planned in enumerate(plan.steps):
        state = "cached" if number < plan.resume else "build"
        local = "  (local)" if planned.step.local else ""
        dated = ""
        if plan.chooses_packages and (reason := plan.why_dated(planned)):
            days = (ages or {}).get(planned.key) if state == "cached" else None
            dated = f"  ({dated_note(reason, days)})"
        rows.append((planned.key, state, planned.step.title + local + dated))
    for key, state, title in rows:
        note = (notes or {}).get(key) if state == "cached" else None
        lines.append(f"{key[:12]}  {state:6}  {title}" + (f"  ({note})" if note else ""))
        if state == "build" and refused and key in refused:
            lines.append(f"{'':22}{said_once(refused[key], lines)}")
    run = len(plan.to_run) + (not plan.base_held)
    lines += ["", f"{counted(len(rows), 'layer')}: {len(rows) - run} cached, {run} to build"]
    return "\n".join(lines)
