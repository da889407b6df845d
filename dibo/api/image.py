"""The layers of a stack, as an image in the engine's store or in a registry."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dibo.api.documents import CommandAnswer, new_document
from dibo.api.session import Session, new_session, stack_of
from dibo.api.values import BuildResult
from dibo.boot.keep import LIMIT, is_wanted
from dibo.build.engine import Root
from dibo.cache import push_image
from dibo.cache.lookup import Caches
from dibo.cache.push_index import PushedImage, push_index
from dibo.disk.boot_preparation import boot_templates
from dibo.errors import EngineError, RootNotBootable, ToolMissing, UsageError
from dibo.flavours.loader import load_wishes
from dibo.flavours.stack import Stack
from dibo.images.image import Image
from dibo.images.layers.limits import Limits
from dibo.images.layers.load import LoadOptions, load
from dibo.images.layers.spool import Spool
from dibo.images.reference import ImageName, parse_image_name
from dibo.kits.choose import KIT_FLAVOUR, KitRequest, choose_kit, kit_directory
from dibo.kits.layer import check_kit_output, save_kit, write_layer
from dibo.kits.make import KitSpec, make_kit
from dibo.kits.push import push_kit
from dibo.ramdisk.source import ContentReader
from dibo.settings.settings import DEFAULT_BASE, Settings
from dibo.system.report import History, Report
from dibo.system.summary import summary_fields
from dibo.trust.policy import trust_of
from dibo.units import human_size


def image_answer(name: str, history: History) -> CommandAnswer:
    return CommandAnswer(text=name, document=new_document("build", image=name, **summary_fields(history)))


def build(settings: Settings, report: Report, *, tag: str | None) -> str:
    """The name of the image that was built."""
    return str(build_image(settings, report, tag=tag).image)


def build_image(settings: Settings, report: Report, *, tag: str | None) -> BuildResult:
    """Have the image in the engine's store, under its key and as `tag`. Raises UsageError for what is no tag."""
    _check_tag(tag)
    with new_session(settings, report) as session:
        job = session.job(stack_of(settings, session.run))
        session.build(job)
        key = job.plan.image_key
        if tag is not None:
            session.engine.tag(key, tag)
        return BuildResult(key=key, image=tag or session.engine.reference(key))


def _check_tag(tag: str | None) -> None:
    """Refuse before a build what no engine takes after it. Raises UsageError."""
    if tag is None:
        return
    try:
        name = parse_image_name(tag)
    except UsageError as error:
        raise UsageError(
            f"--tag: {error.message}", hint="such as localhost/web, or localhost/web:1"
        ) from error
    if name.digest is not None or "://" in tag:
        raise UsageError(f"--tag: expected a name, such as localhost/web:1, got {tag!r}")


def build_and_push(
    settings: Settings, report: Report, *, tag: str | None, push: str, include_local: bool
) -> str:
    """The name and digest of the image in its registry."""
    return str(push_built(settings, report, tag=tag, push=push, include_local=include_local).image)


def push_built(
    settings: Settings, report: Report, *, tag: str | None, push: str, include_local: bool
) -> BuildResult:
    """Have the image in its registry. One that a cache has whole is pushed from there, without an engine."""
    _check_tag(tag)
    name = push_image.target(push)
    key, pushed = _push(settings, report, tag=tag, name=name, include_local=include_local)
    return BuildResult(key=key, image=f"{name}@{pushed.digest}")


def build_and_push_index(
    settings: Sequence[Settings], report: Report, *, push: str, include_local: bool, join: bool
) -> str:
    """The name and digest of an index in its registry, of one image for each of the `settings`. With `join`, it keeps
    what the name has for other architectures."""
    name = push_image.target(push)
    repository = ImageName(host=name.host, repository=name.repository)
    images = []
    for of_one in settings:
        _, pushed = _push(of_one, report, tag=None, name=repository, include_local=include_local)
        images.append(pushed)
    digest = push_index(name, images, join=join, trust=trust_of(settings[0]))
    return f"{name}@{digest}"


def _push(
    settings: Settings, report: Report, *, tag: str | None, name: ImageName, include_local: bool
) -> tuple[str, PushedImage]:
    """The key of the image, and what the registry has. Without a tag in `name` it is stored under its digest alone."""
    with new_session(settings, report) as session:
        job = session.job(stack_of(settings, session.run))
        if not include_local:
            push_image.refuse_local(job)
        caches = session.caches or Caches(())
        key = job.plan.image_key
        in_engine = tag is not None or key in session.held or caches.find(key) is None
        if in_engine:
            session.build(job)
        if tag is not None:
            session.engine.tag(key, tag)
        source = push_image.PushSource(
            caches=caches,
            store=session.engine.store(architecture=settings.architecture) if in_engine else None,
        )
        pushed = push_image.push(
            job, name, source=source, include_local=include_local, run=session.run, report=report
        )
        return key, pushed


_BASE: Final = "debian"
_PROFILE: Final = "cloud"


@dataclass(frozen=True, slots=True, kw_only=True)
class KitBuild:
    """The options of `dibo build --kit`."""

    profile: str
    flavours: tuple[str, ...] = ()
    """More of them, such as one that brings drivers."""
    output: Path | None = None
    push: ImageName | None = None


def build_kit(settings: Settings, report: Report, build: KitBuild) -> CommandAnswer:
    """Build the layers of the kit and the kit; its reference, as `dibo convert --kit` takes it."""
    output = build.output
    if output is None and build.push is None:
        settings.cache.mkdir(parents=True, exist_ok=True)
        output = kit_directory(settings)
    if output is not None:
        check_kit_output(output)
    references: list[str] = []
    with new_session(_settings_of(settings, build), report) as session:
        stack = stack_of(session.settings, session.run)
        _check_flavours(stack)

        def make(root: Root) -> tuple[Path, ...]:
            with tempfile.TemporaryDirectory(dir=session.run.directory) as directory:
                image = _make(root, session, stack, build, Path(directory) / "layer")
                if output is not None:
                    save_kit(image, output)
                    references.append(f"oci:{output}")
                if build.push is not None:
                    with report.task(f"push {build.push}"):
                        digest = push_kit(image, build.push, trust_of(settings))
                    references.append(f"{build.push}@{digest}")
            return ()

        session.with_root(session.job(stack), make)
    return CommandAnswer(text=references[-1], document=new_document("build", image=references[-1]))


def _check_flavours(stack: Stack) -> None:
    """Raises UsageError for a flavour that makes disks boot in another way than a kit does."""
    for flavour in stack.flavours:
        if flavour.disk is not None and flavour.name != KIT_FLAVOUR:
            raise UsageError(
                f"the flavour {flavour.name} lays out disks, and a kit does so itself",
                hint="leave it out, or build a whole root with it: dibo build FLAVOUR …",
            )


def _settings_of(settings: Settings, build: KitBuild) -> Settings:
    named = settings.base != DEFAULT_BASE or settings.environment.get("DIBO_BASE")
    return replace(
        settings,
        base=settings.base if named else _BASE,
        flavours=(KIT_FLAVOUR, *build.flavours),
        environment={**settings.environment, "DIBO_KIT_PROFILE": build.profile},
    )


def _make(root: Root, session: Session, stack: Stack, build: KitBuild, path: Path) -> Image:
    settings, report = session.settings, session.report
    spec = KitSpec(
        profile=build.profile,
        architecture=settings.architecture,
        requests=tuple(load_wishes(flavour) for flavour in stack.flavours),
        templates=boot_templates(),
        options=settings.converter_options,
        epoch=settings.source_date_epoch,
    )
    with report.task("kit") as task, tempfile.TemporaryFile(dir=session.run.directory) as file:
        spool = Spool(file)
        options = LoadOptions(
            limits=Limits(kept_bytes=LIMIT),
            keep=is_wanted,
            clamp=spec.epoch,
            progress=report.progress,
        )
        tree = load(root.layers, spool, options)
        kit = make_kit(tree.root, spec, ContentReader(spool))
        image = write_layer(kit, spool, path, epoch=spec.epoch)
        task.note(f"Linux {kit.manifest.kernel}, {human_size(image.layers[0].size or 0)}")
    return image


def build_missing_kit(
    settings: Settings, request: KitRequest, error: RootNotBootable, report: Report
) -> KitRequest:
    """As choose_kit, and where there is none, build it. Raises RootNotBootable where no engine can."""
    try:
        return choose_kit(settings, request, error, report)
    except RootNotBootable as missing:
        report.say(f"{error.message}; building a kit that brings one")
        try:
            build_kit(settings, report, KitBuild(profile=_PROFILE))
        except (ToolMissing, EngineError) as reason:
            raise RootNotBootable(
                error.message, hint=f"no engine can build a kit here: {reason.message}\n{missing.hint}"
            ) from reason
        return choose_kit(settings, request, error, report)
