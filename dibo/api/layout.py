"""What `dibo plan --layout` does: the disk of a stack as a table. Nothing is built, and no engine is asked."""

from __future__ import annotations

from pathlib import Path

from dibo.api.session import settings
from dibo.build import build as spine
from dibo.disk import layout_choice
from dibo.flavours.stack import make_stack
from dibo.settings.settings import Options
from dibo.system.report import answer


def show(options: Options, *, layout_file: Path | None) -> int:
    """Hooks that set the size are not run."""
    decided = settings(options)
    said = None
    if layout_file is None:
        get = spine.catalogue(decided).get
        said = make_stack(decided.flavours, get, architecture=decided.architecture).disk
    layout = layout_choice.chosen(said, layout_file)
    size, set_by = layout_choice.start_size(layout, size=decided.image_size, set_by=decided.size_set_by)
    layout = layout_choice.settled(layout, set_by=set_by)
    answer(
        layout_choice.table(
            layout,
            size=size,
            set_by=set_by,
            filesystem=decided.filesystem,
            architecture=decided.architecture,
            loop=decided.loop,
        )
    )
    return 0
