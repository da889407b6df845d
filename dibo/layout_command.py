"""What `dibo plan --layout` does: the disk of a stack as a table. Nothing is built, and no engine is asked."""

from __future__ import annotations

from pathlib import Path

from dibo import build as spine
from dibo import layouts
from dibo.commands import settings
from dibo.report import answer
from dibo.settings import Options
from dibo.stack import make_stack


def show(options: Options, *, layout_file: Path | None) -> int:
    """Hooks that set the size are not run."""
    decided = settings(options)
    said = None
    if layout_file is None:
        get = spine.catalogue(decided).get
        said = make_stack(decided.flavours, get, architecture=decided.architecture).disk
    layout = layouts.chosen(said, layout_file)
    size, set_by = layouts.start_size(layout, size=decided.image_size, set_by=decided.size_set_by)
    layout = layouts.settled(layout, set_by=set_by)
    answer(
        layouts.table(
            layout,
            size=size,
            set_by=set_by,
            filesystem=decided.filesystem,
            architecture=decided.architecture,
            loop=decided.loop,
        )
    )
    return 0
