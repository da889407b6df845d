"""What would be built, as a table, as JSON or as a Containerfile; and what the disk would look like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from dibo.api.documents import CommandAnswer, Document, new_document
from dibo.api.session import new_session, stack_of
from dibo.build import containerfile as rendering
from dibo.disk import layout_choice
from dibo.disk.request import check_filesystem
from dibo.flavours.lint import lint
from dibo.plan.plan import Plan, describe
from dibo.settings.settings import Settings
from dibo.system.report import Report


def show_plan(settings: Settings, report: Report, *, containerfile: Path | None) -> CommandAnswer:
    """The plan. With `containerfile`, a directory, also as a Containerfile there."""
    with new_session(settings, report) as session:
        job = session.job(stack_of(settings, session.run))
        if containerfile is not None:
            rendering.write(job, session.held, target=containerfile, report=report)
        places, refused = session.places(job), session.refused(job)
        warnings = lint(job.plan.recipe.stack, settings.environment.get)
        document = plan_document(job.plan, places, refused) | {"warnings": list(warnings)}
        return CommandAnswer(text=describe(job.plan, session.notes(job), refused), document=document)


def plan_document(plan: Plan, places: Mapping[str, str], refused: Mapping[str, str]) -> Document:
    """The layers of a plan. `places` and `refused` are of layers in registries, by key."""
    layers = [
        {
            "key": plan.base_key,
            "held": plan.base_held,
            "cache": places.get(plan.base_key),
            "refused": refused.get(plan.base_key),
            "local": False,
            "title": f"base {plan.base_name}",
            "ingredients": json.loads(plan.base_ingredients),
        }
    ]
    for number, planned in enumerate(plan.steps):
        layers.append(
            {
                "key": planned.key,
                "held": number < plan.resume,
                "cache": places.get(planned.key),
                "refused": refused.get(planned.key),
                "local": planned.step.local,
                "title": planned.step.title,
                "ingredients": json.loads(planned.ingredients),
            }
        )
    return new_document("plan", stack=list(plan.recipe.stack.names), epoch=plan.epoch, layers=layers)


def draw_layout(settings: Settings, *, layout_file: Path | None) -> str:
    """The disk of a stack, or of a file, as a table. Nothing is built, no engine is asked, no hook is run."""
    statement = None
    if layout_file is None:
        statement = stack_of(settings).disk
    layout = layout_choice.chosen(statement, layout_file)
    check_filesystem(layout, settings.filesystem, set_by=settings.filesystem_set_by)
    size, set_by = layout_choice.start_size(layout, size=settings.image_size, set_by=settings.size_set_by)
    return layout_choice.table(
        layout_choice.settled(layout, set_by=set_by),
        size=size,
        set_by=set_by,
        filesystem=settings.filesystem,
        architecture=settings.architecture,
        loop=settings.loop,
    )
