"""From flavours to disks: the layers of a stack, and of these disks and other artefacts."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dibo.api.session import new_session
from dibo.artefacts import manifest
from dibo.artefacts.converter import Converters
from dibo.build import build as spine
from dibo.build import host_hooks
from dibo.disk import layout_choice
from dibo.disk.convert import convert
from dibo.disk.request import Order, by_the_way_that_works, check_order, laid_out_by_hooks, needs_directory
from dibo.flavours.stack import make_stack
from dibo.settings.settings import Settings
from dibo.system import resources
from dibo.system.report import Report


def create(decided: Settings, report: Report, *, layout_file: Path | None) -> tuple[Path, ...]:
    """Make the artefacts; their paths."""
    converters = Converters((*decided.converters_path, resources.shared("converters")))
    wanted = tuple(converters.get(kind) for kind in decided.types)
    stack = make_stack(decided.flavours, spine.catalogue(decided).get, architecture=decided.architecture)
    variables = spine.host_environment(decided, stack)
    layout = layout_choice.chosen(stack.disk, layout_file)
    size, set_by = layout_choice.start_size(layout, size=decided.image_size, set_by=decided.size_set_by)
    size, set_by = host_hooks.image_size(
        stack, size=size, set_by=set_by, environment=variables, say=report.say
    )
    order = Order(
        output=decided.output,
        converters=wanted,
        layout=layout_choice.settled(layout, set_by=set_by),
        filesystem=decided.filesystem,
        image_size=size,
        size_set_by=set_by,
        identity="",
        architecture=decided.architecture,
        epoch=decided.source_date_epoch,
        options={name: value for name, value in decided.environment.items() if name.startswith("DIBO_")},
        loop=decided.loop,
    )
    check_order(order)
    with ExitStack() as undo:
        session = undo.enter_context(new_session(decided, report))
        order = by_the_way_that_works(order, directory=session.engine.gives_directory, say=report.say)
        laid_out = undo.enter_context(
            laid_out_by_hooks(order, stack, environment=variables, run=session.run, report=report)
        )
        job = session.job()
        about = manifest.of_build(job, command="disk-image-create", options=laid_out.options)
        about |= manifest.of_disk(laid_out, layout_file)
        order = replace(laid_out.for_image(job.plan.image_key), about=about)
        return session.with_root(
            job,
            lambda root: convert(root, order, run=session.run, report=report),
            needs_directory=needs_directory(order),
        )
