"""The layers of a stack, as an image in the engine's store or in a registry."""

from __future__ import annotations

from collections.abc import Sequence

from dibo.api.documents import CommandAnswer, new_document
from dibo.api.session import new_session, stack_of
from dibo.api.values import BuildResult
from dibo.cache import push_image
from dibo.cache.lookup import Caches
from dibo.cache.push_index import PushedImage, push_index
from dibo.images.reference import ImageName
from dibo.settings.settings import Settings
from dibo.system.report import History, Report
from dibo.system.summary import summary_fields
from dibo.trust.policy import trust_of


def image_answer(name: str, history: History) -> CommandAnswer:
    return CommandAnswer(text=name, document=new_document("build", image=name, **summary_fields(history)))


def build(settings: Settings, report: Report, *, tag: str | None) -> str:
    """The name of the image that was built."""
    return str(build_image(settings, report, tag=tag).image)


def build_image(settings: Settings, report: Report, *, tag: str | None) -> BuildResult:
    """Have the image in the engine's store, under its key and as `tag`."""
    with new_session(settings, report) as session:
        job = session.job(stack_of(settings, session.run))
        session.build(job)
        key = job.plan.image_key
        if tag is not None:
            session.engine.tag(key, tag)
        return BuildResult(key=key, image=tag or session.engine.reference(key))


def build_and_push(
    settings: Settings, report: Report, *, tag: str | None, push: str, include_local: bool
) -> str:
    """The name and digest of the image in its registry."""
    return str(push_built(settings, report, tag=tag, push=push, include_local=include_local).image)


def push_built(
    settings: Settings, report: Report, *, tag: str | None, push: str, include_local: bool
) -> BuildResult:
    """Have the image in its registry. One that a cache has whole is pushed from there, without an engine."""
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
