"""From an image to disks: any pushed root to any artefact, with no engine.

Nothing of the image is unpacked, no program is started: boot files that the root lacks are made of what it has
(dibo.disk.prepare_root). Where that cannot be, and the user asks for it, one step of an engine on top of the image
makes them (the flavour `boot-files`), and the result is converted.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dibo.api.session import open_session
from dibo.artefacts import manifest
from dibo.artefacts.converter import Converters
from dibo.build import build as spine
from dibo.build.engine import Root
from dibo.build.engines.choose import sweepers
from dibo.disk import convert as converting
from dibo.disk import layout_choice
from dibo.disk.request import Order, check_order
from dibo.errors import (
    EngineError,
    ImageTooSmall,
    LayoutError,
    OutputError,
    RootNotBootable,
    SignatureError,
    ToolMissing,
)
from dibo.flavours.epoch import start_of
from dibo.flavours.loader import read_layout
from dibo.images.image import Image
from dibo.images.layers.limits import Limits
from dibo.images.layout_writer import save_layout
from dibo.images.sources.choose import choose_image, registry_name
from dibo.layout.merge import complete, parse_layout
from dibo.layout.model import Layout
from dibo.plan.keys import INGREDIENTS_LABEL, KEY_LABEL, LAYOUT_LABEL
from dibo.settings.settings import Settings
from dibo.system import resources
from dibo.system.report import Report
from dibo.system.workspace import Run, Workspace
from dibo.trust.images import verify_image
from dibo.trust.policy import trust_of
from dibo.units import GIB, human_size, parse_gib

_FLAVOUR = "vm"  # whose layout a root gets that nobody gave one


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What is wanted of an image, besides what every artefact has."""

    reference: str
    layout_file: Path | None
    bare: bool
    prepare: bool
    """Whether an engine may run programs of the image to make boot files."""
    checksums: bool
    limits: Limits


def convert(decided: Settings, wanted: Conversion, report: Report) -> tuple[Path, ...]:
    """Make the artefacts; their paths."""
    with (
        _workspace(decided) as workspace,
        workspace.run(sweepers=sweepers()) as each_run,
        choose_image(
            wanted.reference, architecture=decided.architecture, scratch=each_run.subdirectory("source")
        ) as image,
    ):
        _verify_signature(decided, wanted.reference, image)
        order = _order(decided, image, limits=wanted.limits, checksums=wanted.checksums)
        if not wanted.bare:
            order = _laid_out(order, *_layout(wanted.layout_file, image, decided))
        check_order(order)
        order = replace(order, about=_about(image, order, wanted.layout_file))
        root = Root(name=image.name, layers=image.layers, built=_is_ours(image))
        try:
            made = _convert(root, order, run=each_run, report=report)
        except RootNotBootable as error:
            if not (wanted.prepare and error.preparable):
                raise
            made = _prepare_and_convert(
                image, decided, order, error, workspace=workspace, run=each_run, report=report
            )
    return made


def _verify_signature(decided: Settings, reference: str, image: Image) -> None:
    """Raises SignatureError for an image that is not signed by a key that the user trusts, where one is named."""
    if decided.policy is None and not decided.verify_keys:
        return
    name = registry_name(reference)
    if name is not None:
        verify_image(trust_of(decided), name, image.digest, architecture=decided.architecture)
    elif decided.policy is None:
        raise SignatureError(
            f"the signature of {reference} cannot be checked: signatures are kept in registries",
            hint="convert it from its registry, or leave --verify-key (DIBO_VERIFY_KEYS) out",
        )


@contextlib.contextmanager
def _workspace(decided: Settings) -> Iterator[Workspace]:
    """The cache; where there can be none and nobody asked for it, a directory beside the output, which goes again: a
    container may give its id no home, and let it write nowhere else."""
    with contextlib.ExitStack() as stack:
        try:
            workspace = Workspace(decided.cache)
        except OutputError:
            if decided.cache_named:
                raise
            beside = decided.output.absolute().parent
            try:
                place = stack.enter_context(tempfile.TemporaryDirectory(prefix=".dibo-", dir=beside))
            except OSError as error:
                raise OutputError(f"cannot write to {beside}: {error.strerror}") from error
            workspace = Workspace(Path(place))
        yield workspace


def limits(*, entries: int | None, size: str | None, ratio: int | None) -> Limits:
    """What a root may hold at most; None for as much as usual. `size` is in GB. Raises UsageError."""
    given = {name: value for name, value in (("entries", entries), ("ratio", ratio)) if value is not None}
    if size is not None:
        given["image_bytes"] = parse_gib(size)
        given["layer_bytes"] = given["image_bytes"]
    return replace(Limits(), **given)


def _order(decided: Settings, image: Image, *, limits: Limits, checksums: bool) -> Order:
    converters = Converters((*decided.converters_path, resources.shared("converters")))
    architecture = image.architecture or decided.architecture
    epoch, clamp = _epoch(decided, image)
    return Order(
        output=decided.output,
        converters=tuple(converters.get(kind) for kind in decided.types),
        layout=None,
        filesystem=decided.filesystem,
        image_size=decided.image_size,
        size_set_by=decided.size_set_by,
        identity=_labels(image).get(KEY_LABEL, image.digest),
        architecture=architecture,
        epoch=epoch,
        clamp=clamp,
        options={name: value for name, value in decided.environment.items() if name.startswith("DIBO_")},
        limits=limits,
        checksums=checksums,
        loop=decided.loop,
    )


def _laid_out(order: Order, layout: Layout, given: bool) -> Order:
    size, set_by = layout_choice.start_size(layout, size=order.image_size, set_by=order.size_set_by)
    return replace(
        order,
        layout=layout_choice.settled(layout, set_by=set_by),
        layout_given=given,
        image_size=size,
        size_set_by=set_by,
    )


def _layout(path: Path | None, image: Image, decided: Settings) -> tuple[Layout, bool]:
    """That of the file, else the one that the image brings along, else that of the flavour `vm`; and whether it is for
    this image. Raises LayoutError."""
    if path is not None:
        return complete(read_layout(path)), True
    said = _labels(image).get(LAYOUT_LABEL)
    if said is not None:
        try:
            return parse_layout(json.loads(said), origin=image.name), True
        except (ValueError, RecursionError) as error:
            raise LayoutError(
                f"the layout that {image.name} brings along is not JSON: {error}",
                hint="say how the disk is laid out: --layout FILE",
            ) from error
    found = spine.catalogue(decided).get(_FLAVOUR).disk
    assert found is not None
    return complete(found), False


def _about(image: Image, order: Order, layout: Path | None) -> Mapping[str, Any]:
    diff_ids = [layer.diff_id for layer in image.layers]
    key = _labels(image).get(KEY_LABEL)
    about = manifest.of_image(image.name, image.digest, diff_ids=diff_ids, key=key, order=order)
    return about | manifest.of_disk(order, layout)


def _labels(image: Image) -> Mapping[str, str]:
    config = image.config.get("config")
    labels = config.get("Labels") if isinstance(config, dict) else None
    return {str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {}


def _is_ours(image: Image) -> bool:
    return KEY_LABEL in _labels(image)


def _epoch(decided: Settings, image: Image) -> tuple[int, bool]:
    """The time of the artefact, in seconds since 1970, and whether later times in the root become it.

    SOURCE_DATE_EPOCH when the user set it; for an image that dibo built, what its epoch stands for, as in the build;
    for others the time when they were made, and then times in the root stay as they are.
    """
    if decided.environment.get("SOURCE_DATE_EPOCH"):
        return decided.source_date_epoch, True
    with contextlib.suppress(ValueError, TypeError):
        ingredients: Any = json.loads(_labels(image).get(INGREDIENTS_LABEL, ""))
        if (epoch := start_of(str(ingredients["epoch"]))) is not None:
            return epoch, True
    with contextlib.suppress(ValueError):
        created = datetime.fromisoformat(str(image.config.get("created", ""))[:19] + "+00:00")
        return max(0, int(created.timestamp())), False
    return 0, False


def _convert(root: Root, order: Order, *, run: Run, report: Report) -> tuple[Path, ...]:
    """Where nobody set a size, the disk becomes as large as the root needs: that is known when it was read once."""
    try:
        return converting.convert(root, order, run=run, report=report)
    except ImageTooSmall as error:
        if order.size_set_by != "dibo's default" or not error.enough:
            raise
        size = math.ceil(error.enough / GIB) * GIB
        report.say(f"{human_size(order.image_size)} are not enough; again with {human_size(size)}")
        return converting.convert(root, replace(order, image_size=size), run=run, report=report)


def _prepare_and_convert(
    image: Image,
    decided: Settings,
    order: Order,
    error: RootNotBootable,
    *,
    workspace: Workspace,
    run: Run,
    report: Report,
) -> tuple[Path, ...]:
    """One more layer with the boot files, made by an engine, and the conversion of that."""
    report.say(f"{error.message}; making them in a step on top")
    layout = run.subdirectory("image")
    save_layout(image, layout)
    wanted = replace(
        decided,
        base=f"oci:{layout}",
        flavours=("boot-files",),
        architecture=order.architecture,
    )
    with contextlib.ExitStack() as stack:
        try:
            session = stack.enter_context(open_session(wanted, report, workspace=workspace, run=run))
            session.engine.check()
            job = session.job()
            session.build(job)
        except (ToolMissing, EngineError) as missing:
            raise RootNotBootable(
                error.message, hint=f"no engine can prepare them here: {missing.message}\n{error.hint}"
            ) from missing
        if order.about is not None:
            order = replace(order, about=manifest.of_prepared(order.about, job))
        with session.engine.root(job.plan.image_key, architecture=order.architecture) as root:
            return _convert(root, order, run=run, report=report)
