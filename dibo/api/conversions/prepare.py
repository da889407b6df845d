"""Boot files for an image that lacks them, made by an engine in one step on top of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dibo.api.session import open_session, stack_of
from dibo.artefacts import build_manifest
from dibo.build.engine import Setup
from dibo.disk.plan import DiskSource
from dibo.disk.request import DiskRequest
from dibo.errors import EngineError, RootNotBootable, ToolMissing
from dibo.images.image import Image
from dibo.images.layout_writer import save_layout
from dibo.settings.settings import Settings
from dibo.system.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """An image that lacks boot files, and why it needs them."""

    image: Image
    reason: RootNotBootable
    settings: Settings


@contextlib.contextmanager
def prepared_source(
    preparation: Preparation, request: DiskRequest, source: DiskSource, setup: Setup, workspace: Workspace
) -> Iterator[DiskSource]:
    """The image with one more layer, which has the boot files. Raises RootNotBootable where no engine works."""
    reason = preparation.reason
    setup.report.say(f"{reason.message}; making them in a step on top")
    layout = setup.run.subdirectory("image")
    save_layout(preparation.image, layout)
    settings = replace(
        preparation.settings,
        base=f"oci:{layout}",
        flavours=("boot-files",),
        architecture=request.architecture,
    )
    with contextlib.ExitStack() as stack:
        try:
            session = stack.enter_context(open_session(settings, setup, workspace=workspace))
            session.engine.check()
            job = session.job(stack_of(settings, setup.run))
            session.build(job)
        except (ToolMissing, EngineError) as missing:
            raise RootNotBootable(
                reason.message, hint=f"no engine can prepare them here: {missing.message}\n{reason.hint}"
            ) from missing
        root = stack.enter_context(session.engine.root(job.plan.image_key, architecture=request.architecture))
        assert source.manifest is not None
        yield DiskSource(
            root=root,
            identity=source.identity,
            epoch=source.epoch,
            clamp=source.clamp,
            manifest=build_manifest.of_prepared(source.manifest, job),
        )
