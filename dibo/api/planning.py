"""What would be built, as a table, as JSON or as a Containerfile; and what the disk would look like."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from dibo.api.documents import CommandAnswer, Document, new_document
from dibo.api.session import Session, new_session, stack_of
from dibo.api.values import BuildPlan, LayerPlan
from dibo.build import containerfile as rendering
from dibo.build.build import Job
from dibo.disk import layout_choice, layout_of_stack
from dibo.disk.layout_choice import GivenLayout
from dibo.disk.request import check_filesystem
from dibo.flavours.lint import lint
from dibo.plan.plan import Plan, describe
from dibo.settings.settings import Settings
from dibo.system.report import Report

_DAY: Final = 24 * 3600


def show_plan(settings: Settings, report: Report, *, containerfile: Path | None) -> CommandAnswer:
    """The plan. With `containerfile`, a directory, also as a Containerfile there."""
    with new_session(settings, report) as session:
        job = session.job(stack_of(settings, session.run))
        if containerfile is not None:
            rendering.write(job, session.held, target=containerfile, run=session.run, report=report)
        text = describe(job.plan, session.notes(job), session.refused(job), _ages(session, job.plan))
        return CommandAnswer(text=text, document=plan_document(build_plan(session, job)))


def _ages(session: Session, plan: Plan) -> dict[str, int]:
    """How many days ago each layer in the engine's store was made."""
    now = time.time()
    return {key: max(0, int(now - session.held[key]) // _DAY) for key in plan.keys if key in session.held}


def make_build_plan(settings: Settings, report: Report) -> BuildPlan:
    """The plan as a value."""
    with new_session(settings, report) as session:
        return build_plan(session, session.job(stack_of(settings, session.run)))


def build_plan(session: Session, job: Job) -> BuildPlan:
    """What a session knows of the layers of a job."""
    warnings = lint(job.plan.recipe.stack, session.settings.environment.get)
    plan = layer_plans(job.plan, session.places(job), session.refused(job), warnings)
    ages = _ages(session, job.plan)
    return replace(plan, layers=tuple(replace(layer, age=ages.get(layer.key)) for layer in plan.layers))


def layer_plans(
    plan: Plan, places: Mapping[str, str], refused: Mapping[str, str], warnings: Iterable[str] = ()
) -> BuildPlan:
    """The layers of a plan. `places` and `refused` are of layers in registries, by key."""

    def layer(
        key: str, title: str, ingredients: str, *, held: bool, local: bool, dated: str = ""
    ) -> LayerPlan:
        document = json.loads(ingredients)
        return LayerPlan(
            key=key,
            title=title,
            held=held,
            cache=places.get(key),
            refused=refused.get(key),
            local=local,
            epoch=document.get("epoch"),
            dated=dated or None,
            ingredients=document,
        )

    base = layer(
        plan.base_key, f"base {plan.base_name}", plan.base_ingredients, held=plan.base_held, local=False
    )
    steps = (
        layer(
            planned.key,
            planned.step.title,
            planned.ingredients,
            held=number < plan.resume,
            local=planned.step.local,
            dated=plan.why_dated(planned),
        )
        for number, planned in enumerate(plan.steps)
    )
    return BuildPlan(
        stack=plan.recipe.stack.names,
        architecture=plan.recipe.architecture,
        epoch=plan.epoch,
        layers=(base, *steps),
        warnings=tuple(warnings),
    )


def plan_document(plan: BuildPlan) -> Document:
    """The same as a document of the schema."""
    layers = [
        {
            "key": layer.key,
            "held": layer.held,
            "cache": layer.cache,
            "refused": layer.refused,
            "local": layer.local,
            "epoch": layer.epoch,
            "dated": layer.dated,
            "age": layer.age,
            "title": layer.title,
            "ingredients": layer.ingredients,
        }
        for layer in plan.layers
    ]
    return new_document(
        "plan", stack=list(plan.stack), epoch=plan.epoch, layers=layers, warnings=list(plan.warnings)
    )


def draw_layout(settings: Settings, *, layout_file: GivenLayout | None) -> str:
    """The disk of a stack, or of a file, as a table. Nothing is built, no engine is asked, no hook is run."""
    bare = layout_of_stack.Bare()
    if layout_file is None:
        stack = stack_of(settings)
        layout = layout_of_stack.chosen_for(stack, None)
        bare = layout_of_stack.bare_for(stack, set_by=settings.size_set_by)
    else:
        layout = layout_choice.chosen(None, layout_file)
    check_filesystem(layout, settings.filesystem, set_by=settings.filesystem_set_by)
    size, set_by = layout_choice.start_size(layout, size=settings.image_size, set_by=settings.size_set_by)
    settled = layout_choice.settled(layout, set_by=set_by)
    if settled is None:
        return layout_choice.bare_text(
            size=size, set_by=set_by, filesystem=settings.filesystem, fits=bare.headroom is not None
        )
    return layout_choice.table(
        settled,
        size=size,
        set_by=set_by,
        filesystem=settings.filesystem,
        architecture=settings.architecture,
        loop=settings.loop,
    )
