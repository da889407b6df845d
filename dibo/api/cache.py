"""What the commands about caches do, given their options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

from dibo.api.session import new_session, settings
from dibo.build import build as spine
from dibo.build import ingredients_store
from dibo.cache import maintenance, push_image
from dibo.cache.entry import key_in
from dibo.cache.lookup import Caches, read_entry
from dibo.errors import DiboError, UsageError, VerificationFailed
from dibo.images.reference import ImageName, parse_repository
from dibo.images.registry import api
from dibo.plan import explain as why
from dibo.settings.settings import Options
from dibo.system.report import Report, answer
from dibo.system.workspace import Workspace
from dibo.units import human_size

_TOGETHER = 8
_MOST_UNKNOWN = 300  # entries whose ingredients are fetched in order to compare


def explain(options: Options, report: Report) -> int:
    """dibo why."""
    with new_session(settings(options), report) as session:
        job = session.job()
        place = dict.fromkeys(session.held, "in the engine's store")
        documents = ingredients_store.load(session.workspace.keys, session.held)
        if session.caches is not None:
            for key, where in _remote_keys(session.caches, session.workspace).items():
                place.setdefault(key, f"in {where}")
            documents |= ingredients_store.load(session.workspace.keys, place)
        reasons = why.explain(job.plan, documents)
        answer(why.describe(job.plan, reasons, where=place.__getitem__))
    return 0


def _remote_keys(caches: Caches, workspace: Workspace) -> dict[str, ImageName]:
    """Keys that caches have, whose ingredients are known here after this."""
    found: dict[str, ImageName] = {}
    for remote in caches.remotes:
        if remote.off or not remote.reads:
            continue
        try:
            keys = [key for tag in api.tags(remote.name) if (key := key_in(tag))]
        except DiboError as error:
            remote.trouble(error, "cannot be listed")
            continue
        unknown = [key for key in keys if not (workspace.keys / f"{key}.json").exists()]
        with ThreadPoolExecutor(_TOGETHER) as pool:
            list(pool.map(lambda key: _learn(remote.name, key, workspace), unknown[:_MOST_UNKNOWN]))  # noqa: B023
        found |= dict.fromkeys(keys, remote.name)
    return found


def _learn(name: ImageName, key: str, workspace: Workspace) -> None:
    try:
        ingredients_store.save(workspace.keys, key, read_entry(name, key).ingredients)
    except DiboError:
        return


def list_cache(reference: str, *, as_json: bool) -> int:
    """dibo cache list."""
    now = datetime.now(tz=UTC)
    found = maintenance.contents(parse_repository(reference), now=now)
    answer(_as_json(found) if as_json else maintenance.describe(found, now=now))
    return 0


def _as_json(found: maintenance.CacheContents) -> str:
    entries = [
        {
            "key": each.key,
            "digest": each.digest,
            "title": each.title,
            "size": each.size,
            "unique": each.unique,
            "made": each.made.isoformat() if each.made else None,
            "used": each.used.isoformat() if each.used else None,
        }
        for each in found.entries
    ]
    broken = [{"key": key, "why": reason} for key, reason in found.broken]
    return json.dumps({"entries": entries, "damaged": broken, "size": found.size}, indent=2)


def prune(
    options: Options,
    report: Report,
    reference: str,
    *,
    older_than: int | None,
    keep_stacks: Sequence[str],
    yes: bool,
) -> int:
    """dibo cache prune."""
    repository = parse_repository(reference)
    if older_than is None and not keep_stacks:
        raise UsageError(
            "it is not said what to remove",
            hint="--older-than DAYS, --keep-stack FLAVOUR,FLAVOUR (all but that), or both",
        )
    now = datetime.now(tz=UTC)
    kept_keys = {key for stack in keep_stacks for key in _keys_of(stack, options, report)}
    found = maintenance.contents(repository, now=now)
    doomed = maintenance.doomed(found, older_than=older_than, kept=kept_keys, now=now)
    for each in found.entries:
        if each.foreign:
            report.warn(f"{each.key[:12]} stays: the tag {each.foreign}, which is not dibo's, means it too")
    if not doomed:
        answer("nothing to remove")
        return 0
    answer(maintenance.describe(replace(found, entries=doomed, broken=(), others=()), now=now, total=False))
    size = human_size(maintenance.freed(found, doomed))
    answer(f"\n{len(doomed)} to remove; {size} would be nobody's then")
    if not yes:
        report.say("nothing was removed; --yes removes what is listed")
        return 0
    maintenance.remove(repository, doomed, removed=lambda each: report.say(f"removed {each.key[:12]}"))
    report.say("the registry frees the space when it collects garbage")
    return 0


def _keys_of(stack: str, options: Options, report: Report) -> tuple[str, ...]:
    """The keys of a stack as it is now. `stack` is names of flavours, separated by commas."""
    names = tuple(name.strip() for name in stack.split(",") if name.strip())
    if not names:
        raise UsageError("--keep-stack wants names of flavours", hint="--keep-stack vm,my-flavour")
    decided = settings(replace(options, flavours=names))
    workspace = Workspace(decided.cache)
    with workspace.run() as run:
        return spine.prepare(decided, workspace=workspace, run=run, report=report, held={}).plan.keys


def verify(report: Report, reference: str) -> int:
    """dibo cache verify. Raises VerificationFailed for damage."""
    repository = parse_repository(reference)
    count, damaged = maintenance.verify(repository, hear=report.line)
    if damaged:
        raise VerificationFailed(f"{repository} has {len(damaged)} damaged layers", hint="\n".join(damaged))
    answer(f"{count} layers, all whole")
    return 0


def build_and_push(
    options: Options, report: Report, *, tag: str | None, push: str, include_local: bool
) -> int:
    """dibo build --push. An image that a cache has whole is pushed from there, without an engine."""
    name = push_image.target(push)
    with new_session(settings(options), report) as session:
        job = session.job()
        if not include_local:
            push_image.refuse_local(job)
        caches = session.caches or Caches(())
        key = job.plan.image_key
        in_engine = tag is not None or key in session.held or caches.find(key) is None
        if in_engine:
            session.build(job)
        if tag is not None:
            session.engine.tag(key, tag)
        digest = push_image.push(
            job,
            name,
            caches=caches,
            engine=session.engine,
            in_engine=in_engine,
            include_local=include_local,
            run=session.run,
            report=report,
        )
        answer(f"{name}@{digest}")
    return 0
