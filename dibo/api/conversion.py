"""From an image to disks: any pushed root to any artefact, with no engine.

Nothing of the image is unpacked, no program is started: boot files that the root lacks are made of what it has
(dibo.boot.prepare_root). Where that cannot be, and the user asks for it, one step of an engine on top of the image
makes them (the flavour `boot-files`), and the result is converted.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from dibo.api.conversions.opened import conversion_workspace, open_kit, open_trusted
from dibo.artefacts import manifest
from dibo.artefacts.checksums import sha256_of
from dibo.artefacts.converter import Converter, converters_of
from dibo.artefacts.provenance import provenance_request
from dibo.boot.options import loader_of, signer_of
from dibo.build.engine import Root, Setup
from dibo.build.engines.sweeping import sweepers
from dibo.disk import layout_choice
from dibo.disk.common import needs_boot_files
from dibo.disk.convert import convert as make_artefacts
from dibo.disk.layout_choice import GivenLayout
from dibo.disk.make import plan_disk
from dibo.disk.plan import DiskSource
from dibo.disk.request import (
    DiskRequest,
    check_filesystem,
    check_made_before,
    check_outputs,
    check_request,
    require_kit_type,
)
from dibo.errors import (
    ImageTooSmall,
    LayoutError,
    RootNotBootable,
    UsageError,
)
from dibo.flavours.epoch import start_of
from dibo.images.image import Image
from dibo.images.layers.limits import Limits
from dibo.kits.attach import Attachment, attach, is_kit
from dibo.kits.choose import KIT_FLAVOUR, KitRequest, choose_kit, with_state
from dibo.kits.summary import summary
from dibo.layout.merge import complete, parse_layout
from dibo.layout.model import Layout
from dibo.plan.labels import EPOCH_LABEL, INGREDIENTS_LABEL, KEY_LABEL, LAYOUT_LABEL
from dibo.settings.settings import DEFAULT_SIZE_SET_BY, Settings
from dibo.system import resources
from dibo.system.report import Report
from dibo.units import GIB, human_size

_FLAVOUR = "vm"  # whose layout a root gets that nobody gave one


def _as_it_is(image: Image) -> Image:
    return image


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertRequest:
    """The options of `dibo convert` that other commands do not have."""

    reference: str
    layout_file: GivenLayout | None
    bare: bool
    prepare: bool
    """Whether an engine may run programs of the image to make boot files."""
    checksums: bool
    limits: Limits
    loader: str = "auto"
    """The value of a BootLoader."""
    secure_boot_key: Path | None = None
    secure_boot_certificate: Path | None = None
    """What signs programs for UEFI that dibo makes; both or none."""
    kit: KitRequest = KitRequest()  # noqa: RUF009  frozen
    with_layers: Callable[[Image], Image] = _as_it_is
    """Gets each image that is opened; gives it with layers that are read in another way, to the same end."""


def convert(settings: Settings, conversion: ConvertRequest, report: Report) -> tuple[Path, ...]:
    """Make the artefacts; their paths."""
    converters = converters_of(settings)
    check_outputs(settings.output, converters)
    with (
        conversion_workspace(settings) as workspace,
        workspace.run(sweepers=sweepers()) as run,
        open_trusted(settings, conversion.reference, run.subdirectory("source")) as original,
    ):
        image = conversion.with_layers(original)
        report.history.image = (
            f"{image.name}@{image.manifest_digest}" if image.manifest_digest else image.name
        )
        setup = Setup(run=run, report=report)
        if conversion.kit.reference is not None:
            return _with_kit(settings, conversion, image, setup)
        request = _request(settings, conversion, converters, image)
        check_request(request)
        if is_kit(image) and needs_boot_files(request):
            report.warn(
                f"{image.name} is a kit, which runs nothing by itself: name it with --kit, beside an image"
            )
        source = _source(settings, conversion, request, image)
        try:
            return _make(request, source, setup)
        except RootNotBootable as error:
            if conversion.prepare and error.preparable:
                from dibo.api.conversions.prepare import Preparation, prepared_source

                preparation = Preparation(image=image, reason=error, settings=settings)
                with prepared_source(preparation, request, source, setup, workspace) as prepared:
                    return _make(request, prepared, setup)
            if not error.lacks_kernel:
                raise
            choose = _build_missing_kit if conversion.prepare else choose_kit
            chosen = choose(settings, conversion.kit, error, report)
            return _with_kit(settings, replace(conversion, kit=chosen), image, setup)


def _with_kit(settings: Settings, conversion: ConvertRequest, image: Image, setup: Setup) -> tuple[Path, ...]:
    """Artefacts of the image with a kit on it."""
    reference = conversion.kit.reference
    assert reference is not None
    directory = setup.run.subdirectory("kit")
    with open_kit(settings, reference, directory, architecture=image.architecture) as kit:
        kit = conversion.with_layers(kit)
        attachment = attach(image, kit, own_init=conversion.kit.own_init, restart=conversion.kit.restart)
        request = _request(settings, conversion, converters_of(settings), image, attachment)
        require_kit_type(request)
        check_made_before(request, f"the kit {kit.name}", setup.report)
        check_request(request)
        with setup.report.task("kit") as task:
            task.note(summary(attachment, request.limits))
        source = _source(settings, conversion, request, image, attachment)
        return _make_planned(request, source, setup)


def _build_missing_kit(
    settings: Settings, request: KitRequest, error: RootNotBootable, report: Report
) -> KitRequest:
    from dibo.api.image import build_missing_kit

    return build_missing_kit(settings, request, error, report)


def _full_name(image: Image) -> str:
    """With the digest of its manifest, where that is known."""
    known = image.manifest_digest and "@" not in image.name
    return f"{image.name}@{image.manifest_digest}" if known else image.name


def limits(*, entries: int | None, size: int | None, ratio: int | None) -> Limits:
    """What a root may hold at most; None for as much as usual. `size` is in bytes. Raises UsageError."""
    given = {name: value for name, value in (("entries", entries), ("ratio", ratio)) if value is not None}
    for name, value in given.items():
        if value < 1:
            raise UsageError(f"max_{name}: expected a number from 1 on, got {value}")
    if size is not None:
        given["image_bytes"] = given["layer_bytes"] = size
    return replace(Limits(), **given)


def _request(
    settings: Settings,
    conversion: ConvertRequest,
    converters: tuple[Converter, ...],
    image: Image,
    attachment: Attachment | None = None,
) -> DiskRequest:
    """What is wished for, by options, variables, the image, and the kit on it."""
    fallback = _FLAVOUR if attachment is None else KIT_FLAVOUR
    layout, given = (
        (None, True) if conversion.bare else _layout(conversion.layout_file, image, settings, fallback)
    )
    if attachment is not None and layout is not None and conversion.layout_file is None:
        layout = with_state(layout, attachment)
    check_filesystem(layout, settings.filesystem, set_by=settings.filesystem_set_by)
    size, set_by = layout_choice.start_size(layout, size=settings.image_size, set_by=settings.size_set_by)
    return DiskRequest(
        output=settings.output,
        converters=converters,
        layout=layout_choice.settled(layout, set_by=set_by),
        layout_given=given,
        layout_of_a_file=conversion.layout_file is not None,
        filesystem=settings.filesystem,
        size=size,
        size_set_by=set_by,
        architecture=image.architecture or settings.architecture,
        options=settings.converter_options,
        limits=conversion.limits,
        checksums=conversion.checksums,
        loop=settings.loop,
        provenance=provenance_request(settings),
        loader=loader_of(conversion.loader),
        sign=signer_of(conversion.secure_boot_key, conversion.secure_boot_certificate),
    )


def _source(
    settings: Settings,
    conversion: ConvertRequest,
    request: DiskRequest,
    image: Image,
    attachment: Attachment | None = None,
) -> DiskSource:
    epoch, clamp = _epoch(settings, image)
    key = _labels(image).get(KEY_LABEL)
    document = manifest.of_image(
        image,
        key=key,
        architecture=request.architecture,
        time=epoch if clamp else None,
        options=request.options,
    )
    document |= manifest.of_disk(
        size=request.size,
        size_set_by=request.size_set_by,
        filesystem=request.filesystem,
        layout=request.layout,
        layout_of_a_file=request.layout_of_a_file,
        loop=request.loop,
    )
    document |= _conversion(conversion)
    layers, identity = image.layers, key if key is not None else image.digest
    if attachment is not None:
        document |= manifest.of_kit(attachment.kit)
        layers, identity = attachment.layers, attachment.identity
    return DiskSource(
        root=Root(name=image.name, layers=layers, built=_is_ours(image)),
        identity=identity,
        epoch=epoch,
        clamp=clamp,
        manifest=document,
        attachment=attachment,
    )


def _conversion(conversion: ConvertRequest) -> manifest.Document:
    """What else decides on what is made. Of the certificate of Secure Boot, its digest."""
    options: manifest.Document = {
        "boot-loader": conversion.loader,
        "init": conversion.kit.own_init,
        "restart": conversion.kit.restart,
    }
    if conversion.secure_boot_certificate is not None:
        options["secure-boot-certificate"] = f"sha256:{sha256_of(conversion.secure_boot_certificate)}"
    return {"conversion": options}


def _layout(
    layout: GivenLayout | None, image: Image, settings: Settings, fallback: str = _FLAVOUR
) -> tuple[Layout, bool]:
    """That which is given, else the one that the image brings along, else that of the flavour `fallback`; and whether
    it is for this image. Raises LayoutError."""
    given = layout_choice.chosen(None, layout)
    if given is not None:
        return given, True
    label = _labels(image).get(LAYOUT_LABEL)
    if label is not None:
        try:
            return parse_layout(json.loads(label), origin=image.name), True
        except (ValueError, RecursionError) as error:
            raise LayoutError(
                f"the layout that {image.name} brings along is not JSON: {error}",
                hint="say how the disk is laid out: --layout FILE",
            ) from error
    from dibo.flavours.loader import Catalogue

    statement = Catalogue((*settings.flavours_path, resources.shared("flavours"))).get(fallback).disk
    assert statement is not None
    return complete(statement), False


def _labels(image: Image) -> Mapping[str, str]:
    config = image.config.get("config")
    labels = config.get("Labels") if isinstance(config, dict) else None
    return {str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {}


def _is_ours(image: Image) -> bool:
    """Whether dibo built it, or it is built on what dibo built."""
    return KEY_LABEL in _labels(image)


def _epoch(settings: Settings, image: Image) -> tuple[int, bool]:
    """The time of the artefact, in seconds since 1970, and whether later times in the root become it.

    SOURCE_DATE_EPOCH when the user set it; for an image that dibo built, what its epoch stands for, as in the build;
    for others the time when they were made, and then times in the root stay as they are.
    """
    if settings.environment.get("SOURCE_DATE_EPOCH"):
        return settings.source_date_epoch, True
    if (epoch := _epoch_of_build(_labels(image))) is not None:
        return epoch, True
    with contextlib.suppress(ValueError):
        created = datetime.fromisoformat(str(image.config.get("created", ""))[:19] + "+00:00")
        return max(0, int(created.timestamp())), False
    return 0, False


def _epoch_of_build(labels: Mapping[str, str]) -> int | None:
    """What the epoch of an image that dibo built stands for; older images have it in the ingredients alone."""
    name = labels.get(EPOCH_LABEL, "")
    if not name:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            name = str(json.loads(labels.get(INGREDIENTS_LABEL, ""))["epoch"])
    with contextlib.suppress(ValueError):
        return start_of(name)
    return None


def _make(request: DiskRequest, source: DiskSource, setup: Setup) -> tuple[Path, ...]:
    """Make the artefacts, and before that boot files, where the root lacks them."""
    if not needs_boot_files(request):
        return _make_planned(request, source, setup)
    from dibo.disk.survey import with_boot_files

    if not source.root.built or not request.may_end_early:
        request, source = with_boot_files(request, source, setup.report, early=True)
    if source.prepared is not None:
        return _make_planned(request, source, setup)
    try:
        return _make_planned(request, source, setup)
    except RootNotBootable as error:
        if error.of_type:
            raise
        # it was not as usual after all
        request, source = with_boot_files(request, source, setup.report, early=False)
        if source.prepared is None:
            raise
        return _make_planned(request, source, setup)


def _make_planned(request: DiskRequest, source: DiskSource, setup: Setup) -> tuple[Path, ...]:
    """Make the artefacts. Without a set size, the disk becomes as large as the root needs; the root is read once more
    to find out."""
    plan = plan_disk(request, source, setup)
    try:
        return make_artefacts(plan, setup)
    except ImageTooSmall as error:
        if plan.size_set_by != DEFAULT_SIZE_SET_BY or not error.enough:
            raise
        size = math.ceil(error.enough / GIB) * GIB
        setup.report.say(f"{human_size(plan.size)} are not enough; again with {human_size(size)}")
        return make_artefacts(replace(plan, size=size), setup)
